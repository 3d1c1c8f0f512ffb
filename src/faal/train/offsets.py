"""Offsets: one constant per class added to the logits, chosen under attack, without training.

The network is z'(x) = z(x) + b, b in R^C with sum(b) = 0. The search maximises the score by which an epoch is chosen
(`selection.RULES`), from the class-wise robust accuracies a_c(b) under the attack of that selection. The offsets are
part of the network that is attacked: every evaluation runs the attack again.

    b(0) = the network's own offsets, or 0
    b(t+1) = b(t) + RATE s (1 - t / EVALUATIONS) (mean_k a_k(b(t)) - a_c(b(t)))        c a class with images

s is the median over the images of |z_y - max_{j != y} z_j| without attack: scaled logits result in equally
scaled offsets, and one RATE is used for all networks. The terms of a step sum to 0 over the classes with images; the
offset of a class without images is unchanged. The result is the b(t) with the highest score, the earliest of ties; b(0)
if the score increases by less than 1 / n, one of the n images in the average. Group-wise thresholds for a trained
classifier were proposed by Hardt, Price and Srebro (NeurIPS 2016), constants added to the logits by Menon et al. (ICLR
2021), who compute them from the class frequencies.
"""

import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from faal import losses
from faal.arguments import truth_value, whole_number
from faal.audit.checks import (
    check_gradient,
    check_images,
    check_labels,
    check_logits,
    check_model,
    forward,
)
from faal.config import Recipe, Threat, parse_epsilon
from faal.config.choices import NormName, ScoreRule
from faal.data import Grouping, Split
from faal.data.checks import as_images, as_labels, clamped
from faal.data.images import InMemory
from faal.engine import processes
from faal.engine.numerics import Numerics
from faal.engine.ordinary import ordinary_modes, without_inference_tensors
from faal.errors import InputError, one_of
from faal.inner.modes import attacked
from faal.intermediate.class_rule import EvaluationRequest
from faal.intermediate.class_stats import ClassMetrics
from faal.models.offsets import OFFSETS, Offset, without_offsets
from faal.train.evaluate import BATCH, evaluate
from faal.train.outcome import OffsetEvaluation, OffsetSearch
from faal.train.parts import Parts
from faal.train.selection import RULES, HeldOutAccuracy, selection_request
from faal.train.state import copied

EVALUATIONS = 10
"""The number of evaluations, including that of the initial network."""

RATE = 1.0
"""The first step in units of s, for a class whose accuracy is 1 below the mean."""

DIGITS = 3
"""Significant digits of s: the last bits of a forward pass, which depend on the batches, do not affect the offsets."""


ROUNDING = 1e-6
"""Accuracies are float32: smaller differences of scores are rounding errors."""


def rule_for_offsets(recipe: Recipe) -> ScoreRule:
    """The rule by which a run's offsets are chosen: that for the epoch, or `sum` without selection."""
    return "sum" if recipe.select == "last" else recipe.select


def with_best_offsets(
    state: Mapping[str, Any],
    net: nn.Module,
    parts: Parts,
    recipe: Recipe,
    *,
    seed: int,
    numerics: Numerics,
    on_evaluation: Callable[[int, dict[str, Any]], None],
) -> tuple[dict[str, Any], OffsetSearch]:
    """The checkpoint of a network with the best offsets for it.

    The result is the same for a checkpoint that already has such offsets, of an interrupted run.

    Args:
        state: the checkpoint, as in best.pt.
        net: the module that its weights are loaded into: an `Offset` if the run started from one, whose offsets are
            then the initial ones of the search.
        parts: the data.
        recipe: the run's.
        seed: the run's seed.
        numerics: device and precision.
        on_evaluation: is called after each evaluation with its number, from 0, and its record.
    """
    weights = dict(state["weights"])
    if isinstance(net, Offset):
        weights[OFFSETS] = net.offsets
    elif state["architecture"].get("offsets"):
        weights = without_offsets(weights)
    net.load_state_dict(weights)
    if not isinstance(net, Offset):
        net = Offset(net, torch.zeros(state["architecture"]["num_classes"]))
    net = net.to(numerics.device)
    counter = count()
    result = search(
        net,
        parts.for_offsets[0],
        selection_request(recipe.select_attack),
        rule=rule_for_offsets(recipe),
        num_classes=len(net.offsets),
        threat=recipe.threat,
        seed=seed,
        numerics=numerics,
        on_evaluation=lambda evaluation: on_evaluation(next(counter), asdict(evaluation)),
    )
    changed = {"architecture": {**state["architecture"], "offsets": True}, "weights": copied(net)}
    return {**state, **changed}, result


