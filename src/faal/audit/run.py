"""`audit`: the class-wise accuracy of a classifier, clean and under attack, with what is uncertain about it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from faal.audit.attacks.backend import engine_for
from faal.audit.attacks.registry import CLEAN, attacks_named
from faal.audit.blocks import Progress, Source, Subject, attack_blocks, clean_blocks
from faal.audit.checks import (
    check_gradient,
    check_labels,
    check_model,
    check_settings,
    class_names,
    pixels_of,
    training_settings,
)
from faal.audit.estimates import figures, group_figures
from faal.audit.folder import blocks_of, claim, earlier_attacks, former_keys, network_key, refuse_another
from faal.audit.misuse.run_checks import run_checks
from faal.audit.passes import attack_passes, clean_pass, fingerprint
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import ALL, Verdicts, with_all
from faal.audit.statistics.intervals import METHOD
from faal.config import Threat, parse_epsilon
from faal.data import Grouping, grouping
from faal.data.checks import as_labels, clamped
from faal.data.classwise import in_proportion
from faal.data.images import InMemory
from faal.engine import processes
from faal.engine.determinism import preserve_rng, strict_float32
from faal.engine.environment import environment
from faal.engine.memory import ChunkedForward, max_chunk, retry_on_oom
from faal.engine.seeds import generator
from faal.errors import InputError, refuse_unwritable
from faal.inner.modes import attacked


def audit(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    *,
    classes: Sequence[str] | None = None,
    attacks: str | Iterable[str] = ("clean", "pgd20", "cw20"),
    epsilon: float | str = 8 / 255,
    norm: str = "linf",
    seed: int = 0,
    block_size: int = 250,
    batch_size: int | None = None,
    limit: int | None = None,
    level: float = 0.95,
    groups: Mapping[str, Sequence[object]] | Iterable[Grouping] = (),
    engine: str = "fast",
    out: Path | str | None = None,
    model_record: Mapping[str, Any] | None = None,
    data_record: Mapping[str, Any] | None = None,
    trained: Mapping[str, Any] | None = None,
    train_images: Tensor | ArrayLike | Source | None = None,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a classifier: accuracy per class, clean and under attack, with intervals.

    The model is held in evaluation mode with frozen weights, in float32 with TF32 and autocast off, and comes back
    exactly as it was; so do the global random generators. Under `torchrun` the blocks spread over the processes,
    every process gets the whole result, and the main one writes it.

    Args:
        model: returns logits (B, C) for images (B, channels, H, W) in [0, 1]; normalisation belongs inside. A
            ScriptModule will do, unless it is frozen.
        images: (N, channels, H, W), uint8 or floating point in [0, 1]; or anything with `len` and `fetch(index)`, such
            as a store of `faal.data`.
        labels: (N,) integers, 0 to C - 1.
        classes: the C classes' names; by default their numbers.
        attacks: `clean` (always first, asked for or not), `pgd20`, `cw20` or another number of steps, `autoattack`.
        epsilon: radius of the ball, in units of [0, 1]: a number, or text such as `8/255`.
        norm: the ball's norm, `linf` or `l2`.
        seed: the only source of randomness. Verdicts depend on it and on `block_size`, but neither on a memory limit
            nor on the number of processes.
        block_size: samples per block.
        batch_size: how many images the model holds at once; by default a whole block, on a CPU as many of it as have
            their activations in 4 GiB. Below a block a step costs one forward more. Where a GPU is full, it is half as
            many from there on.
        limit: audit only so many samples, drawn at random with `seed`, every class in proportion to its size.
        level: nominal coverage of the intervals.
        groups: groups of samples other than their classes, for the same figures by group: name -> each sample's group,
            such as `{"camera": ["A", "B", ...]}`.
        engine: how attacks' questions are answered: `fast`, by a copy in bfloat16 where machine and network gain by it
            (`engines`); `reference`, by the network in float32. Verdicts are float32 with either.
        out: the run's folder. The result is written there, and finished blocks are kept in its `blocks`, so that the
            same call after a crash goes on where it stopped. A folder holds the audit of one subject: another is
            refused, and attacks of an earlier call whose blocks are all kept stay in the result.
        model_record: what to record about the model, such as `name` and the checkpoint's `sha256`.
        data_record: what to record about the data: `name`, `split`.
        trained: the settings that the network was trained with, as far as they are known: `epsilon`, `norm`, `method`,
            `select`, `select_on` of a recipe. Compared with what is asked for, and not recorded.
        train_images: what it was trained on, like `images`; the result says which test images are among them.
        notes: what a reader has to know of how model and data were made, in sentences; first among the warnings.
        progress: called with (attack, blocks done, blocks in all) whenever this process has finished a block.

    Returns:
        The result, with the verdicts sample by sample.

    Raises:
        InputError: the input is wrong; the message says what, where and what to do.
    """
    threat = Threat(norm, parse_epsilon(epsilon))
    check_settings(block_size=block_size, batch_size=batch_size, limit=limit, level=level, engine=engine)
    chosen = attacks_named(attacks)
    model = _network(model)
    source, clamped_some = _source(images)
    training_source, clamped_more = (None, ()) if train_images is None else _source(train_images, "train_images")
    classes, trained = class_names(classes), training_settings(trained)
    width = None if classes is None else len(classes)
    every_group = _groupings(groups, len(source))
    told = {"name": type(model).__name__, **_plain(model_record)}
    subject = _subject(model, source, labels, width, threat, seed, block_size, batch_size, limit, told)
    groupings = [each.take(subject.index) for each in every_group]
    record = _record(subject, told, data_record)
    if len(set(processes.gather_objects(subject.key))) > 1:
        raise InputError("the processes hold different weights; give all of them the same before the audit")

    training = any(module.training for module in model.modules())
    with attacked(model), strict_float32(subject.device), preserve_rng():
        if out is not None:
            refuse_another(Path(out), record, subject)
            refuse_unwritable(blocks_of(out))
            subject = replace(subject, former=former_keys(Path(out), record))
        _bound(subject, batch_size)
        clean = clean_pass(subject, width, progress=progress)
        record["data"]["fingerprint"] = fingerprint(subject.labels, clean)
        if chosen:
            check_gradient(subject.model, subject.fetch(0)[:2])
        subject = _equipped(subject, engine)
        if len(set(processes.gather_objects(subject.engine.fast is None))) > 1:
            raise InputError(
                "the machines of this audit would ask the model in different arithmetic: audit on machines of one "
                "kind, or with the engine reference"
            )
        lost: list[str] = []
        if out is not None:
            refuse_another(Path(out), record, subject, clean)
            claim(out)
            # The main process's answer: the folder may reach the others later.
            kept, lost = processes.gather_objects(earlier_attacks(Path(out), subject, clean, chosen))[0]
            chosen = (*chosen, *attacks_named(kept))
        found = attack_passes(subject, chosen, clean, folder=None if out is None else blocks_of(out), progress=progress)
        names = [str(c) for c in range(found.num_classes)] if classes is None else list(classes)
        signs = run_checks(
            subject,
            clean,
            found,
            classes=names,
            training=training,
            trained=trained,
            train_images=training_source,
            progress=progress,
        )

    verdicts = Verdicts(
        label=subject.labels.numpy(),
        index=subject.index.numpy(),
        predicted=with_all(subject.labels.numpy(), found.predicted),
        groups={each.name: each.index.numpy() for each in groupings},
    )
    parameters: dict[str, dict[str, Any]] = {CLEAN: {}, ALL: {"attacks": list(found.predicted)}}
    for attack in chosen:
        parameters[attack.name] = attack.parameters(threat=subject.threat, num_classes=found.num_classes)
    result = AuditResult(
        **{**record, "data": {**record["data"], "classes": names}},
        engine=str(subject.engine),
        level=level,
        interval_method=METHOD,
        warnings=(
            *notes,
            *clamped_some,
            *clamped_more,
            *signs.warnings,
            *found.warnings,
            *(
                f"The audit that was here before also ran {name}; this one has no such blocks, and so not its figures."
                for name in lost
            ),
        ),
        environment=environment(subject.device),
        attacks=figures(verdicts, parameters, found.seconds, classes=names, level=level),
        groups=group_figures(verdicts, groupings, level=level),
        probes=signs.probes,
        verdicts=verdicts,
        examples=found.examples,
    )
    if out is not None and processes.is_main():
        result.write(Path(out))
    return result


