"""Class-wise metrics of a network on fixed images: for the selection of the epoch, class rules, and the gate."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from faal import losses
from faal.config import Threat
from faal.data import Split
from faal.engine import processes, seeds
from faal.engine.numerics import Numerics
from faal.inner.modes import attacked
from faal.inner.pgd import AttackSettings, pgd
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics, class_sums

BATCH = 250

GATE = EvaluationRequest(part="steer", loss="ce", steps=10)
"""The evaluation for the gate of a weight average."""


def evaluate(
    net: nn.Module,
    split: Split,
    request: EvaluationRequest,
    *,
    num_classes: int,
    threat: Threat,
    seed: int,
    numerics: Numerics,
    batch_size: int = BATCH,
) -> ClassMetrics:
    """Class-wise errors and losses of a network, clean and under an attack with steps of epsilon / 4.

    The network is unchanged. A sample's random start is the same in every evaluation.

    Args:
        net: the network.
        split: the images, on the device or streaming to it.
        request: the attack.
        num_classes: C.
        threat: norm and epsilon of the attack.
        seed: the run's seed.
        numerics: device and precision of training; these accuracies are not verdicts.
        batch_size: images per forward.

    Returns:
        The metrics of each class (or group, if `split` has a grouping), over the images of all processes; each process
        evaluates its part.
    """
    num_groups = num_classes if split.grouping is None else len(split.grouping.names)
    sums = torch.zeros(num_groups, 5 + num_classes, device=numerics.device)
    groups = split.groups.to(numerics.device)
    for index, labels, clean, robust in _attacked_batches(net, split, request, threat, seed, numerics, batch_size):
        clean_misclassified, robust_misclassified = _misclassified(clean, labels), _misclassified(robust, labels)
        predicted = _shrunk(robust, labels, request.shrink).argmax(dim=1)
        columns = [
            torch.ones_like(clean_misclassified),
            clean_misclassified,
            clean_misclassified | robust_misclassified,
            losses.cross_entropy(clean, labels),
            losses.kl_divergence(clean, robust),
        ]
        one_hot = nn.functional.one_hot(predicted, num_classes)
        rows = torch.cat([torch.stack([column.float() for column in columns], dim=1), one_hot], dim=1)
        sums += class_sums(rows, groups[index], num_groups)
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


def robustly_correct(
    net: nn.Module,
    split: Split,
    request: EvaluationRequest,
    *,
    threat: Threat,
    seed: int,
    numerics: Numerics,
    batch_size: int = BATCH,
) -> Tensor:
    """(N,) bool on the CPU: whether each image is classified correctly, clean and under the attack of `evaluate`.

    Over several processes each evaluates its part, and all return the same. The arguments are those of `evaluate`.
    """
    correct = torch.zeros(split.n, device=numerics.device)
    for index, labels, clean, robust in _attacked_batches(net, split, request, threat, seed, numerics, batch_size):
        correct[index] = (~(_misclassified(clean, labels) | _misclassified(robust, labels))).float()
    (correct,) = processes.all_sum(correct)
    return correct.cpu() > 0


def _attacked_batches(
    net: nn.Module,
    split: Split,
    request: EvaluationRequest,
    threat: Threat,
    seed: int,
    numerics: Numerics,
    batch_size: int,
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of this process's images: indices (B,), labels (B,), clean logits and logits under the attack (B, C)."""
    attack = AttackSettings(steps=request.steps, loss=request.loss, start=request.start, norm=threat.norm)
    draw = seeds.normal if request.start == "gaussian" else seeds.uniform
    all_labels = split.labels.to(numerics.device)
    part = torch.arange(split.n).tensor_split(processes.world_size())[processes.rank()]
    for index in part.split(batch_size) if len(part) else ():
        images, device_index = split.images.fetch(index), index.to(numerics.device)
        labels = all_labels[device_index]
        noise = draw(device_index, images[0].numel(), seed=seed, epoch=0, stream=seeds.Stream.RESTART)
        with numerics.autocast():
            adversarial = pgd(
                net,
                images,
                labels,
                attack,
                epsilon=threat.epsilon,
                step_size=threat.epsilon / 4,
                noise=noise.view_as(images),
                # An attack on the prediction stops at its first success; one on the divergence runs all its steps.
                keep_success=request.loss != "kl",
            )
            clean, robust = _logits(net, images), _logits(net, adversarial)
        yield device_index, labels, clean, robust


@torch.no_grad()
def _logits(net: nn.Module, images: Tensor) -> Tensor:
    with attacked(net):
        logits: Tensor = net(images.clone())
    return losses.upcast(logits)


def _misclassified(logits: Tensor, labels: Tensor) -> Tensor:
    """(B,) bool; logits that are not finite count as misclassified."""
    return (logits.argmax(dim=1) != labels) | ~logits.isfinite().all(dim=1)


def _shrunk(logits: Tensor, labels: Tensor, fraction: float) -> Tensor:
    """The logits, with that of the true class reduced by a fraction of its magnitude."""
    part = logits.gather(1, labels[:, None])
    return logits.scatter(1, labels[:, None], part - fraction * part.abs())
