"""The folder of an audit: whose it is, what it holds already, and whether it can be written.

A folder is for one subject: one model, data, threat, seed and block size. A model is known by its weights and settings
(`network_key`), data by its images and labels; what either is called makes no difference, so that a folder may be
renamed, moved or copied. Attacks may be added to it; another subject would silently take the place of the first and is
refused. Two things may take its place: the same on more samples, and
the network that lies in the folder now, where the audit is of one that is gone.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faal import checkpoint
from faal.audit.attacks.registry import CLEAN, Attack, attack_named
from faal.audit.blocks import Subject, holds
from faal.audit.judge import CleanVerdict
from faal.audit.passes import fingerprint_of
from faal.audit.records.result import AUDIT, SCHEMA, VERDICTS, AuditResult
from faal.audit.records.verdicts import ALL, Verdicts
from faal.errors import InputError

NAMES = ("name", "path", "digest")
"""What a record of a model says beside its weights and settings: what it is called, and how an earlier version, which
took the names in, knew it."""


def network_key(model: Mapping[str, Any]) -> str | None:
    """What a network is known by: a SHA-256 of its weights and settings, whatever it is called and wherever it lies.

    Args:
        model: what `audit.json` has under `model`, of this version or an earlier one.

    Returns:
        The key; None where the record has no digest of the weights.
    """
    if "weights" not in model:
        return None
    settings = {name: value for name, value in model.items() if name not in NAMES}
    if str(settings.get("architecture", "")).startswith("hf:"):
        settings["architecture"] = "hf"  # behind it is the folder that it was read from
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def blocks_of(out: Path | str) -> Path:
    """Where an audit keeps its finished blocks."""
    return Path(out) / "blocks"


def refuse_another(
    folder: Path,
    record: Mapping[str, Any],
    subject: Subject | None = None,
    clean: Mapping[int, CleanVerdict] | None = None,
) -> None:
    """That `folder` holds no audit, or one of the same subject, or one that this one may take the place of.

    Args:
        folder: the run's folder.
        record: model, data, threat, seed and block_size as `audit.json` has them. What is not known on both sides is
            not compared, and the name of the data only where the images cannot be.
        subject: whose samples those of an earlier audit have to be among, where this one has more of them.
        clean: its clean verdicts, once they are known: the same answers tell the same images.

    Raises:
        InputError: it holds the audit of another subject; the message says what differs.
    """
    earlier = _earlier(folder)
    if earlier is None:
        return
    there, here = _identity(earlier), _identity(record)
    images = "images and labels"
    if there["data"] != here["data"] and None not in (there["data"], here["data"], there[images]):
        here[images] = here[images] or (subject and fingerprint_of(subject))
        there["data"] = here["data"] if there[images] == here[images] else there["data"]
    differ = [name for name in here if None not in (there[name], here[name]) and there[name] != here[name]]
    on_more = set(differ) <= {"samples", "images and labels"} and subject is not None and _has(subject, folder, clean)
    if not differ or on_more or (_is_of(folder, earlier) is False and _is_of(folder, record)):
        return
    told = "; ".join(f"{name} {_short(there[name])} there, {_short(here[name])} here" for name in differ)
    raise InputError(f"{folder} holds the audit of another subject ({told}); choose another folder with --out")


def refuse_outdated(folder: Path, result: AuditResult) -> None:
    """That the audit in a run's folder is of the best.pt that lies there, where both are known.

    Raises:
        InputError: it is of another network, as after a run went on.
    """
    if _is_of(folder, {"model": result.model}) is False:
        raise InputError(
            f"the audit in {folder} is of another network than the best.pt that lies there now; audit that one"
        )


def _is_of(folder: Path, record: Mapping[str, Any]) -> bool | None:
    """Whether an audit is of the best.pt in its folder; None where one of the two is not known."""
    network, model = folder / "best.pt", record.get("model")
    audited = model.get("sha256") if isinstance(model, Mapping) else None
    return None if audited is None or not network.is_file() else checkpoint.digest(network) == audited


def _has(subject: Subject, folder: Path, clean: Mapping[int, CleanVerdict] | None) -> bool:
    """Whether a subject has all samples of the audit in a folder, and more, as far as labels and clean answers tell."""
    try:
        earlier = Verdicts.read(folder / VERDICTS)
    except InputError:
        return False
    index, label = subject.index.numpy(), subject.labels.numpy()
    if len(index) <= len(earlier.index) or not np.isin(earlier.index, index).all():
        return False
    rows = np.searchsorted(index, earlier.index)
    same = np.array_equal(label[rows], earlier.label)
    if clean is None:
        return same
    answers = np.concatenate([verdict.predicted for verdict in clean.values()])
    return same and np.array_equal(answers[rows], earlier.predicted[CLEAN])


def former_keys(folder: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """By what an earlier version knew the network in the blocks of a folder: its audit's digest, if of this network."""
    model = (_earlier(folder) or {}).get("model")
    if not isinstance(model, Mapping) or network_key(model) != network_key(record["model"]):
        return ()
    return tuple(str(model[name]) for name in ("digest",) if model.get(name) not in (None, record["model"]["digest"]))


def claim(out: Path | str) -> None:
    """Make the folder of the blocks and try to write into it: better now than after an hour of the first attack.

    Raises:
        InputError: it cannot be made or written.
    """
    folder = blocks_of(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from None


def earlier_attacks(
    folder: Path, subject: Subject, clean: Mapping[int, CleanVerdict], chosen: Sequence[Attack]
) -> tuple[list[str], list[str]]:
    """The attacks of the folder's audit that are not among the chosen.

    Args:
        folder: the run's folder, of the same subject.
        subject: what is audited.
        clean: the clean verdicts of all blocks.
        chosen: the attacks that are asked for.

    Returns:
        The names of those whose blocks are all kept, which the new audit has at no cost, and of the others.
    """
    earlier = _earlier(folder)
    names = [] if earlier is None else [*earlier.get("attacks", ())]
    kept: list[str] = []
    lost: list[str] = []
    for name in names:
        if name not in {CLEAN, ALL, *(attack.name for attack in chosen)}:
            (kept if _finished(name, folder, subject, clean) else lost).append(name)
    return kept, lost


def _finished(name: str, folder: Path, subject: Subject, clean: Mapping[int, CleanVerdict]) -> bool:
    try:
        attack = attack_named(name)
    except InputError:  # of another version of the program
        return False
    return holds(blocks_of(folder), subject, attack, clean)


def _earlier(folder: Path) -> dict[str, Any] | None:
    """What `audit.json` holds; None where there is none, or none that could be read again."""
    try:
        plain = json.loads((folder / AUDIT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return plain if isinstance(plain, dict) and plain.get("schema") == SCHEMA else None


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes the subject of an audit, under the names that a reader knows it by; None where it is not told."""
    model, data, threat = (
        part if isinstance(part := record.get(name), Mapping) else {} for name in ("model", "data", "threat")
    )
    return {
        "model": network_key(model) or model.get("digest"),
        "data": data.get("name"),
        "split": data.get("split"),
        "samples": data.get("n"),
        "images and labels": data.get("fingerprint"),
        "norm": threat.get("norm"),
        "epsilon": threat.get("epsilon"),
        "seed": record.get("seed"),
        "block_size": record.get("block_size"),
    }


def _short(value: Any) -> str:
    """A number as people write it; of a digest enough to see that it differs."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text[:8] if len(text) == 64 else text
