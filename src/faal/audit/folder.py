"""The folder of an audit: its subject, its earlier content, and whether it can be written.

A folder is for one subject: one model, data, threat, seed and block size. A model is identified by its weights and
settings (`network_key`), data by its images and labels; names are not compared, so that a folder may be renamed,
moved or copied. Attacks may be added to it; another subject would silently replace the first and is rejected, with two
exceptions: the same subject with more samples, and the current network of the folder, if the audit is of an earlier
    one.
"""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faal import checkpoint
from faal.audit.attacks.protocol import Attack
from faal.audit.attacks.registry import CLEAN, attack_named
from faal.audit.blocks import Subject, holds
from faal.audit.judge import CleanVerdict
from faal.audit.passes import fingerprint_of
from faal.audit.records.examples import Examples
from faal.audit.records.result import AUDIT, EXAMPLES, SCHEMAS, VERDICTS, AuditResult
from faal.audit.records.verdicts import ALL, Verdicts, read_arrays
from faal.bounds.plain import parse_json
from faal.errors import InputError

NAMES = ("name", "path", "digest")
"""The entries of a model's record that are neither weights nor settings: its names, and the key of an earlier version,
which included the names."""


KINDS = {
    "a different model": {"model"},
    "different data": {"data", "split", "samples", "images and labels"},
    "different settings": {"norm", "epsilon", "seed", "block_size"},
}
"""The differences of a rejected folder: text of the message -> names of `_identity`."""


def network_key(model: Mapping[str, Any]) -> str | None:
    """The identity of a network: a SHA-256 of its weights and settings, independent of its name and path.

    Args:
        model: the entry `model` of an `audit.json`, of this version or an earlier one.

    Returns:
        The key; None if the record has no digest of the weights.
    """
    if "weights" not in model:
        return None
    settings = {name: value for name, value in model.items() if name not in NAMES}
    if str(settings.get("architecture", "")).startswith("hf:"):
        settings["architecture"] = "hf"  # the rest is the folder of its files
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def blocks_of(out: Path | str) -> Path:
    """The folder of an audit's finished blocks."""
    return Path(out) / "blocks"


def refuse_another(
    folder: Path,
    record: Mapping[str, Any],
    subject: Subject | None = None,
    clean: Mapping[int, CleanVerdict] | None = None,
) -> None:
    """Check that `folder` contains no audit, or one of the same subject, or one that this one may replace.

    Args:
        folder: the run's folder.
        record: model, data, threat, seed and block_size as in `audit.json`. Entries that are unknown on one side are
            not compared, and the name of the data only if the images cannot be.
        subject: of the new audit; if it has more samples, they must include those of the earlier audit.
        clean: its clean verdicts, if known: equal predictions indicate equal images.

    Raises:
        InputError: it contains an audit of another subject (the message names the differences), or files with an
            audit's names that are not of an audit of this version.
    """
    earlier = _earlier(folder)
    if earlier is None:
        _refuse_unrelated(folder)
        return
    earlier_identity, new_identity = _identity(earlier), _identity(record)
    images = "images and labels"
    if earlier_identity["data"] != new_identity["data"] and None not in (
        earlier_identity["data"],
        new_identity["data"],
        earlier_identity[images],
    ):
        new_identity[images] = new_identity[images] or (subject and fingerprint_of(subject))
        earlier_identity["data"] = (
            new_identity["data"] if earlier_identity[images] == new_identity[images] else earlier_identity["data"]
        )
    differ = [
        name
        for name in new_identity
        if None not in (earlier_identity[name], new_identity[name]) and earlier_identity[name] != new_identity[name]
    ]
    on_more = set(differ) <= {"samples", "images and labels"} and subject is not None and _has(subject, folder, clean)
    if not differ or on_more or (_is_of(folder, earlier) is False and _is_of(folder, record)):
        return
    kinds = [kind for kind, names in KINDS.items() if names & set(differ)]
    details = "; ".join(
        f"{name} {_short(earlier_identity[name])} there, {_short(new_identity[name])} here" for name in differ
    )
    raise InputError(
        f"{folder} already contains an audit of {' and '.join(kinds)} ({details}); choose another folder with --out"
    )


