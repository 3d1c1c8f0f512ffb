"""Run all checks for misuse."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faal.audit.attacks.registry import CLEAN
from faal.audit.blocks import Progress, Source, Subject
from faal.audit.judge import CleanVerdict
from faal.audit.misuse.class_order import class_order
from faal.audit.misuse.determinism import determinism
from faal.audit.misuse.double_normalisation import double_normalisation
from faal.audit.misuse.gradient_masking import large_epsilon, square_search, zero_gradients
from faal.audit.misuse.input_scaling import input_scaling
from faal.audit.misuse.samples import CheckResult, draw
from faal.audit.misuse.settings import epsilon_warnings, selection_warnings, setting_warnings
from faal.audit.misuse.train_test_overlap import duplicates, train_test_overlap
from faal.audit.passes import AttackOutcomes
from faal.engine import processes
from faal.engine.determinism import preserve_rng
from faal.engine.seeds import derive_seed

MAX_ATTACKED = 64
"""The number of samples attacked by the checks of gradients; a sixteenth of a small audit, at least `MIN_SAMPLES`."""

MAX_EVALUATED = 256
"""The number of samples evaluated by the other checks; a quarter of a small audit, at least `MIN_SAMPLES`."""

MIN_SAMPLES = 16


@dataclass(frozen=True, kw_only=True)
class MisuseReport:
    """The warnings, and the checks' values by their names in `audit.json`."""

    warnings: tuple[str, ...]
    probes: dict[str, dict[str, Any]]


def run_checks(
    subject: Subject,
    clean: Mapping[int, CleanVerdict],
    found: AttackOutcomes,
    *,
    classes: Sequence[str],
    training: bool,
    trained: Mapping[str, Any],
    train_images: Source | None,
    progress: Progress | None = None,
) -> MisuseReport:
    """Check a finished audit for misuse. Every process runs the same checks; the main process's results are used.

    Args:
        subject: the subject of the audit; the model in evaluation mode with frozen weights.
        clean: the clean verdicts of all blocks.
        found: the attacks' outcomes.
        classes: the classes' names.
        training: the model was passed in training mode.
        trained: the known settings of its training (`epsilon`, `norm`, `method`, `select`, `select_on`).
        train_images: its training images, if known.
        progress: called for every chunk of the training images.
    """
    labels = subject.labels.numpy()
    correct = {name: predicted == labels for name, predicted in found.predicted.items()}
    order = class_order(found.predicted[CLEAN], labels, classes, seed=subject.seed)
    warnings = [
        *setting_warnings(
            training=training,
            probabilities=found.probabilities,
            n=np.bincount(labels, minlength=found.num_classes),
            clean=order.values["accuracy"]["renumbered"],
            classes=classes,
            drawn_from=len(subject.images),
            seed=subject.seed,
        ),
        *epsilon_warnings(subject.threat, subject.images.fetch(subject.index[:1]).numel(), trained),
        *selection_warnings(trained),
    ]
    results = {"numbering": order, "repeats": duplicates(clean)}
    if train_images is not None:
        results["leakage"] = train_test_overlap(subject, train_images, classes, progress=progress)
    model_results: dict[str, CheckResult] = {}
    with preserve_rng():
        _seed(derive_seed("misuse", subject.seed))
        for name, result in _model_checks(subject, correct, order.values["order"]):
            model_results[name] = result
            if result.warning:  # the later checks would report the same cause again
                break
    results |= processes.gather_objects(model_results)[0]
    return MisuseReport(
        warnings=(*warnings, *(result.warning for result in results.values() if result.warning)),
        probes={name: result.values for name, result in results.items()},
    )


def _model_checks(
    subject: Subject, correct: Mapping[str, NDArray[np.bool_]], order: Sequence[int] | None
) -> Iterator[tuple[str, CheckResult]]:
    """The checks with extra forward passes, by recorded name; each assumes that the earlier ones found nothing.

    If the model has another `order` of the classes (C,), the accuracy may be 0, and a scaling of the images under
    which all predictions are one class would increase it: the scalings are therefore compared on permuted labels.
    """
    model, threat, count = subject.model, subject.threat, len(subject.labels)
    all_samples = draw(subject, np.ones(count, dtype=bool), _share(MAX_EVALUATED, count // 4))
    yield "steadiness", determinism(model, all_samples[:MAX_ATTACKED])
    yield "normalisers", double_normalisation(model, all_samples)
    if order is not None:
        all_samples = replace(all_samples, labels=torch.tensor(order).to(subject.device)[all_samples.labels])
    yield "readings", input_scaling(model, all_samples)
    attacks = [name for name in correct if name != CLEAN]
    if not attacks or not correct[CLEAN].any():
        return
    samples = draw(subject, correct[CLEAN], _share(MAX_ATTACKED, count // 16))
    robust = torch.from_numpy(np.logical_and.reduce(list(correct.values())))[samples.rows].to(subject.device)
    yield "silence", zero_gradients(model, samples, threat)
    if "autoattack" not in attacks:  # which runs a longer Square attack with its own warning
        square = square_search(model, samples, robust, threat, seed=subject.seed, attacks=attacks)
        if square is not None:
            yield "blind_search", square
        if robust.any():
            yield "beyond_bounds", large_epsilon(model, samples[robust], threat)


def _share(most: int, part: int) -> int:
    return min(most, max(MIN_SAMPLES, part))


def _seed(seed: int) -> None:
    """Seed all generators that a model may draw from, so that the values of a random forward are reproducible."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
