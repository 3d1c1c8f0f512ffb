"""Test whether gradients are masked (Athalye et al., 2018): zero, or less effective than a gradient-free attack."""

from collections.abc import Sequence

import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from faal.audit.attacks.autoattack import NORMS as SQUARE_NORMS
from faal.audit.attacks.autoattack import square_fits
from faal.audit.misuse.samples import MAX_VALID_FRACTION, CheckResult, Samples
from faal.audit.statistics.intervals import exceeds
from faal.config import Threat, epsilon_text
from faal.engine.seeds import derive_seed
from faal.inner.norms import NORMS
from faal.inner.pgd import AttackSettings, Loss, pgd, pgd_step
from faal.losses import cross_entropy, margin

QUERIES = 200
"""The queries of Square: too few to match a working gradient attack."""

GREY = 0.5
"""The epsilon in L-infinity at which the ball of every image contains uniform grey; also the value of its pixels."""

STEPS = 10
"""The steps of the attack at epsilon `GREY`, of size `GREY` / 5."""


def zero_gradients(model: nn.Module, samples: Samples, threat: Threat) -> CheckResult:
    """Count the correctly predicted samples that the first step of a gradient attack does not change.

    Gradients are exactly 0 for all that comes before a rounding operation, and in float32 those of the cross-entropy
    are 0 where logits are more than a hundred apart. The probability of a false alarm is at most `FALSE_ALARM` if a
    model without masking has a fraction of `MAX_VALID_FRACTION`. Cost: two backward passes.
    """
    zero, zero_margin = (_zero_gradient(model, samples, threat, loss) for loss in (cross_entropy, margin))
    count = int(zero.sum())
    saturated = count > 2 * int((zero & zero_margin).sum())
    values = {"samples": len(samples), "without_gradient": count, "without_margin_gradient": int(zero_margin.sum())}
    if not exceeds(count, len(samples), MAX_VALID_FRACTION):
        return CheckResult(values=values)
    observed = f"The gradient of the loss is zero at {count} of {len(samples)} images that are predicted correctly: "
    if saturated:
        cause = (
            "the logits differ so much that the cross-entropy is flat in float32, pgd has no gradient there, and the "
            "accuracy under it is too high; divide the logits by a constant and audit again."
        )
    else:
        cause = (
            "something in the forward is flat (rounding, quantising, a threshold), gradient attacks have no gradient "
            "there, and the accuracies under them are too high; make it differentiable and audit again."
        )
    return CheckResult(values=values, warning=observed + cause)


def square_search(
    model: nn.Module, samples: Samples, robust: Tensor, threat: Threat, *, seed: int, attacks: Sequence[str]
) -> CheckResult | None:
    """Compare the audit's attacks with Square (Andriushchenko et al., 2020), a gradient-free attack, at few queries.

    The exact sign test at `FALSE_ALARM` over the correctly predicted samples that become misclassified under only one
    of the two: the probability of a false alarm if Square truly succeeds on no more samples. None if Square
    cannot run (in L2 on images of some sizes), or if too few samples are robust for the test to reach its level. At
    most `QUERIES` forward passes.

    Args:
        model: the network.
        samples: K correctly predicted samples.
        robust: (K,) bool, whether they are robust under the audit's attacks.
        threat: of the audit.
        seed: of the audit.
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
    only_square, only_attacks = int((misclassified & robust).sum()), int((~misclassified & ~robust).sum())
    values = {
        "samples": len(samples),
        "queries": QUERIES,
        "turned_by_it_alone": only_square,
        "turned_by_attacks_alone": only_attacks,
    }
    if not exceeds(only_square, only_square + only_attacks, 0.5):
        return CheckResult(values=values)
    return CheckResult(
        values=values,
        warning=f"Of {len(samples)} images, a gradient-free attack (Square, {QUERIES} queries) finds adversarial "
        f"examples of {only_square} that are robust under {', '.join(attacks)}, and misses {only_attacks} that are "
        "misclassified under these: gradients are masked, or the attacks have too few steps, and the accuracies are "
        "too high; find the cause, and audit with autoattack.",
    )


def large_epsilon(model: nn.Module, samples: Samples, threat: Threat) -> CheckResult:
    """Attack `samples` that are robust under the audit's attacks at an epsilon where none of them can be robust.

    PGD on the margin in L-infinity at `GREY`, from the image itself and then from a random start. Only samples
    whose class is not that predicted for uniform grey: grey is an adversarial example of each, so a working attack
    finds one for nearly all. The probability of a false alarm is at most `FALSE_ALARM` if a fraction of
    `MAX_VALID_FRACTION` of the samples of a model without masking remains robust. Cost: at most 2 `STEPS`
    backward passes and three forward passes.
    """
    with torch.no_grad():
        grey = model(torch.full_like(samples.images[:1], GREY)).argmax(dim=1)
    samples = samples[samples.labels != grey]
    robust = torch.ones(len(samples), dtype=torch.bool, device=samples.labels.device)
    for start in ("zero", "uniform"):
        remaining = samples[robust]
        if len(remaining) == 0:
            break
        x_adv = pgd(
            model,
            remaining.images,
            remaining.labels,
            AttackSettings(steps=STEPS, loss="cw", start=start),
            epsilon=GREY,
            step_size=GREY / 5,
            noise=torch.rand_like(remaining.images),
            keep_success=True,
        )
        with torch.no_grad():
            robust[robust.clone()] = model(x_adv).argmax(dim=1) == remaining.labels
    count = int(robust.sum())
    values = {"samples": len(samples), "epsilon": GREY, "steps": STEPS, "standing": count}
    if count == 0 or not exceeds(count, len(samples), MAX_VALID_FRACTION):
        return CheckResult(values=values)
    return CheckResult(
        values=values,
        warning=f"Of {len(samples)} images that are robust at epsilon {epsilon_text(threat.epsilon)}, {count} are "
        f"robust at {GREY} in L-infinity too, where uniform grey is an adversarial example of every one of them: "
        "accuracy that does not decrease with epsilon means that gradients are masked and the accuracies too high; "
        "find the cause, and audit with autoattack.",
    )


def _zero_gradient(model: nn.Module, samples: Samples, threat: Threat, loss: Loss) -> Tensor:
    """(K,) bool: whether a step along the gradient leaves the image unchanged. True for a gradient of NaN."""
    norm, epsilon = NORMS[threat.norm], threat.epsilon
    with torch.enable_grad():
        x_adv, _ = pgd_step(model, loss, samples.images, samples.images, samples.labels, epsilon, epsilon, norm)
    return ~(norm.distance(x_adv, samples.images) > epsilon / 100)
