import math

import pytest

from faal.report import wording
from faal.report.files.changes import AttackChanges, ClassChange
from faal.report.files.run import AttackAccuracies, ClassAccuracy, IntervalEstimate


def shown(**counts: int) -> tuple[ClassAccuracy, ...]:
    """Classes with so many images each."""
    nothing = IntervalEstimate(value=math.nan, low=0, high=1)
    return tuple(ClassAccuracy(name=name, n=n, correct=0, accuracy=nothing) for name, n in counts.items())


def attack(
    worst: float,
    average: float,
    *,
    name: str = "all",
    worst_class: str = "8",
    classes: tuple[ClassAccuracy, ...] = (),
) -> AttackAccuracies:
    return AttackAccuracies(
        name=name,
        average=IntervalEstimate(value=average, low=average - 0.02, high=average + 0.02),
        balanced=IntervalEstimate(value=average, low=average - 0.02, high=average + 0.02),
        worst=IntervalEstimate(value=worst, low=worst - 0.07, high=worst + 0.08),
        worst_class=worst_class,
        classes=classes,
        confusion=None,
    )


def plain(text: str) -> str:
    return text.replace(wording.NBSP, " ")


def test_headline_of_one_audit() -> None:
    text = plain(wording.headline(attack(0.31, 0.71)))
    assert text == "71 % robust accuracy on average, 31 % (24 to 39) on the worst class, “8”."


def test_headline_without_attack_is_clean_accuracy() -> None:
    assert plain(wording.headline(attack(0.9, 0.97, name="clean"))).startswith("97 % clean accuracy on average")


def estimated(value: float, low: float, high: float) -> IntervalEstimate:
    return IntervalEstimate(value=value, low=low, high=high)


def changes(worst: IntervalEstimate, average: IntervalEstimate, *lost: str) -> AttackChanges:
    loss = ClassChange(estimated(-0.1, -0.15, -0.05), established=True)
    gain = ClassChange(estimated(0.1, 0.05, 0.15), established=True)
    return AttackChanges(average=average, worst=worst, classes={"8": gain} | dict.fromkeys(lost, loss))


def test_a_change_that_the_comparison_establishes() -> None:
    found = changes(estimated(0.12, 0.04, 0.2), estimated(-0.01, -0.018, -0.002), "3", "5")
    text = plain(wording.comparison_headline(attack(0.31, 0.71), attack(0.43, 0.70, worst_class="3"), found))
    assert text == (
        "Robust accuracy on the worst class increased from 31 % (24 to 39) on “8” to 43 % (36 to 51) on “3” "
        "(+12.0 points, +4.0 to +20.0); on average it decreased from 71 % to 70 % (−1.0 points, −1.8 to −0.2). "
        "Classes with an established loss: 3 and 5."
    )


def test_a_change_that_the_comparison_does_not_establish() -> None:
    found = changes(estimated(0.12, -0.01, 0.25), estimated(0.0, -0.02, 0.02))
    text = plain(wording.comparison_headline(attack(0.31, 0.71), attack(0.43, 0.71), found))
    assert "increased" not in text
    assert "decreased" not in text
    assert text.count("a change is not established") == 2


def test_without_a_comparison_no_change_is_stated() -> None:
    text = plain(wording.comparison_headline(attack(0.31, 0.71), attack(0.43, 0.70), None))
    assert text == (
        "Robust accuracy on the worst class, “8”, is 31 % (24 to 39) before and 43 % (36 to 51) after; "
        "on average it is 71 % and 70 %."
    )


@pytest.mark.parametrize(("low", "established"), [(0.02, True), (-0.02, False)])
def test_the_headline_of_the_demo_states_what_its_interval_shows(low: float, established: bool) -> None:
    means = {
        role: {field: estimated(value, 0.0, 1.0) for field in ("worst", "average")}
        for role, value in (("base", 0.2), ("repaired", 0.3))
    }
    differences = dict.fromkeys(("worst", "average"), estimated(0.1, low, 0.2))
    assert ("increased" in wording.demo_headline(means, differences, 3)) == established


def test_headlines_name_the_classes_without_images() -> None:
    one, two = (attack(0.31, 0.71, classes=shown(cat=30, dog=0, eel=n)) for n in (5, 0))
    text = plain(wording.headline(one))
    assert "on the worst class with images, “8”." in text
    assert text.endswith(" The data has no images of “dog”: accuracy there is unknown.")
    assert plain(wording.comparison_headline(one, two, None)).endswith(
        "The data has no images of “dog” and “eel”: accuracy there is unknown."
    )
    assert "of 2 models on the worst class with images" in plain(wording.best_headline(["a", "b"], [two, two]))
    assert "no images of 4 groups: accuracy" in wording.group_sentence(
        attack(0.3, 0.7, classes=shown(a=0, b=0, c=0, d=0, e=1)), "model"
    )


def test_incomparable_models_have_no_change() -> None:
    text = plain(wording.incomparable_headline(["a", "b"], [attack(0.31, 0.71), attack(0.43, 0.70)]))
    assert text == (
        "These models were not audited under the same conditions, so their accuracies cannot be compared: "
        "robust accuracy on the worst class is 31 % (24 to 39) in a and 43 % (36 to 51) in b."
    )
    assert plain(wording.incomparable_headline(list("abcd"), [attack(0.31, 0.71)] * 4)).endswith("cannot be compared.")


def test_best_headline_breaks_ties_by_the_average() -> None:
    text = plain(wording.best_headline(["a", "b", "c"], [attack(0.31, 0.5), attack(0.31, 0.6), attack(0.2, 0.7)]))
    assert "between 20 % and 31 %" in text
    assert "highest in b, with 60 % on average" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.714, "71"), (0.004, "0.4"), (0.0, "0"), (1.0, "100"), (0.016, "2"), (math.nan, "–")]
)
def test_rounded_percent(value: float, text: str) -> None:
    assert wording.rounded_percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.113, "+11.3"), (-0.004, "−0.4"), (-0.0001, "0.0"), (0.0, "0.0"), (math.nan, "–")]
)
def test_points(value: float, text: str) -> None:
    assert wording.points(value) == text


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["clean", "pgd20", "autoattack", "all"], "all"),
        (["clean", "pgd20", "autoattack"], "autoattack"),
        (["clean", "pgd20", "cw20"], "cw20"),
        (["clean", "square"], "square"),
        (["clean"], "clean"),
    ],
)
def test_strongest(names: list[str], chosen: str) -> None:
    assert wording.strongest(names) == chosen


def test_listing() -> None:
    assert [wording.listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_coverage_names_both_limits() -> None:
    text = " ".join(wording.coverage(0.95))
    assert "test sample" in text
    assert "do not cover the training seed" in text
    assert "upper bound" in text
