"""All signs of misuse, one after another."""

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
from faal.audit.misuse.evidence import Finding, draw
from faal.audit.misuse.gradients import beyond_bounds, blind_search, silence
from faal.audit.misuse.known import about_choice, about_radius, remarks
from faal.audit.misuse.leakage import leakage, repeats
from faal.audit.misuse.normalisers import normalisers
from faal.audit.misuse.numbering import numbering
from faal.audit.misuse.outputs import steadiness
from faal.audit.misuse.readings import readings
from faal.audit.passes import AttackOutcomes
from faal.engine import processes
from faal.engine.determinism import preserve_rng
from faal.engine.seeds import derive_seed

SEARCHED = 64
"""Samples that are searched by the probes of the gradients; of a small audit a sixteenth, but 16."""

READ = 256
"""Samples that are read anew; of a small audit a quarter, but 16."""

LEAST = 16


@dataclass(frozen=True, kw_only=True)
class Signs:
    """The sentences, and the probes' figures by name."""

    warnings: tuple[str, ...]
    probes: dict[str, dict[str, Any]]


def examine(
    subject: Subject,
    clean: Mapping[int, CleanVerdict],
    found: AttackOutcomes,
    *,
    classes: Sequence[str],
    training: bool,
    trained: Mapping[str, Any],
    train_images: Source | None,
    progress: Progress | None = None,
) -> Signs:
    """Look for signs of misuse in a finished audit. Every process asks the same; the main one's word counts.

    Args:
        subject: what was audited; the model in evaluation mode with frozen weights.
        clean: the clean verdicts of all blocks.
        found: what the attacks found.
        classes: the classes' names.
        training: the model was handed over in training mode.
        trained: the settings that it was trained with (`epsilon`, `norm`, `method`, `select`, `select_on`), as far as
            they are known.
        train_images: what it was trained on, where that is known.
        progress: told of the training images that are read.
    """
    labels = subject.labels.numpy()
    right = {name: predicted == labels for name, predicted in found.predicted.items()}
    numbered = numbering(found.predicted[CLEAN], labels, classes, seed=subject.seed)
    said = [
        *remarks(
            training=training,
            probabilities=found.probabilities,
            n=np.bincount(labels, minlength=found.num_classes),
            clean=numbered.figures["accuracy"]["renumbered"],
            classes=classes,
            drawn_from=len(subject.images),
            seed=subject.seed,
        ),
        *about_radius(subject.threat, subject.images.fetch(subject.index[:1]).numel(), trained),
        *about_choice(trained),
    ]
    probes = {"numbering": numbered, "repeats": repeats(clean)}
    if train_images is not None:
        probes["leakage"] = leakage(subject, train_images, classes, progress=progress)
    asked: dict[str, Finding] = {}
    with preserve_rng():
        _seed(derive_seed("misuse", subject.seed))
        for name, finding in _asked(subject, right, numbered.figures["order"]):
            asked[name] = finding
            if finding.warning:  # the next ones would see the same cause in another guise
                break
    probes |= processes.gather_objects(asked)[0]
    return Signs(
        warnings=(*said, *(finding.warning for finding in probes.values() if finding.warning)),
        probes={name: finding.figures for name, finding in probes.items()},
    )


def _asked(
    subject: Subject, right: Mapping[str, NDArray[np.bool_]], order: Sequence[int] | None
) -> Iterator[tuple[str, Finding]]:
    """The probes that ask the model, by name, in the order in which one rests on another.

    Under another `order` of the classes (C,) a reading of the images that turns all answers into one would raise the
    accuracy from 0, and is compared with the renumbered answers therefore.
    """
    model, threat, count = subject.model, subject.threat, len(subject.labels)
    everything = draw(subject, np.ones(count, dtype=bool), _share(READ, count // 4))
    yield "steadiness", steadiness(model, everything[:SEARCHED])
    yield "normalisers", normalisers(model, everything)
    if order is not None:
        everything = replace(everything, labels=torch.tensor(order).to(subject.device)[everything.labels])
    yield "readings", readings(model, everything)
    attacks = [name for name in right if name != CLEAN]
    if not attacks or not right[CLEAN].any():
        return
    samples = draw(subject, right[CLEAN], _share(SEARCHED, count // 16))
    standing = torch.from_numpy(np.logical_and.reduce(list(right.values())))[samples.rows].to(subject.device)
    yield "silence", silence(model, samples, threat)
    if "autoattack" not in attacks:  # which has a longer search of this kind, and says itself what it found
        blind = blind_search(model, samples, standing, threat, seed=subject.seed, attacks=attacks)
        if blind is not None:
            yield "blind_search", blind
        if standing.any():
            yield "beyond_bounds", beyond_bounds(model, samples[standing], threat)


def _share(most: int, part: int) -> int:
    return min(most, max(LEAST, part))


def _seed(seed: int) -> None:
    """All generators that a model may draw from, so that what is said of a random forward is the same every time."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
