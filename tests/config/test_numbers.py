"""Numbers, schedules and epsilon as they are written in recipes, and what is rejected."""

import pytest
import yaml

from faal.config import Recipe, Schedule, number
from faal.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("0.031", 0.031), (2, 2.0), (0.5, 0.5), ("1e-3", 1e-3), (" 3 / 4 ", 0.75), ("-1/2", -0.5)],
)
def test_numbers(text: object, value: float) -> None:
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "x", "8/255/2", "8//255", True, None, "nan", "inf", "1e999", [1], "1 2"])
def test_no_numbers(text: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        number(text)


def test_a_division_by_zero_is_no_number() -> None:
    with pytest.raises(InputError, match="beta is a number"):
        Recipe().replace({"beta": "1/0"}, source="test")


class TestSchedule:
    def test_holds_each_value_from_its_start(self) -> None:
        schedule = Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001))
        at = [schedule.at(epoch / 200) for epoch in (0, 99, 100, 149, 150, 199)]
        assert at == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]

    @pytest.mark.parametrize("epochs", [2, 3, 7, 40, 110, 200])
    def test_milestones_meet_their_epochs_whatever_the_rounding(self, epochs: int) -> None:
        for milestone in range(1, epochs):
            schedule = Schedule((0.0, milestone / epochs), (1.0, 2.0))
            assert [schedule.at(e / epochs) for e in (milestone - 1, milestone)] == [1.0, 2.0]

    def test_a_rounded_start_still_meets_its_epoch(self) -> None:
        assert Schedule.parse("0:1,0.6666666667:2").at(2 / 3) == 2

    @pytest.mark.parametrize(
        "text",
        [
            {0: 0.1, "1/2": "1/100", 0.75: 0.001},
            {"3/4": 0.001, "1/2": 0.01, "0": 0.1},
            "0:0.1,1/2:0.01,3/4:0.001",
            Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001)),
        ],
    )
    def test_parses(self, text: object) -> None:
        assert Schedule.parse(text) == Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001))

    def test_a_number_is_constant(self) -> None:
        assert Schedule.parse("1/4") == Schedule.parse(0.25) == Schedule.constant(0.25)
        assert Schedule.constant(0.25).at(0.0) == Schedule.constant(0.25).at(0.999) == 0.25

    @pytest.mark.parametrize(
        "schedule",
        [Schedule.constant(0.3), Schedule((0.0, 1 / 3, 2 / 3), (0.1, 0.2, 0.0)), Schedule((0.0, 0.05), (0.0, 0.005))],
    )
    def test_plain_and_back(self, schedule: Schedule) -> None:
        through_yaml = yaml.safe_load(yaml.safe_dump(schedule.plain()))
        assert Schedule.parse(through_yaml) == schedule

    @pytest.mark.parametrize(
        "text",
        [
            {0.5: 1},
            {},
            "0.1:1",
            "0:1,1/2:1,0.5:2",
            "0:0.1,0:0.2",
            "0:0.1,0:0.1",
            "0:1,1/2:2,1/2:3",
            {0: 1, 1: 2},
            {0: 1, "2/2": 1},
            {0: 1, "1/2": 1, 0.5: 2},
            {0: None},
            "0:1,",
            "0:",
        ],
    )
    def test_refuses(self, text: object) -> None:
        with pytest.raises(ValueError, match=r"."):
            Schedule.parse(text)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("0:1,1:2", "starts are fractions of the run, below 1"),
            ("0:1,100:2", "starts are fractions of the run, below 1"),
            ("1/2:1", "begins at 0"),
            ("0:0.1,0:0.2", "larger than the one before"),
            ({"1/2": 1, 0: 0, 0.5: 2}, "larger than the one before"),
        ],
    )
    def test_says_why_it_refuses(self, text: object, said: str) -> None:
        with pytest.raises(InputError, match=rf"^mine\.yaml: lr .*{said}"):
            Recipe().replace({"lr": text}, source="mine.yaml")

    def test_refuses_unequal_lengths(self) -> None:
        with pytest.raises(ValueError, match="one value per start"):
            Schedule((0.0, 0.5), (1.0,))