def search(
    net: Offset,
    split: Split,
    request: EvaluationRequest,
    *,
    rule: ScoreRule,
    num_classes: int,
    threat: Threat,
    seed: int,
    numerics: Numerics,
    batch_size: int = BATCH,
    on_evaluation: Callable[[OffsetEvaluation], None] = lambda evaluation: None,
) -> OffsetSearch:
    """Choose a network's offsets, starting from its current ones; they are replaced by the chosen ones.

    Args:
        net: the network, on the device.
        split: the images to choose on; if they have groups, these are scored.
        request: the attack.
        rule: a name of `selection.RULES`.
        num_classes: C.
        threat: norm and epsilon of the attack.
        seed: the seed of the random starts, which are the same in every evaluation.
        numerics: device and precision; these accuracies are not verdicts.
        batch_size: images per forward.
        on_evaluation: is called after each evaluation.

    Returns:
        The first evaluation and the best; the same on every process.
    """
    current = net.offsets.double().cpu()
    scale = margin_scale(net, split, numerics, batch_size)
    before = best = None
    for iteration in range(EVALUATIONS):
        net.offsets.copy_(current)
        metrics = evaluate(
            net,
            _by_cell(split, num_classes),
            request,
            num_classes=num_classes,
            threat=threat,
            seed=seed,
            numerics=numerics,
            batch_size=batch_size,
        )
        evaluation = _evaluation(net, metrics, split.grouping, num_classes)
        on_evaluation(evaluation)
        before = before or evaluation
        if best is None or RULES[rule](evaluation.accuracy) > RULES[rule](best.accuracy):
            best = evaluation
        step = RATE * scale * (1 - iteration / EVALUATIONS) * _towards_equal(evaluation.by_class.classes)
        if not step.any():
            break
        current = current + step
    assert before is not None
    assert best is not None
    result = OffsetSearch(before=before, after=best, images=split.n, rule=rule)
    if result.gain < 1 / split.n - ROUNDING:
        result = replace(result, after=before)
    net.offsets.copy_(torch.tensor(result.after.offsets))
    return result


def _by_cell(split: Split, num_classes: int) -> Split:
    """The split grouped by pairs of group and class, so that one evaluation yields the accuracies of both."""
    if split.grouping is None:
        return split
    cells = split.grouping.index * num_classes + split.labels
    names = tuple(map(str, range(len(split.grouping.names) * num_classes)))
    return replace(split, grouping=Grouping(split.grouping.name, names, cells))


def _evaluation(net: Offset, metrics: ClassMetrics, grouping: Grouping | None, num_classes: int) -> OffsetEvaluation:
    offsets = tuple(net.offsets.tolist())
    if grouping is None:
        accuracy = HeldOutAccuracy.of(metrics)
        return OffsetEvaluation(offsets=offsets, accuracy=accuracy, by_class=accuracy)
    counts = metrics.counts.view(-1, num_classes)
    misclassified = counts * metrics.robust_error.view(-1, num_classes)

    def pooled(dim: int) -> HeldOutAccuracy:
        n = counts.sum(dim)
        return HeldOutAccuracy.of(replace(metrics, counts=n, robust_error=misclassified.sum(dim) / n.clamp_min(1)))

    return OffsetEvaluation(offsets=offsets, accuracy=pooled(1), by_class=pooled(0))


def _towards_equal(accuracies: list[float | None]) -> Tensor:
    """(C,) float64 with sum 0: the mean over the classes with images minus the accuracy of each; 0 for the others."""
    has_images = torch.tensor([accuracy is not None for accuracy in accuracies])
    values = torch.tensor([accuracy or 0.0 for accuracy in accuracies], dtype=torch.float64)
    step: Tensor = torch.where(has_images, values.sum() / has_images.sum() - values, 0.0)
    return step


