"""Standard AutoAttack (Croce and Hein, 2020) through pyautoattack, the reference implementation's algorithms."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyautoattack
import torch
from pyautoattack import checks
from torch import Tensor, nn

from faal.audit.conditions import kept_generators
from faal.config import Threat
from faal.errors import InputError

NORMS = {"linf": "Linf", "l2": "L2"}
"""As pyautoattack spells them."""

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
UNTARGETED = ("apgd-ce", "fab", "square")
"""What is left below 4 classes: the targeted DLR loss compares the fourth largest logit, and there is none."""


def members(num_classes: int) -> tuple[str, ...]:
    """The attacks of the ensemble, in their order."""
    return STANDARD if num_classes >= 4 else UNTARGETED


def ensemble(
    model: nn.Module, *, threat: Threat, seed: int, num_classes: int, device: torch.device
) -> pyautoattack.AutoAttack:
    """pyautoattack's object for one block, as anybody would set it up by hand.

    From 4 classes up version `standard` with min(9, C - 1) target classes; below, its untargeted members with the
    standard's number of restarts.
    """
    common = {"eps": threat.epsilon, "norm": NORMS[threat.norm], "seed": seed, "device": device}
    if num_classes >= 4:
        auto = pyautoattack.AutoAttack(model, version="standard", **common)
        auto.apgd_targeted.n_target_classes = auto.fab.n_target_classes = min(9, num_classes - 1)
    else:
        auto = pyautoattack.AutoAttack(model, version="custom", attacks=list(UNTARGETED), **common)
        auto.apgd.n_restarts = auto.fab.n_restarts = 1
    return auto


SMALLEST = 5
"""Square's start in L2 cuts each side into five."""


@dataclass(frozen=True)
class StandardEnsemble:
    """AutoAttack's standard ensemble. The batch is the block: its members draw their numbers batch by batch."""

    name: str = "autoattack"

    def parameters(self, *, threat: Threat, num_classes: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "version": "standard" if num_classes >= 4 else "untargeted",
            "attacks": list(members(num_classes)),
        }
        if num_classes >= 4:
            found["n_target_classes"] = min(9, num_classes - 1)
        return {**found, "n_iter": 100, "n_queries": 5000, "package": f"pyautoattack {pyautoattack.__version__}"}

    def caveats(self, *, num_classes: int) -> tuple[str, ...]:
        if num_classes >= 4:
            return ()
        return (
            f"With {num_classes} classes AutoAttack's targeted parts do not exist: autoattack ran "
            f"{', '.join(UNTARGETED)}, a smaller set than the standard one.",
        )

    def run(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        standing: Tensor,
        threat: Threat,
        seed: int,
        num_classes: int,
        warn: Callable[[str], None],
    ) -> Tensor:
        if threat.norm == "l2" and min(images.shape[2:]) < SMALLEST:
            raise InputError(
                f"AutoAttack in L2 needs images of at least {SMALLEST} pixels a side, not {tuple(images.shape[2:])}; "
                "leave it out, or audit in L-infinity"
            )
        adversarial = images.clone()
        if not standing.any():
            return adversarial
        with _heard(warn), kept_generators():
            auto = ensemble(model, threat=threat, seed=seed, num_classes=num_classes, device=images.device)
            adversarial[standing], _ = auto.run_standard_evaluation(
                images[standing], labels[standing], batch_size=len(images)
            )
        return adversarial


@contextmanager
def _heard(warn: Callable[[str], None]) -> Iterator[None]:
    """pyautoattack silent, its warnings passed to `warn`, and what it leaves behind in the process undone."""

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # It points to a page of its own repository, which nobody reads this beside.
            warn(record.getMessage().split(" See ")[0].strip())

    logger, ear, tracer = logging.getLogger("auto-attack"), Ear(logging.WARNING), sys.gettrace()
    propagate, level = logger.propagate, logger.level
    # The check for dynamic defences counts calls over the whole process: one network's count would accuse the next.
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    logger.addHandler(ear)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(ear)
        logger.propagate = propagate
        logger.setLevel(level)
        sys.settrace(tracer)
