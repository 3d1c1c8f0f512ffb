"""The table of methods: a name -> adversary, class rule, objective, weight perturbation.

A method of the paper is a row; a new one is a row and, where it moves the class weights in a way of its own, one file
in `intermediate/rules`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from faal.config import Recipe
from faal.errors import unknown
from faal.intermediate.class_rule import ClassRule
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.uniform import Uniform
from faal.outer import objectives
from faal.outer.objectives import Objective


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """How phase 1 searches; how far is the threat model's business."""

    loss: str
    """What it maximises: `ce`, `kl` or `cw`."""
    start: str
    """Where it starts: `uniform`, `gaussian` or `zero`."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One row of the table."""

    summary: str
    """One line for `faal methods`."""
    reference: str
    """Where it comes from."""
    adversary: Adversary | None
    """Phase 1; None trains on clean images alone."""
    rule: Callable[[Recipe, Tensor], ClassRule]
    """Phase 2: from the recipe and the class counts (C,) of the training set."""
    objective: Objective
    """Phase 3."""
    awp: bool = False
    """Whether phases 2 and 3 happen at adversarially perturbed weights."""


def _uniform(recipe: Recipe, counts: Tensor) -> ClassRule:
    return Uniform()


def _faal(recipe: Recipe, counts: Tensor) -> ClassRule:
    return FAAL(len(counts), tau=recipe.tau, frequencies=counts, smoothing=recipe.smoothing, statistic=recipe.statistic)


CE_FROM_UNIFORM = Adversary(loss="ce", start="uniform")
CE_FROM_GAUSSIAN = Adversary(loss="ce", start="gaussian")
KL_FROM_GAUSSIAN = Adversary(loss="kl", start="gaussian")

BASES = {
    "standard": Method(
        summary="cross-entropy on clean images, no adversary",
        reference="-",
        adversary=None,
        rule=_uniform,
        objective=objectives.STANDARD,
    ),
    "pgd-at": Method(
        summary="cross-entropy on PGD examples",
        reference="Madry et al., ICLR 2018",
        adversary=CE_FROM_UNIFORM,
        rule=_uniform,
        objective=objectives.ADVERSARIAL_TRAINING,
    ),
    "trades": Method(
        summary="clean cross-entropy plus beta times KL to the adversarial answer",
        reference="Zhang et al., ICML 2019",
        adversary=KL_FROM_GAUSSIAN,
        rule=_uniform,
        objective=objectives.TRADES,
    ),
    "mart": Method(
        summary="boosted cross-entropy, KL weighted by how far the clean image is misclassified",
        reference="Wang et al., ICLR 2020",
        adversary=CE_FROM_GAUSSIAN,
        rule=_uniform,
        objective=objectives.MART,
    ),
}


def _with_awp(base: Method) -> Method:
    return replace(
        base,
        awp=True,
        summary=f"{base.summary}; at adversarially perturbed weights",
        reference=f"{base.reference}; Wu et al., NeurIPS 2020",
    )


def _with_faal(base: Method) -> Method:
    return replace(
        base,
        rule=_faal,
        summary=f"{base.summary}; classes weighed by the worst distribution of the batch",
        reference=f"Zhang et al., CVPR 2024, on {base.reference}",
    )


PLAIN = BASES | {"at-awp": _with_awp(BASES["pgd-at"]), "trades-awp": _with_awp(BASES["trades"])}

METHODS: dict[str, Method] = PLAIN | {
    "faal-at": _with_faal(PLAIN["pgd-at"]),
    "faal-trades": _with_faal(PLAIN["trades"]),
    "faal-mart": _with_faal(PLAIN["mart"]),
    "faal-at-awp": _with_faal(PLAIN["at-awp"]),
    "faal-trades-awp": _with_faal(PLAIN["trades-awp"]),
}


def method(name: str) -> Method:
    """The row called `name`. Raises InputError with the nearest name where there is none."""
    if name not in METHODS:
        raise unknown("method", name, METHODS, see="`faal methods`")
    return METHODS[name]