def audit_share(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    *,
    rank: int,
    world_size: int,
    out: Path | str,
    attacks: str | Iterable[str] = ("clean", "pgd20", "cw20"),
    epsilon: float | str = 8 / 255,
    norm: str = "linf",
    seed: int = 0,
    block_size: int = 250,
    batch_size: int | None = None,
    limit: int | None = None,
    engine: str = "fast",
    model_record: Mapping[str, Any] | None = None,
) -> None:
    """Work off the share `rank` of `world_size` of an audit's blocks and keep them in `out`.

    For processes or machines that share a folder and nothing else. Once all shares are done, `audit` with the same
    arguments and the same `out` finds every block finished and only counts. The arguments are those of `audit`.
    Machines of different kinds need the engine `reference`: what another engine's blocks say, `audit` does not take.
    """
    threat = Threat(norm, parse_epsilon(epsilon))
    check_settings(block_size=block_size, batch_size=batch_size, limit=limit, level=0.95, engine=engine)
    chosen = attacks_named(attacks)
    model = _network(model)
    told = {"name": type(model).__name__, **_plain(model_record)}
    source, _ = _source(images)  # what was clamped is said by the audit that counts
    subject = _subject(model, source, labels, None, threat, seed, block_size, batch_size, limit, told)
    refuse_another(Path(out), _record(subject, told, None), subject)
    refuse_unwritable(blocks_of(out))
    with attacked(model), strict_float32(subject.device), preserve_rng():
        _bound(subject, batch_size)
        clean = clean_blocks(subject, rank=rank, world_size=world_size)
        if chosen:
            check_gradient(subject.model, subject.fetch(0)[:2])
        subject = _equipped(subject, engine)
        claim(out)
        for attack in chosen:
            attack_blocks(subject, attack, clean, folder=blocks_of(out), rank=rank, world_size=world_size)