def _refuse_unrelated(folder: Path) -> None:
    """Reject a folder without a readable audit but with an unrelated file of the same name.

    A truncated `audit.json` is ignored; `verdicts.npz` may exist without it after an audit was killed.
    """
    unrelated = AUDIT if _json(folder / AUDIT) is not None else None
    for name, read in ((VERDICTS, Verdicts.read), (EXAMPLES, lambda path: Examples(**read_arrays(path)))):
        try:
            if (folder / name).exists():
                read(folder / name)
        except (InputError, TypeError):
            unrelated = name
    if unrelated is not None:
        raise InputError(
            f"{folder} contains a {unrelated} that is not of an audit of this version and is not overwritten; "
            "choose another folder with --out"
        )


def refuse_outdated(folder: Path, result: AuditResult) -> None:
    """Check that the audit in a run's folder is of the best.pt in it, if both are known.

    Raises:
        InputError: it is of another network, for example after a run was continued.
    """
    if _is_of(folder, {"model": result.model}) is False:
        raise InputError(f"the audit in {folder} is of another network than the best.pt in it now; audit that one")


def _is_of(folder: Path, record: Mapping[str, Any]) -> bool | None:
    """Whether an audit is of the best.pt in its folder; None if either is not known."""
    network, model = folder / "best.pt", record.get("model")
    audited = model.get("sha256") if isinstance(model, Mapping) else None
    return None if audited is None or not network.is_file() else checkpoint.digest(network) == audited


def _has(subject: Subject, folder: Path, clean: Mapping[int, CleanVerdict] | None) -> bool:
    """Whether a subject has all samples of the audit in a folder, and more, from its labels and clean predictions."""
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
    predicted = np.concatenate([verdict.predicted for verdict in clean.values()])
    return same and np.array_equal(predicted[rows], earlier.predicted[CLEAN])


def earlier_keys(folder: Path, record: Mapping[str, Any]) -> tuple[str, ...]:
    """The network's key in a folder's blocks of an earlier version: its audit's digest, if it is of this network."""
    model = (_earlier(folder) or {}).get("model")
    if not isinstance(model, Mapping) or network_key(model) != network_key(record["model"]):
        return ()
    return tuple(str(model[name]) for name in ("digest",) if model.get(name) not in (None, record["model"]["digest"]))


def prepare_blocks_folder(out: Path | str) -> None:
    """Create the folder of the blocks and try to write into it before the first attack, which may take an hour.

    Raises:
        InputError: it cannot be created or written.
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
        subject: of the audit.
        clean: the clean verdicts of all blocks.
        chosen: the requested attacks.

    Returns:
        The names of those with all blocks stored, which the new audit includes at no cost, and of the others.
    """
    earlier = _earlier(folder)
    names = [] if earlier is None else [*earlier.get("attacks", ())]
    stored: list[str] = []
    missing: list[str] = []
    for name in names:
        if name not in {CLEAN, ALL, *(attack.name for attack in chosen)}:
            (stored if _finished(name, folder, subject, clean) else missing).append(name)
    return stored, missing


def _finished(name: str, folder: Path, subject: Subject, clean: Mapping[int, CleanVerdict]) -> bool:
    try:
        attack = attack_named(name)
    except InputError:  # an attack of another version of the program
        return False
    return holds(blocks_of(folder), subject, attack, clean)


def _earlier(folder: Path) -> dict[str, Any] | None:
    """The content of `audit.json`; None if it cannot be read."""
    plain = _json(folder / AUDIT)
    return plain if isinstance(plain, dict) and plain.get("schema") in SCHEMAS else None


def _json(path: Path) -> Any:
    """The content of a JSON file; None if it cannot be read."""
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _identity(record: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of the subject of an audit, by the names in messages; None for values that are not recorded."""
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
    """A number in short form; of a digest the first 8 digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text[:8] if len(text) == 64 else text
