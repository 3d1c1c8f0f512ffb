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
from faal.audit.attacks.protocol import AttackedBlock
from faal.config import Threat
from faal.config.choices import NormName
from faal.engine.determinism import preserve_rng
from faal.errors import InputError

NORMS: dict[NormName, str] = {"linf": "Linf", "l2": "L2"}
"""The names of the norms in pyautoattack."""

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
UNTARGETED = ("apgd-ce", "fab", "square")
"""The attacks that exist below 4 classes: the targeted DLR loss needs the fourth largest logit."""


def members(num_classes: int) -> tuple[str, ...]:
    """The attacks of the ensemble, in order."""
    return STANDARD if num_classes >= 4 else UNTARGETED


def ensemble(
    model: nn.Module, *, threat: Threat, seed: int, num_classes: int, device: torch.device
) -> pyautoattack.AutoAttack:
    """pyautoattack's object for one block, set up as in its documentation.

    From 4 classes on version `standard` with min(9, C - 1) target classes; below, its untargeted attacks with the
    number of restarts of `standard`.
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

    In L2 it starts from square tiles with a side of a fifth of the height, inside a margin; if they exceed the border
    (24 x 24), or have size 0 (4 x 4), the package fails.
    """
    if threat.norm != "l2":
        return True
    height, width = shape[-2:]
    side = height // 5
    margin = (height - 5 * side) // 2
    return side == 1 or (side > 1 and all(margin + length // side * side <= length for length in (height, width)))


@dataclass(frozen=True)
class StandardEnsemble:
    """AutoAttack's standard ensemble. The batch is the block: its attacks draw their random numbers per batch."""

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
            f"With {num_classes} classes AutoAttack's targeted attacks do not exist: autoattack ran "
            f"{', '.join(UNTARGETED)}, a smaller set than the standard one.",
        )

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        images, active = block.images, block.active
        if not square_fits(images.shape, block.threat):
            size = " x ".join(map(str, images.shape[2:]))
            raise InputError(
                f"AutoAttack in L2 cannot run on images of {size} pixels, which its Square attack cannot tile; "
                "omit it, choose another --size, or audit in L-infinity"
            )
        adversarial = images.clone()
        if not active.any():
            return adversarial
        with _warnings_to(warn), preserve_rng():
            auto = ensemble(
                model, threat=block.threat, seed=block.seed, num_classes=block.num_classes, device=images.device
            )
            if isinstance(model, Fast):
                _accelerate_fab(auto.fab, model)
            adversarial[active], _ = auto.run_standard_evaluation(
                images[active], block.labels[active], batch_size=len(images)
            )
        return adversarial


def _accelerate_fab(fab: FABAttack_PT, fast: Fast) -> None:
    """Run FAB only on the copy, and project without sorting.

    FAB searches close to the decision boundary, where the network would recompute half of the copy's logits. So only
    samples at which FAB stopped because of the copy are attacked again on the network.
    """
    search = fab.perturb

    def perturb(images: Tensor, labels: Tensor) -> Tensor:
        with without_sorting():
            fab.predict = fast.copy
            found: Tensor = search(images, labels)
            repeat = fast.needs_repeat(found, labels)
            if repeat.any():
                fab.predict = fast.model
                found[repeat] = search(images[repeat], labels[repeat])
        return found

    fab.perturb = perturb


@contextmanager
def _warnings_to(warn: Callable[[str], None]) -> Iterator[None]:
    """Suppress pyautoattack's output, pass its warnings to `warn`, and restore the state that it changes."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # The rest is a link to its repository.
            warn(record.getMessage().split(" See ")[0].strip())

    logger, handler, tracer = logging.getLogger("auto-attack"), Forward(logging.WARNING), sys.gettrace()
    propagate, level = logger.propagate, logger.level
    # The check for dynamic defences counts calls per process: it would add the counts of different networks.
    checks.funcs.update(dict.fromkeys(checks.funcs, 0))
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        logger.setLevel(level)
        sys.settrace(tracer)
