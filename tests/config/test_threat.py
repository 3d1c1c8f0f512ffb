"""The threat model, and how its radius is read."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from faal.config import Recipe, Threat, epsilon_text, number, parse_epsilon
from faal.errors import InputError
from faal.report import wording
from faal.report.files.run import AuditRecord


def test_reads_fractions() -> None:
    assert parse_epsilon("8/255") == 8 / 255


@pytest.mark.parametrize("text", ["8/255", "1/255", "32/255", "0.2", "0.5", "0.0123457"])
def test_is_written_as_it_is_read(text: str) -> None:
    assert epsilon_text(parse_epsilon(text)) == text


def test_takes_numbers_as_they_are() -> None:
    assert parse_epsilon(8 / 255) == 8 / 255
    assert type(parse_epsilon(np.float32(0.5))) is float


@pytest.mark.parametrize("value", ["eight", "", "8/0", "nan", None, True, [0.1]])
def test_refuses_what_is_no_number(value: object) -> None:
    with pytest.raises(InputError, match="epsilon is a number"):
        parse_epsilon(value)


def test_pixel_levels_are_noticed() -> None:
    with pytest.raises(InputError, match=r"epsilon 8 .*8/255\?"):
        Threat("linf", 8)
    with pytest.raises(InputError, match=r"epsilon 128 .*128/255\?"):
        Threat("l2", 128)
    with pytest.raises(InputError, match=r"test: epsilon 8 .*8/255\?"):
        Recipe().replace({"epsilon": 8}, source="test")


@pytest.mark.parametrize("epsilon", [0.0, -1 / 255, float("nan")])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_refuses_what_is_no_radius(norm: str, epsilon: float) -> None:
    with pytest.raises(InputError, match="larger than 0"):
        Threat(norm, epsilon)


def test_the_whole_range_is_allowed() -> None:
    assert Threat("linf", 1.0).epsilon == 1.0
    assert Threat("l2", 3.0).epsilon == 3.0


def test_a_norm_that_is_not_there() -> None:
    with pytest.raises(InputError, match="norm 'l1'"):
        Threat("l1", 0.1)
    with pytest.raises(InputError, match=r"^test: norm is one of linf, l2, not 'L3'$"):
        Recipe().replace({"norm": "L3"}, source="test")


def test_a_recipe_has_one() -> None:
    recipe = Recipe().replace({"norm": "l2", "epsilon": "128/255", "step_size": 2.0}, source="test")
    assert recipe.threat == Threat("l2", number("128/255"))
    with pytest.raises(InputError, match="step_size is between 0 and 1"):
        Recipe().replace({"step_size": 2.0}, source="test")


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [(8 / 255, "8/255"), (float(np.float32(8 / 255)), "8/255"), (0.0313725, "8/255"), (0.031, "0.031"), (0.2, "0.2")],
)
def test_has_one_text_on_the_page_and_elsewhere(epsilon: float, text: str) -> None:
    """Rounded on its way through a file of single precision, or through six digits, too."""
    run = SimpleNamespace(norm="linf", epsilon=epsilon)
    assert epsilon_text(epsilon) == text
    assert wording.threat(cast(AuditRecord, run)).endswith(f"ε{wording.NBSP}={wording.NBSP}{text}")
    assert str(Threat("linf", epsilon)) == f"linf epsilon {text}"
