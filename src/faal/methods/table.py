"""The table of methods: a name -> adversary, class rule, objective, weight perturbation.

A method of the paper is a row; a new one is a row and, for a new way to compute class weights, a module in
`intermediate/rules`.
"""

from dataclasses import replace
from typing import Any

from faal.intermediate.class_rule import ClassRule
from faal.intermediate.rules.cfa import CFA
from faal.intermediate.rules.cfol import CFOL
from faal.intermediate.rules.csr import CSR
from faal.intermediate.rules.dafa import DAFA
from faal.intermediate.rules.faal import FAAL
from faal.intermediate.rules.fat import FAT
from faal.intermediate.rules.frl import FRL
from faal.intermediate.rules.group_dro import GroupDRO
from faal.intermediate.rules.wat import WAT
from faal.methods.row import Adversary, Method
from faal.outer import objectives

CE_FROM_UNIFORM = Adversary(loss="ce", start="uniform")
CE_FROM_GAUSSIAN = Adversary(loss="ce", start="gaussian")
KL_FROM_GAUSSIAN = Adversary(loss="kl", start="gaussian")

ON_TEST: dict[str, Any] = {"select_on": "test", "hold_out": "none"}
"""The checkpoint chosen on test images, nothing withheld: most published code."""
STEERED_ON_TEST = ON_TEST | {"hold_out": "both"}
"""As `ON_TEST`, with withheld images for the evaluations of the method."""
PUBLISHED_FAAL = ON_TEST | {"select": "worst", "counted": True}

BASES = {
    "standard": Method(
        summary="cross-entropy on clean images, no adversary",
        reference="-",
        adversary=None,
        objective=objectives.STANDARD,
    ),
    "pgd-at": Method(
        summary="cross-entropy on PGD examples",
        reference="Madry et al., ICLR 2018",
        adversary=CE_FROM_UNIFORM,
        objective=objectives.ADVERSARIAL_TRAINING,
        published=ON_TEST,
    ),
    "trades": Method(
        summary="clean cross-entropy plus beta times KL to the prediction on the adversarial example",
        reference="Zhang et al., ICML 2019",
        adversary=KL_FROM_GAUSSIAN,
        objective=objectives.TRADES,
        adversary_free=False,
        published={"extra_clean_forward": True, "select": "last", "hold_out": "none"},
    ),
    "mart": Method(
        summary="boosted cross-entropy, KL weighted by 1 minus the clean image's probability of its class",
        reference="Wang et al., ICLR 2020",
        adversary=CE_FROM_GAUSSIAN,
        objective=objectives.MART,
        published=ON_TEST,
    ),
}


def _with_awp(base: Method) -> Method:
    return replace(
        base,
        awp=True,
        summary=f"{base.summary}; at adversarially perturbed weights",
        reference=f"{base.reference}; Wu et al., NeurIPS 2020",
    )


PLAIN = BASES | {"at-awp": _with_awp(BASES["pgd-at"]), "trades-awp": _with_awp(BASES["trades"])}


def _on(base: str, rule: type[ClassRule], summary: str, reference: str, **other: Any) -> Method:
    """A class rule on a plain method."""
    return replace(
        PLAIN[base], rule=rule, summary=summary, reference=reference, **({"plain": base, "published": {}} | other)
    )


