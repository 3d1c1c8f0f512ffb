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
from pyautoattack.fab_pt import FABAttack_PT
from torch import Tensor, nn

from faal.audit.attacks.backend import Fast
from faal.audit.attacks.fab import without_sorting
from faal.config import Threat
from faal.engine.determinism import preserve_rng
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


def square_fits(shape: torch.Size, threat: Threat) -> bool:
    """Whether Square runs on images (..., H, W).

    In L2 it starts from tiles, a fifth of the height a side, laid out from a margin on; where they would run over the
    border (24 x 24), or have no size (4 x 4), the package fails.
    """
    if threat.norm != "l2":
        return True
    height, width = shape[-2:]
    side = height // 5
    margin = (height - 5 * side) // 2
    return side == 1 or (side > 1 and all(margin + length // side * side <= length for length in (height, width)))


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
        active: Tensor,
        threat: Threat,
        seed: int,
        num_classes: int,
        warn: Callable[[str], None],
    ) -> Tensor:
        if not square_fits(images.shape, threat):
            size = " x ".join(map(str, images.shape[2:]))
            raise InputError(
                f"AutoAttack in L2 cannot run on images of {size} pixels, which its Square attack cannot tile; "
                "leave it out, give another --size, or audit in L-infinity"
            )
        adversarial = images.clone()
        if not active.any():
            return adversarial
        with _heard(warn), preserve_rng():
            auto = ensemble(model, threat=threat, seed=seed, num_classes=num_classes, device=images.device)
            if isinstance(model, Fast):
                _hasten_fab(auto.fab, model)
            adversarial[active], _ = auto.run_standard_evaluation(
                images[active], labels[active], batch_size=len(images)
            )
        return adversarial


def _hasten_fab(fab: FABAttack_PT, fast: Fast) -> None:
    """Let FAB ask the copy alone, and project without sorting.

    It walks along the boundary, where half of its questions would go to the network. So the network has its say at the
    end only: whoever FAB gave up on because of the copy is attacked again, asking the network.
    """
    search = fab.perturb

    def perturb(images: Tensor, labels: Tensor) -> Tensor:
        with without_sorting():
            fab.predict = fast.copy
            found: Tensor = search(images, labels)
            again = fast.shields(found, labels)
            if again.any():
                fab.predict = fast.model
                found[again] = search(images[again], labels[again])
        return found

    fab.perturb = perturb


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
