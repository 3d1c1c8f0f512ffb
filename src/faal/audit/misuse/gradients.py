"""Whether gradients lead an attack where it could go: none at all, or worse ones than a blind search finds."""

from collections.abc import Sequence

import torch
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from faal.audit.attacks.autoattack import NORMS as SPELLED
from faal.audit.attacks.autoattack import square_fits
from faal.audit.misuse.evidence import HONEST, Finding, Samples
from faal.audit.statistics.chance import exceeds
from faal.config import Threat, epsilon_text
from faal.engine.seeds import derive_seed
from faal.inner.norms import NORMS
from faal.inner.pgd import AttackSettings, Loss, pgd, pgd_step
from faal.losses import cross_entropy, margin

QUERIES = 200
"""Of the blind search: far too few to rival a gradient attack that works."""

GREY = 0.5
"""The radius in L-infinity at which every image can be turned into plain grey, which is this bright."""

STEPS = 10
"""Of the attack at that radius, each a fifth of it."""


def silence(model: nn.Module, samples: Samples, threat: Threat) -> Finding:
    """Count the clean-correct samples that the first step of a gradient attack does not move.

    Gradients are exactly 0 behind rounding, and in float32 those of the cross-entropy are behind logits that lie more
    than a hundred apart. The chance of a false alarm is at most `LEVEL` where an honest model has a share of `HONEST`.
    Two gradients.
    """
    still, still_margin = (_still(model, samples, threat, loss) for loss in (cross_entropy, margin))
    count = int(still.sum())
    saturated = count > 2 * int((still & still_margin).sum())
    figures = {"samples": len(samples), "without_gradient": count, "without_margin_gradient": int(still_margin.sum())}
    if not exceeds(count, len(samples), HONEST):
        return Finding(figures=figures)
    sight = f"The gradient of the loss is zero at {count} of {len(samples)} images that the model gets right: "
    if saturated:
        warning = (
            "its logits lie so far apart that the cross-entropy is flat in float32, pgd cannot search there, and the "
            "figures under it are too high; divide the logits by a constant and audit again."
        )
    else:
        warning = (
            "something in its forward is flat (rounding, quantising, a threshold), gradient attacks cannot search "
            "there, and the figures under them are too high; make it differentiable and audit again."
        )
    return Finding(figures=figures, warning=sight + warning)


def blind_search(
    model: nn.Module, samples: Samples, standing: Tensor, threat: Threat, *, seed: int, attacks: Sequence[str]
) -> Finding | None:
    """Compare the audit's attacks with Square (Andriushchenko et al., 2020) at few queries, which sees no gradient.

    The exact sign test over the clean-correct samples that only one of the two turns, at `LEVEL`: where Square turns no
    more in truth, that is the chance of a false alarm. None where Square cannot run (in L2 on images of some sizes), or
    where too few samples stand for it to show anything. At most `QUERIES` forwards.

    Args:
        model: the network.
        samples: K that it gets right.
        standing: (K,) bool, which of them stood under the audit's attacks.
        threat: the audit's.
        seed: the audit's.
        attacks: the names of the audit's attacks.
    """
    fits = square_fits(samples.images.shape, threat)
    if not fits or not exceeds(int(standing.sum()), int(standing.sum()), 0.5):
        return None
    square = SquareAttack(
        model,
        norm=SPELLED[threat.norm],
        eps=threat.epsilon,
        n_queries=QUERIES,
        seed=derive_seed("misuse", seed),
        device=samples.images.device,
    )
    with torch.no_grad():
        found = square.perturb(samples.images, samples.labels)
        turned = model(found).argmax(dim=1) != samples.labels
    more, less = int((turned & standing).sum()), int((~turned & ~standing).sum())
    figures = {"samples": len(samples), "queries": QUERIES, "turned_by_it_alone": more, "turned_by_attacks_alone": less}
    if not exceeds(more, more + less, 0.5):
        return Finding(figures=figures)
    return Finding(
        figures=figures,
        warning=f"Of {len(samples)} images, a search without gradients (Square, {QUERIES} queries) turned {more} that "
        f"stood under {', '.join(attacks)}, and these turned {less} that stood under it: gradients are masked, or the "
        "attacks have too few steps, and the figures are too high; find what hides the gradient, and audit with "
        "autoattack.",
    )


def beyond_bounds(model: nn.Module, samples: Samples, threat: Threat) -> Finding:
    """Attack `samples` that stood under the audit's attacks at a radius where none of them can stand.

    PGD on the margin in L-infinity at `GREY`, from the image itself and then from a random start. Only samples of
    another class than what the model takes plain grey for: grey turns these for certain, so an attack that works turns
    nearly all. The chance of a false alarm is at most `LEVEL` where a share of `HONEST` of an honest model's outlives
    it. At most 2 `STEPS` gradients and three forwards.
    """
    with torch.no_grad():
        grey = model(torch.full_like(samples.images[:1], GREY)).argmax(dim=1)
    samples = samples[samples.labels != grey]
    standing = torch.ones(len(samples), dtype=torch.bool, device=samples.labels.device)
    for start in ("zero", "uniform"):
        rest = samples[standing]
        if len(rest) == 0:
            break
        found = pgd(
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
            standing[standing.clone()] = model(found).argmax(dim=1) == rest.labels
    count = int(standing.sum())
    figures = {"samples": len(samples), "epsilon": GREY, "steps": STEPS, "standing": count}
    if count == 0 or not exceeds(count, len(samples), HONEST):
        return Finding(figures=figures)
    return Finding(
        figures=figures,
        warning=f"Of {len(samples)} images that stood at epsilon {epsilon_text(threat.epsilon)}, {count} stand at "
        f"{GREY} in L-infinity too, where plain grey turns every one of them: accuracy that does not fall as epsilon "
        "grows means that gradients are masked and the figures too high; find what hides them, and audit with "
        "autoattack.",
    )


def _still(model: nn.Module, samples: Samples, threat: Threat, loss: Loss) -> Tensor:
    """(K,) bool: whether a step along the gradient leaves an image where it is. True for NaN."""
    ball, epsilon = NORMS[threat.norm], threat.epsilon
    with torch.enable_grad():
        moved, _ = pgd_step(model, loss, samples.images, samples.images, samples.labels, epsilon, epsilon, ball)
    return ~(ball.distance(moved, samples.images) > epsilon / 100)
