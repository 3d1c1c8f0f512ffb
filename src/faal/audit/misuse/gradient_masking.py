"""Whether gradients are masked (Athalye et al., 2018): zero, or less effective than a search without them."""

from collections.abc import Sequence

import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from faal.audit.attacks.autoattack import NORMS as SQUARE_NORMS
from faal.audit.attacks.autoattack import square_fits
from faal.audit.misuse.samples import HONEST_SHARE, CheckResult, Samples
from faal.audit.statistics.intervals import exceeds
from faal.config import Threat, epsilon_text
from faal.engine.seeds import derive_seed
from faal.inner.norms import NORMS
from faal.inner.pgd import AttackSettings, Loss, pgd, pgd_step
from faal.losses import cross_entropy, margin

QUERIES = 200
"""Of Square: far too few to match a gradient attack that works."""

GREY = 0.5
"""The epsilon in L-infinity at which the ball of every image contains plain grey; also the value of its pixels."""

STEPS = 10
"""Of the attack at epsilon `GREY`, each of size `GREY` / 5."""


def zero_gradients(model: nn.Module, samples: Samples, threat: Threat) -> CheckResult:
    """Count the correctly predicted samples that the first step of a gradient attack does not change.

    Gradients are exactly 0 before a rounding, and in float32 those of the cross-entropy are 0 where logits are more
    than a hundred apart. The probability of a false alarm is at most `FALSE_ALARM` where a model without masking has a
    share of `HONEST_SHARE`. Two gradients.
    """
    zero, zero_margin = (_zero_gradient(model, samples, threat, loss) for loss in (cross_entropy, margin))
    count = int(zero.sum())
    saturated = count > 2 * int((zero & zero_margin).sum())
    figures = {"samples": len(samples), "without_gradient": count, "without_margin_gradient": int(zero_margin.sum())}
    if not exceeds(count, len(samples), HONEST_SHARE):
        return CheckResult(figures=figures)
    observed = f"The gradient of the loss is zero at {count} of {len(samples)} images that are predicted correctly: "
    if saturated:
        cause = (
            "the logits lie so far apart that the cross-entropy is flat in float32, pgd cannot search there, and the "
            "accuracy under it is too high; divide the logits by a constant and audit again."
        )
    else:
        cause = (
            "something in the forward is flat (rounding, quantising, a threshold), gradient attacks cannot search "
            "there, and the accuracies under them are too high; make it differentiable and audit again."
        )
    return CheckResult(figures=figures, warning=observed + cause)


def square_search(
    model: nn.Module, samples: Samples, robust: Tensor, threat: Threat, *, seed: int, attacks: Sequence[str]
) -> CheckResult | None:
    """Compare the audit's attacks with Square (Andriushchenko et al., 2020), which uses no gradient, at few queries.

    The exact sign test at `FALSE_ALARM` over the correctly predicted samples that become misclassified under only one
    of the two: the probability of a false alarm where Square truly succeeds on no more samples. None where Square
    cannot run (in L2 on images of some sizes), or where too few samples are robust for the test to reach its level. At
    most `QUERIES` forwards.

    Args:
        model: the network.
        samples: K that are predicted correctly.
        robust: (K,) bool, which of them are robust under the audit's attacks.
        threat: the audit's.
        seed: the audit's.
        attacks: the names of the audit's attacks.
    """
    fits = square_fits(samples.images.shape, threat)
    if not fits or not exceeds(int(robust.sum()), int(robust.sum()), 0.5):
        return None
    square = SquareAttack(
        model,
        norm=SQUARE_NORMS[threat.norm],
        eps=threat.epsilon,
        n_queries=QUERIES,
        seed=derive_seed("misuse", seed),
        device=samples.images.device,
    )
    with torch.no_grad():
        x_adv = square.perturb(samples.images, samples.labels)
        misclassified = model(x_adv).argmax(dim=1) != samples.labels
    more, less = int((misclassified & robust).sum()), int((~misclassified & ~robust).sum())
    figures = {"samples": len(samples), "queries": QUERIES, "turned_by_it_alone": more, "turned_by_attacks_alone": less}
    if not exceeds(more, more + less, 0.5):
        return CheckResult(figures=figures)
    return CheckResult(
        figures=figures,
        warning=f"Of {len(samples)} images, a search without gradients (Square, {QUERIES} queries) finds adversarial "
        f"examples of {more} that are robust under {', '.join(attacks)}, and misses {less} that are misclassified "
        "under these: gradients are masked, or the attacks have too few steps, and the accuracies are too high; find "
        "what masks them, and audit with autoattack.",
    )


def large_epsilon(model: nn.Module, samples: Samples, threat: Threat) -> CheckResult:
    """Attack `samples` that are robust under the audit's attacks at an epsilon where none of them can be robust.

    PGD on the margin in L-infinity at `GREY`, from the image itself and then from a random start. Only samples of
    another class than the one predicted for plain grey: grey is an adversarial example of each, so an attack that works
    finds one of nearly all. The probability of a false alarm is at most `FALSE_ALARM` where a share of `HONEST_SHARE`
    of the samples of a model without masking stays robust. At most 2 `STEPS` gradients and three forwards.
    """
    with torch.no_grad():
        grey = model(torch.full_like(samples.images[:1], GREY)).argmax(dim=1)
    samples = samples[samples.labels != grey]
    robust = torch.ones(len(samples), dtype=torch.bool, device=samples.labels.device)
    for start in ("zero", "uniform"):
        rest = samples[robust]
        if len(rest) == 0:
            break
        x_adv = pgd(
            model,
            rest.images,
            rest.labels,
            AttackSettings(steps=STEPS, loss="cw", start=start),
            epsilon=GREY,
            step_size=GREY / 5,
            noise=torch.rand_like(rest.images),
            keep_success=True,
        )
        with torch.no_grad():
            robust[robust.clone()] = model(x_adv).argmax(dim=1) == rest.labels
    count = int(robust.sum())
    figures = {"samples": len(samples), "epsilon": GREY, "steps": STEPS, "standing": count}
    if count == 0 or not exceeds(count, len(samples), HONEST_SHARE):
        return CheckResult(figures=figures)
    return CheckResult(
        figures=figures,
        warning=f"Of {len(samples)} images that are robust at epsilon {epsilon_text(threat.epsilon)}, {count} are "
        f"robust at {GREY} in L-infinity too, where plain grey is an adversarial example of every one of them: "
        "accuracy that does not fall as epsilon grows means that gradients are masked and the accuracies too high; "
        "find what masks them, and audit with autoattack.",
    )


def _zero_gradient(model: nn.Module, samples: Samples, threat: Threat, loss: Loss) -> Tensor:
    """(K,) bool: whether a step along the gradient leaves the image unchanged. True for a gradient of NaN."""
    norm, epsilon = NORMS[threat.norm], threat.epsilon
    with torch.enable_grad():
        x_adv, _ = pgd_step(model, loss, samples.images, samples.images, samples.labels, epsilon, epsilon, norm)
    return ~(norm.distance(x_adv, samples.images) > epsilon / 100)
