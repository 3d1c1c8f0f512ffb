"""Verdicts of a network on the images that a repair is chosen on, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from faal.audit.estimates import estimates
from faal.audit.records.result import Accuracies

LEVEL = 0.95
RESAMPLES = 1999


@dataclass(frozen=True)
class HeldOutVerdicts:
    """Whether each image is classified correctly, clean and under attack."""

    groups: NDArray[np.int64]
    """(N,) the class of each image, or its group where the data has other groups."""
    names: Sequence[str]
    """The C classes', or groups'."""
    correct: NDArray[np.bool_]
    """(N,)."""

    @cached_property
    def n(self) -> NDArray[np.int64]:
        """(C,) images of each class."""
        return np.bincount(self.groups, minlength=len(self.names))

    @cached_property
    def rates(self) -> NDArray[np.float64]:
        """(C,) robust accuracy of each class; NaN without images."""
        counts = np.bincount(self.groups[self.correct], minlength=len(self.names))
        rates: NDArray[np.float64] = np.divide(counts, self.n, out=np.full(len(self.n), np.nan), where=self.n > 0)
        return rates

    @property
    def average(self) -> float:
        """Robust accuracy over the images."""
        return float(self.correct.mean())

    @property
    def worst(self) -> float:
        """The lowest robust accuracy of a class."""
        return float(np.nanmin(self.rates))

    @cached_property
    def accuracies(self) -> Accuracies:
        """Average, worst class and classes with their intervals."""
        correct = np.bincount(self.groups[self.correct], minlength=len(self.names))
        return estimates(self.n, correct, self.names, level=LEVEL)

    def packed(self) -> str:
        """The verdicts as hexadecimal text, one bit an image."""
        return np.packbits(self.correct).tobytes().hex()

    @classmethod
    def unpacked(cls, text: str, groups: NDArray[np.int64], names: Sequence[str]) -> Self:
        """From `packed` text. Raises ValueError where it is of another number of images."""
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(text), dtype=np.uint8))
        if not 0 <= len(bits) - len(groups) < 8:
            raise ValueError("verdicts of another number of images")
        return cls(groups, names, bits[: len(groups)].astype(bool))

    @classmethod
    def of(cls, correct: Tensor, groups: Tensor, names: Sequence[str]) -> Self:
        """From (N,) tensors."""
        return cls(groups.cpu().numpy().astype(np.int64), names, correct.cpu().numpy().astype(bool))


def scores(rates: NDArray[np.float64], average: Any, rule: str) -> Any:
    """Scores (...) of class-wise accuracies (..., C) and averages (...)."""
    worst = np.nanmin(rates, axis=-1)
    return {"sum": average + worst, "average": average, "worst": worst}[rule]


def share_better(base: HeldOutVerdicts, other: HeldOutVerdicts, rule: str, *, seed: int = 0) -> float:
    """The share of resamples of the images, class by class, in which `other` has a higher score than `base`.

    Images are resampled in pairs of verdicts; a tie counts half.
    """
    generator = np.random.default_rng(seed)
    wins = np.zeros(RESAMPLES)
    present = np.flatnonzero(base.n)
    rates = {name: np.empty((RESAMPLES, len(present))) for name in ("base", "other")}
    for place, c in enumerate(present):
        own = base.groups == c
        a, b = base.correct[own], other.correct[own]
        cells = np.array([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()]) / own.sum()
        drawn = generator.multinomial(own.sum(), cells, size=RESAMPLES) / own.sum()
        rates["base"][:, place], rates["other"][:, place] = drawn[:, 0] + drawn[:, 1], drawn[:, 0] + drawn[:, 2]
    weights = base.n[present] / base.n.sum()
    a, b = (scores(rates[name], rates[name] @ weights, rule) for name in ("base", "other"))
    wins = (b > a) + 0.5 * (b == a)
    return float(wins.mean())
