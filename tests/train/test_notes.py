"""The notes of a finished run."""

import pytest
import torch

from faal.config import Recipe
from faal.methods import METHODS
from faal.outer.averaging import WeightAverage
from faal.train.notes import notes_of

COUNTS = torch.tensor([10, 10, 10])


def notes(method: str, epochs: int, **settings: object) -> list[str]:
    recipe = Recipe(method=method, epochs=epochs).replace(settings, source="test")
    rule = METHODS[method].make_rule(recipe, COUNTS)
    return notes_of(recipe, rule, WeightAverage(torch.nn.Linear(1, 1), decay=0.5, warm_up=False), ())


@pytest.mark.parametrize(
    ("method", "settings", "never", "first"),
    [
        ("dafa", {}, 2, 3),  # measures similarities in one epoch, and is active in those after it
        ("cfa-trades", {"average": "none"}, 1, 2),
        ("faal-at", {"tau": "0:0,1/2:0.5"}, 1, 2),
    ],
)
def test_a_run_that_is_too_short_for_its_rule(method: str, settings: dict[str, object], never: int, first: int) -> None:
    (note,) = notes(method, never, **settings)
    plain = METHODS[method].plain
    unused = f"The class weights of {method} are used in no epoch of a run of {never}"
    assert note == f"{unused}: the network is that of {plain}"
    assert notes(method, first, **settings) == []


def test_two_rules_at_once() -> None:
    """One that is active is enough."""
    assert notes("faal-dafa", 1, tau=0.5) == []
    assert len(notes("faal-dafa", 1, tau=0)) == 1


def test_awp_in_its_warm_up() -> None:
    assert notes("trades-awp", 1, awp_gamma="0:0,1/2:0.005") == [
        "AWP is not used in any epoch of a run of 1: its size is always 0"
    ]
    assert notes("trades-awp", 2, awp_gamma="0:0,1/2:0.005") == []


def test_an_average_that_never_began_and_one_that_nothing_passed() -> None:
    assert notes("pgd-at", 4, average="epoch", average_from=0.9) == [
        "The weight average never began: the network is the plain one"
    ]
    decays = {"average": "gated", "lr": "0:0.1,1/2:0.01"}
    assert notes("pgd-at", 4, **decays) == [
        "No epoch passed the gate of the weight average: the network is the plain one"
    ]
    assert notes("pgd-at", 4, average="gated", lr=0.1)[0].startswith("The weight average never began")