def _network(model: nn.Module) -> nn.Module:
    """What is audited of what a caller hands over, checked: the network itself, without DistributedDataParallel."""
    check_model(model)
    return model.module if isinstance(model, DistributedDataParallel) else model


def _subject(
    model: nn.Module,
    source: Source,
    labels: Tensor | ArrayLike,
    width: int | None,
    threat: Threat,
    seed: int,
    block_size: int,
    batch_size: int | None,
    limit: int | None,
    told: Mapping[str, Any],
) -> Subject:
    """What is audited, checked."""
    label = as_labels(labels, "labels")
    check_labels(label, len(source), width)
    index = in_proportion(label, len(label) if limit is None else limit, generator("audit", seed))
    pieces = ChunkedForward(model, batch_size or block_size)
    return Subject(
        model=pieces,
        images=source,
        labels=label[index],
        index=index,
        device=next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu")),
        threat=threat,
        seed=seed,
        block_size=block_size,
        key=str(network_key({**told, "weights": _digest(pieces)})),
    )


def _bound(subject: Subject, batch_size: int | None) -> None:
    """Hold as many images at a time as memory has room for, where the caller does not say how many."""
    if batch_size is None:
        subject.model.limit = max_chunk(subject.model, subject.fetch(0)[:1], subject.block_size)


def _equipped(subject: Subject, engine: str) -> Subject:
    """The subject with what computes the logits of its attacks."""
    images = subject.fetch(0)
    return replace(subject, engine=retry_on_oom(partial(engine_for, engine, subject.model, images), subject.model))


def _record(subject: Subject, told: Mapping[str, Any], data: Mapping[str, Any] | None) -> dict[str, Any]:
    """Who and what is audited, as `audit.json` has it; the classes and the fingerprint are not known yet."""
    return {
        "model": {**told, "weights": _digest(subject.model), "digest": subject.key},
        "data": {"name": None, "split": None, **_plain(data), "n": len(subject.index)},
        "threat": asdict(subject.threat),
        "seed": subject.seed,
        "block_size": subject.block_size,
    }


def _source(images: Tensor | ArrayLike | Source, where: str = "images") -> tuple[Source, tuple[str, ...]]:
    """A store as it is; an array as a store, with a note of what was clamped. `where` is what a message calls it."""
    if hasattr(images, "fetch"):
        return cast(Source, images), ()
    pixels = pixels_of(images, where)
    if not pixels.is_floating_point():
        return InMemory(pixels), ()
    pixels, notes = clamped(pixels.float(), where)
    return InMemory(pixels), notes


def _groupings(groups: Mapping[str, Sequence[object]] | Iterable[Grouping], count: int) -> list[Grouping]:
    """Groups of all samples, a group per sample."""
    found = [grouping(*item) for item in groups.items()] if isinstance(groups, Mapping) else list(groups)
    for each in found:
        if sum(other.name == each.name for other in found) > 1:
            raise InputError(f"two groupings are called {each.name!r}; give each a name of its own")
        if len(each.index) != count:
            raise InputError(f"there are {count} images and {len(each.index)} groups in {each.name!r}; give one each")
    return found


def _plain(record: Mapping[str, Any] | None) -> dict[str, Any]:
    """A caller's record as JSON has it; what JSON does not know, such as a path, as text."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(record or {}), default=str))
    return plain


def _digest(model: nn.Module) -> str:
    """Of the weights and buffers."""
    digest = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
