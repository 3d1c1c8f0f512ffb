"""Whatever is handed to the solver and to FAAL, what does not fit ends in one sentence, and what fits is taken."""

import math

import pytest
import torch
from tests.helpers.odd import ODD, SCALARS, refusals
from torch.nn.functional import cross_entropy

from faal import FAAL, InputError, solve_kldro
from faal.intermediate.kldro import BALLS

LOSSES = torch.tensor([[0.2, 0.5, 1.1], [0.0, 3.0, 1.0]])
LOGITS, LABELS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


def one_batch(rule: FAAL) -> float:
    return float(rule(cross_entropy(LOGITS, LABELS, reduction="none"), LOGITS, LABELS))


class TestSolver:
    def test_losses(self) -> None:
        taken = {"a tensor", "a tensor without values", "a tensor with NaN", "a tensor with infinity"}
        assert refusals(lambda value: solve_kldro(value, 0.5)) == set(ODD) - taken - {"a tensor below 0"}

    def test_tau(self) -> None:
        large = {"infinity", "a large number"}
        assert refusals(lambda value: solve_kldro(LOSSES, value)) == set(ODD) - SCALARS - large

    def test_the_reference(self) -> None:
        assert refusals(lambda value: solve_kldro(LOSSES, 0.5, value)) == set(ODD) - {"None", "a tensor"}

    def test_the_ball(self) -> None:
        assert refusals(lambda value: solve_kldro(LOSSES, 0.5, ball=value)) == set(ODD)

    @pytest.mark.parametrize("ball", BALLS)
    @pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 0), ()])
    def test_no_classes(self, ball: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="C of at least 1"):
            solve_kldro(torch.zeros(shape), 0.5, ball=ball)
        assert solve_kldro(torch.zeros(0, 3), 0.5, ball=ball).shape == (0, 3)

    @pytest.mark.parametrize("ball", BALLS)
    @pytest.mark.parametrize(
        ("reference", "said"),
        [
            ([-0.5, 0.5, 1.0], "no value below 0, not -0.5"),
            ([math.nan, 0.5, 0.5], "no value below 0, not nan"),
            ([math.inf, 0.0, 0.0], "sum to 1, not to inf"),
            ([10.0, 20.0, 30.0], "sum to 1, not to 60; divide"),
            ([0.0, 0.0, 0.0], "sum to 1, not to 0"),
            ([[0.2, 0.3, 0.5], [0.2, 0.3, 0.6]], "sum to 1, not to 1.1"),
        ],
    )
    def test_a_reference_that_is_no_distribution(self, ball: str, reference: list[float], said: str) -> None:
        for tau in (0, 0.5):
            with pytest.raises(InputError, match=said):
                solve_kldro(LOSSES, tau, torch.tensor(reference), ball)

    def test_a_rounded_reference_is_one(self) -> None:
        thirds = torch.full((3,), 1 / 3, dtype=torch.bfloat16)
        torch.testing.assert_close(solve_kldro(LOSSES, 0.5, thirds), solve_kldro(LOSSES, 0.5))


class TestFAAL:
    def test_num_classes(self) -> None:
        taken = {"a whole number as a tensor", "NumPy's whole number"}  # 1 and 2; the batch has labels beyond
        assert refusals(lambda value: FAAL(value)) == set(ODD) - taken

    def test_tau(self) -> None:
        taken = SCALARS | {"infinity", "a large number"}
        assert refusals(lambda value: one_batch(FAAL(3, value))) == set(ODD) - taken

    def test_frequencies(self) -> None:
        assert refusals(lambda value: one_batch(FAAL(3, 0.5, value))) == set(ODD) - {"None", "a tensor"}

    def test_smoothing(self) -> None:
        taken = {"0", "a Fraction", "NumPy's number", "a tensor of one number"}
        assert refusals(lambda value: one_batch(FAAL(3, 0.5, None, value))) == set(ODD) - taken

    def test_options(self) -> None:
        assert refusals(lambda value: FAAL(3, statistic=value)) == set(ODD)
        assert refusals(lambda value: FAAL(3, ball=value)) == set(ODD)
        assert refusals(lambda value: FAAL(3, counted=value)) == set(ODD) - {"True"}

    @pytest.mark.parametrize("place", range(3))
    def test_a_batch(self, place: int) -> None:
        def call(value: object) -> None:
            batch: list[object] = [torch.ones(6), LOGITS, LABELS]
            batch[place] = value
            FAAL(3)(*batch)  # type: ignore[arg-type]

        assert refusals(call) == set(ODD)

    def test_groups(self) -> None:
        assert refusals(lambda value: FAAL(3)(torch.ones(6), LOGITS, LABELS, value)) == set(ODD) - {"None"}

    @pytest.mark.parametrize("place", range(3))
    def test_a_batch_on_two_devices(self, place: int) -> None:
        batch = [torch.ones(6), LOGITS, LABELS]
        batch[place] = batch[place].to("meta")
        with pytest.raises(InputError, match="move them to one device"):
            FAAL(3)(*batch)

    @pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.int32])
    def test_labels_of_every_width(self, kind: torch.dtype) -> None:
        losses = torch.rand(6)
        assert FAAL(3)(losses, LOGITS, LABELS.to(kind)) == FAAL(3)(losses, LOGITS, LABELS)

    @pytest.mark.parametrize("frequencies", [[1, 2, math.inf], [1, 2, math.nan], [1, 2, -3], [1, 2, 0], [1, 2]])
    def test_frequencies_that_are_no_shares(self, frequencies: list[float]) -> None:
        with pytest.raises(InputError, match="3 positive numbers"):
            FAAL(3, 0.5, torch.tensor(frequencies))