@torch.no_grad()
def margin_scale(net: Offset, split: Split, numerics: Numerics, batch_size: int = BATCH) -> float:
    """The median of |z_y - max_{j != y} z_j| over the images, without attack, to 3 digits.

    This pass over all images precedes the attacks, and also checks the images and their logits.

    Raises:
        InputError: an image outside [0, 1], or logits that are not finite; on every process.
    """
    part_of_process = torch.arange(split.n).tensor_split(processes.world_size())[processes.rank()]
    margins, error = [], None
    try:
        for index in part_of_process.split(batch_size) if len(part_of_process) else ():
            images = split.images.fetch(index)
            check_images(images, index)
            with attacked(net), numerics.autocast():
                logits = losses.upcast(net(images))
            check_logits(logits, index, len(net.offsets))
            margins.append(losses.margin(logits, split.labels[index].to(logits.device)).abs().cpu())
    except InputError as rejected:  # the other processes wait for the margins of this one
        error = rejected
    result = processes.gather_objects((margins, error))
    for _, error in result:
        if error is not None:
            raise error
    scale = float(torch.cat([part for parts, _ in result for part in parts]).median())
    return float(f"{scale:.{DIGITS}g}")


@ordinary_modes()
def offsets(
    model: nn.Module,
    images: object,
    labels: object,
    *,
    epsilon: float | str,
    norm: NormName = "linf",
    attack: str = "cw10",
    rule: ScoreRule = "sum",
    seed: int = 0,
    batch_size: int = BATCH,
    local: bool = False,
) -> Tensor:
    """The best constants to add to a classifier's logits, one per class, chosen under attack.

    Choose them on images that the model is neither trained nor evaluated on. To use them, add them to the logits
    as part of the model, so that later attacks include them; for a linear last layer:
    `model.fc.bias.data += offsets`.

    The search has ten evaluations; each attacks the network with the current offsets and updates them towards equal
    robust accuracy of the classes (the equation is in `faal.train.offsets`). Constants per class after training were
    proposed by Hardt, Price and Srebro (NeurIPS 2016) and Menon et al. (ICLR 2021).

    Args:
        model: returns logits (B, C) for images (B, channels, H, W) in [0, 1]; it is unchanged.
        images: (N, channels, H, W), (N, H, W, channels) or (N, H, W), uint8 or floating point in [0, 1].
        labels: (N,) integers, 0 to C - 1.
        epsilon: radius of the ball, in units of [0, 1]: a number, or text such as `8/255`.
        norm: the ball's norm, `linf` or `l2`.
        attack: `pgdK` or `cwK`, K steps of epsilon / 4.
        rule: the score to maximise, from the robust accuracies: `sum` (average + worst class), `average` or `worst`.
        seed: of the attack's random starts.
        batch_size: images per forward.
        local: where there is a group of processes, search in this one alone; else all of them have to call.

    Returns:
        (C,) float32 on the CPU, in units of the logits, with sum 0; 0 for a class without images, and 0 for all if no
        constants that were tried raise the score by 1 / N or more. Scaled logits have equally scaled offsets.

    Raises:
        InputError: the input is invalid; the message states what is wrong, where, and what to do.

    Example:
        >>> import torch, faal
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
        >>> images, labels = torch.rand(60, 1, 4, 4), torch.arange(60) % 3
        >>> constants = faal.offsets(model, images, labels, epsilon="8/255")
        >>> constants.shape
        torch.Size([3])
        >>> logits = model(images) + constants
    """
    check_model(model)
    model = without_inference_tensors(model)
    one_of("rule", rule, RULES)
    seed, batch_size = whole_number("seed", seed), whole_number("batch_size", batch_size, least=1)
    request, threat = selection_request(attack), Threat(norm, parse_epsilon(epsilon))
    pixels, rounded = clamped(as_images(images, "images").pixels, "images")
    for note in rounded:
        warnings.warn(note, stacklevel=3)
    image_set, label_set = InMemory(pixels), as_labels(labels, "labels")
    check_labels(label_set, len(image_set), None)
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    split = Split(image_set, label_set).to(device)
    first = split.images.fetch(torch.arange(min(2, split.n)))
    check_images(first, torch.arange(len(first)))
    with torch.no_grad(), attacked(model):
        logits = forward(model, first)
    check_logits(logits, torch.arange(len(first)), None)
    with attacked(model):
        check_gradient(model, first)
    num_classes = logits.shape[1]
    check_labels(label_set, len(image_set), num_classes)
    net = Offset(model, torch.zeros(num_classes)).to(device)
    with processes.alone() if truth_value("local", local) else nullcontext():
        processes.meet("faal.offsets")
        search(
            net,
            split,
            request,
            rule=rule,
            num_classes=num_classes,
            threat=threat,
            seed=seed,
            numerics=Numerics.choose("float32", device),
            batch_size=batch_size,
        )
    return net.offsets.cpu()