RULES = {
    "frl-rw": _on(
        "trades", FRL, "TRADES; classes weighted by multipliers of fairness constraints", "Xu et al., ICML 2021",
        fixed={"margins": False, "margin_rate": 0.2}, adversary_free=False, published=STEERED_ON_TEST,
    ),
    "frl-rwrm": _on(
        "trades", FRL, "FRL with larger margins for classes that violate the constraint", "Xu et al., ICML 2021",
        fixed={"margins": True}, adversary_free=False, published=STEERED_ON_TEST,
    ),
    "cfa-at": _on(
        "pgd-at", CFA, "PGD-AT; margins by each class's last robust accuracy", "Wei et al., CVPR 2023",
        fixed={"regularised": False, "lambda2": 0.5, "divided": False}, gated=True,
        published=STEERED_ON_TEST | {"attack_mode": "train", "extra_clean_forward": True, "average_gate": 0.2},
    ),
    "cfa-trades": _on(
        "trades", CFA, "TRADES; margins and beta by each class's last robust accuracy", "Wei et al., CVPR 2023",
        fixed={"regularised": True}, gated=True, adversary_free=True,
        published=STEERED_ON_TEST
        | {"average_gate": 0.24, "constants": {"divided": True}, "attack_start": "uniform"},
    ),
    "wat": _on(
        "trades", WAT, "TRADES; Hedge over the held-out class losses and their average", "Li and Liu, AAAI 2023",
        adversary_free=False, published=STEERED_ON_TEST,
    ),
    "bat": Method(
        summary="TRADES between the last clean and the first adversarial point, with uniform predictions at both",
        reference="Sun et al., 2022",
        adversary=Adversary(loss="kl", start="gaussian", friendly=True),
        objective=objectives.FRIENDLY,
        adversary_free=False,
        published={"select": "last", "hold_out": "none"},
    ),
    "fat": _on(
        "pgd-at", FAT, "PGD-AT and the variance of the class losses", "Ma, Wang and Liu, NeurIPS 2022",
        published={"select": "last", "hold_out": "none", "constants": {"padded": 100}},
    ),
    "dafa": _on(
        "trades", DAFA, "TRADES; margin and weight transferred between similar classes", "Lee et al., ICLR 2024",
        adversary_free=True,
        published={"select": "last", "hold_out": "none", "nesterov": True, "constants": {"clamped": False}},
    ),
    "cfol": _on(
        "pgd-at", CFOL, "PGD-AT; classes drawn by their adversarial errors (EXP3)", "Pethick et al., TMLR 2023",
    ),
    "csr": _on(
        "trades", CSR, "TRADES; confusions weighted by their leading spectrum", "Jin et al., ICLR 2025",
        objective=objectives.CONFUSIONAL, plain=None, adversary_free=False,
        published={"select": "last", "hold_out": "none"},
    ),
    "group-dro": _on(
        "pgd-at", GroupDRO, "PGD-AT; exponentiated gradient on the class weights", "Sagawa et al., ICLR 2020",
    ),
    "dro-kl-forward": _on(
        "pgd-at", FAAL, "FAAL_AT in the ball KL(w || U)", "-", fixed={"ball": "kl-forward"},
    ),
    "dro-chi2": _on("pgd-at", FAAL, "FAAL_AT in a chi-squared ball", "-", fixed={"ball": "chi2"}),
    "dro-cvar": _on("pgd-at", FAAL, "FAAL_AT with weights capped (CVaR)", "-", fixed={"ball": "cvar"}),
}  # fmt: skip


def _with_faal(name: str, base: Method) -> Method:
    # FAAL's code has one clean forward for every loss: that of the loss itself, if it uses the clean images.
    published = {setting: value for setting, value in base.published.items() if setting != "extra_clean_forward"}
    extra = {} if base.objective.clean else {"extra_clean_forward": True}
    return replace(
        base,
        faal=True,
        adversary_free=name in PLAIN or base.adversary_free,
        plain=base.plain or name,
        summary=f"{base.summary}; classes weighted by the worst distribution of the batch",
        reference=f"Zhang et al., CVPR 2024, on {base.reference}",
        published=published | PUBLISHED_FAAL | extra | ({"hold_out": "both"} if base.steers else {}),
    )


METHODS: dict[str, Method] = (
    PLAIN
    | {
        "faal-at": _with_faal("pgd-at", PLAIN["pgd-at"]),
        "faal-trades": _with_faal("trades", PLAIN["trades"]),
        "faal-mart": replace(_with_faal("mart", PLAIN["mart"]), published=PUBLISHED_FAAL | {"attack_loss": "kl"}),
        "faal-at-awp": _with_faal("at-awp", PLAIN["at-awp"]),
        "faal-trades-awp": _with_faal("trades-awp", PLAIN["trades-awp"]),
    }
    | RULES
    | {
        "offsets": Method(
            summary="no training: a constant per class is added to the logits, chosen under attack",
            reference="Hardt, Price and Srebro, NeurIPS 2016; Menon et al., ICLR 2021",
            adversary=None,
            objective=objectives.NOTHING,
        )
    }
    | {f"faal-{name}": _with_faal(name, RULES[name]) for name in ("cfa-at", "cfa-trades", "dafa", "bat", "wat")}
)
