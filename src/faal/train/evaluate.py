"""A network's class-wise figures on fixed images: for the choice of the epoch, for rules that look, for the gate."""

import torch
from torch import Tensor, nn

from faal import losses
from faal.config import Threat
from faal.data import Split
from faal.engine import processes, seeds
from faal.engine.numerics import Numerics
from faal.inner.modes import attacked
from faal.inner.pgd import pgd
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics, class_sums

BATCH = 250

GATE = EvaluationRequest(part="steer", loss="ce", steps=10)
"""What a gated average judges an epoch by."""


def see(
    net: nn.Module,
    split: Split,
    look: EvaluationRequest,
    *,
    num_classes: int,
    threat: Threat,
    seed: int,
    numerics: Numerics,
    batch_size: int = BATCH,
) -> ClassMetrics:
    """Look at a network, which comes back as it was. A sample's random start is the same at every look.

    Args:
        net: the network.
        split: the images, on the device or streaming to it.
        look: the attack.
        num_classes: C.
        threat: what the attack may do.
        seed: the run's seed.
        numerics: the arithmetic of training: this is no verdict.
        batch_size: images per forward.

    Returns:
        The figures of each class (or group, where `split` has a grouping) over all processes; each sees its part.
    """
    draw = seeds.normal if look.start == "gaussian" else seeds.uniform
    num_groups = num_classes if split.grouping is None else len(split.grouping.names)
    sums = torch.zeros(num_groups, 5 + num_classes, device=numerics.device)
    all_labels, all_groups = split.labels.to(numerics.device), split.groups.to(numerics.device)
    own = torch.arange(split.n).tensor_split(processes.world_size())[processes.rank()]
    for index in own.split(batch_size) if len(own) else ():
        images, places = split.images.fetch(index), index.to(numerics.device)
        labels = all_labels[places]
        noise = draw(places, images[0].numel(), seed=seed, epoch=0, stream=seeds.Stream.RESTART)
        with numerics.autocast():
            adversarial = pgd(
                net,
                images,
                labels,
                epsilon=threat.epsilon,
                step_size=threat.epsilon / 4,
                steps=look.steps,
                loss=look.loss,
                start=look.start,
                norm=threat.norm,
                noise=noise.view_as(images),
                # An attack on the answer stops at its first success; one on the divergence goes to the end.
                keep_success=look.loss != "kl",
            )
            clean, robust = _logits(net, images), _logits(net, adversarial)
        wrong, turned = _wrong(clean, labels), _wrong(robust, labels)
        answer = _shrunk(robust, labels, look.shrink).argmax(dim=1)
        figures = [
            torch.ones_like(wrong),
            wrong,
            wrong | turned,
            losses.cross_entropy(clean, labels),
            losses.kl_divergence(clean, robust),
        ]
        answers = nn.functional.one_hot(answer, num_classes)
        rows = torch.cat([torch.stack([figure.float() for figure in figures], dim=1), answers], dim=1)
        sums += class_sums(rows, all_groups[places], num_groups)
    (sums,) = processes.all_sum(sums)
    counts = sums[:, 0]
    _, clean_error, robust_error, cross_entropy, divergence = (sums[:, :5] / counts.clamp_min(1)[:, None]).unbind(1)
    return ClassMetrics(
        counts=counts,
        clean_error=clean_error,
        robust_error=robust_error,
        cross_entropy=cross_entropy,
        kl_divergence=divergence,
        confusion=sums[:, 5:].T,
    )


@torch.no_grad()
def _logits(net: nn.Module, images: Tensor) -> Tensor:
    with attacked(net):
        logits: Tensor = net(images)
    return losses.widened(logits)


def _wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool; an answer that is no number is wrong, though its argmax is class 0."""
    return (logits.argmax(dim=1) != labels) | ~logits.isfinite().all(dim=1)


def _shrunk(logits: Tensor, labels: Tensor, share: float) -> Tensor:
    """The logits with a share of the true class's taken off."""
    own = logits.gather(1, labels[:, None])
    return logits.scatter(1, labels[:, None], own - share * own.abs())
