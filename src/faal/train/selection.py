"""Which epoch's weights are kept: chosen on the held-out part of the training set, never on the test set."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from faal.audit.attacks import GradientAttack, attack_named
from faal.data import Split
from faal.engine import processes, seeds
from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.inner.modes import attacked
from faal.inner.pgd import pgd
from faal.intermediate.class_stats import class_sums


@dataclass(frozen=True)
class HeldOutAccuracy:
    """Class-wise robust accuracy on the held-out part."""

    average: float
    worst: float
    classes: list[float]


RULES: dict[str, Callable[[HeldOutAccuracy], float]] = {
    "sum": lambda accuracy: accuracy.average + accuracy.worst,
    "average": lambda accuracy: accuracy.average,
    "worst": lambda accuracy: accuracy.worst,
}
"""Score of an epoch; the highest is kept, the earliest of equals. `last` has none: the last epoch is kept."""


def held_out_accuracy(
    net: nn.Module,
    split: Split,
    *,
    num_classes: int,
    attack: str,
    epsilon: float,
    seed: int,
    numerics: Numerics,
    batch_size: int = 250,
) -> HeldOutAccuracy:
    """Robust accuracy per class on the held-out part; each sample's random start is the same at every epoch.

    Args:
        net: the network; restored exactly.
        split: the held-out part, on the device.
        num_classes: C.
        attack: `pgdK` or `cwK`, K steps of epsilon / 4.
        epsilon: radius of the L-infinity ball.
        seed: the run's seed.
        numerics: the arithmetic of training: this is a choice, not a verdict.
        batch_size: images per forward.
    """
    chosen = attack_named(attack)
    if not isinstance(chosen, GradientAttack):
        raise InputError(f"select_attack is pgdK or cwK, such as cw10, not {attack!r}: it runs after every epoch")
    hits = torch.zeros(num_classes, device=numerics.device)
    counts = torch.zeros(num_classes, device=numerics.device)
    all_labels = split.labels.to(numerics.device)
    own = torch.arange(split.n, device=numerics.device).tensor_split(processes.world_size())[processes.rank()]
    for index in own.split(batch_size) if len(own) else ():
        images, labels = split.images.fetch(index), all_labels[index]
        noise = seeds.uniform(index, images[0].numel(), seed=seed, epoch=0, stream=seeds.Stream.RESTART)
        with numerics.autocast():
            adversarial = pgd(
                net,
                images,
                labels,
                epsilon=epsilon,
                step_size=epsilon / 4,
                steps=chosen.steps,
                loss=chosen.loss,
                noise=noise.view_as(images),
                keep_success=True,
            )
            correct = _correct(net, images, labels) & _correct(net, adversarial, labels)
        hits += class_sums(correct.float(), labels, num_classes)
        counts += class_sums(torch.ones_like(labels, dtype=torch.float32), labels, num_classes)
    hits, counts = processes.all_sum(hits, counts)
    classes = (hits / counts).tolist()
    return HeldOutAccuracy(average=float(hits.sum() / counts.sum()), worst=min(classes), classes=classes)


@torch.no_grad()
def _correct(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with attacked(net):
        answer: Tensor = net(images).argmax(dim=1) == labels
    return answer
