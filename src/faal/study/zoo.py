"""Publish a run in the zoo: its weights in a 16-bit type, and a card made from the run's files."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from faal import checkpoint
from faal.audit import AuditResult
from faal.audit.judge import judge_clean
from faal.audit.passes import fingerprint as audited_fingerprint
from faal.bounds.plain import read_yaml
from faal.config import Threat
from faal.data import DataSet, Split, fingerprint
from faal.engine.determinism import strict_float32
from faal.engine.environment import environment
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError, refuse_unwritable, unknown
from faal.inner.modes import attacked
from faal.models import Architecture, zoo
from faal.models.native import architecture_and_threat, build_with_weights, checked_entries, replace_model
from faal.models.own import is_foreign
from faal.models.provenance import withheld_of

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}
"""The data types of matrices and filters. Vectors remain float32: small, and variances may exceed float16."""

MAX_CHANGED = 0.002
"""The fraction of clean predictions that may change in 16 bits."""

MAX_BYTES = 60_000_000
"""Limit for all weights of the zoo together, which are part of every installation."""

SOURCES = {
    **{
        name: f"{title} (A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009); no licence stated"
        for name, title in {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}.items()
    },
    "digits": "Optical Recognition of Handwritten Digits (E. Alpaydin and C. Kaynak, UCI Machine Learning Repository), "
    "as in scikit-learn; CC BY 4.0",
    "fashion-mnist": "Fashion-MNIST (H. Xiao, K. Rasul and R. Vollgraf, Zalando, 2017); MIT",
    "mnist": "MNIST (Y. LeCun, C. Cortes and C. Burges); CC BY-SA 3.0",
    "kmnist": "Kuzushiji-MNIST (T. Clanuwat and others, CODH, 2018); CC BY-SA 4.0",
}
"""Data set -> its source and licence."""

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files of a published network, and the effect of 16-bit weights on its predictions."""

    card: Path
    weights: Path
    size: int
    """Size of the weights in bytes."""
    samples: int
    changed: int
    """Number of samples whose clean prediction differs from that of the audit."""
    notes: list[str]
    """Remarks on the checkpoint, in sentences."""


def publish(
    run: Path,
    name: str,
    data: DataSet,
    *,
    audit: Path | None = None,
    precision: str = "float16",
    source: str | None = None,
    licence: str = "Apache-2.0",
    folder: Path | None = None,
    model: str | None = None,
    device: torch.device,
) -> Published:
    """Write `NAME.safetensors` and `NAME.json` from a run's folder.

    Args:
        run: the run's folder (its best.pt), or a checkpoint of this program.
        name: the name of the network in the zoo.
        data: the data of the audit: the 16-bit weights are evaluated on the audit's clean images again. Its name, its
            labels and the SHA-256 of all audited images are compared with those of the audit, and the fingerprint of
            its training part with the checkpoint's. A name, a fingerprint or a training part that one of them lacks is
            not compared.
        audit: the folder of its audit; the run's own if None.
        precision: `float16` or `bfloat16`.
        source: source and licence of the data; known for digits, CIFAR, MNIST and similar sets.
        licence: the licence of the weights.
        folder: the zoo; the program's own if None.
        model: the network, where it is not the one that the checkpoint records; one of this program's.
        device: the device of the predictions.

    Raises:
        InputError: the checkpoint is damaged or of another version; there is no audit, or it is of another checkpoint
            or other data; the weights exceed the range of the type, or change too many predictions in it; the zoo has
            another network of this name, or would become too large.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"the name of a network in the zoo has letters, digits and dashes, such as prn18-faal, not {name!r}"
        )
    if precision not in DTYPES:
        raise unknown("precision", precision, DTYPES, see="the help of --precision")
    if source is None and data.name not in SOURCES:
        raise InputError(f"name the source and the licence of {data.name} with --source")
    file = run / "best.pt" if run.is_dir() else run
    state, sha256 = checkpoint.load(file), checkpoint.digest(file)
    architecture, threat = architecture_and_threat(state, file)
    if is_foreign(network := model or architecture.model):
        raise InputError(
            f"{file} needs code of another package ({network}); the zoo accepts no such network: if its weights are "
            "those of a network of this program, name that one with --model"
        )
    architecture, notes = replace_model(architecture, model, file)
    with checked_entries(file):
        trained = _trained(state, architecture, threat, file.parent)
        trained_on, withheld = state.get("held_out", {}).get("data"), withheld_of(state)
    result = AuditResult.read(audit or file.parent)
    if result.model.get("sha256") != sha256:
        raise InputError(
            f"the audit in {audit or file.parent} is of another checkpoint than {file}; audit this one first"
        )
    zoo_folder = folder or zoo.FOLDER
    _check_name(name, zoo_folder, sha256)
    refuse_unwritable(zoo_folder, "choose another folder")
    split = _audited(data, trained_on, result)
    net = build_with_weights(state, architecture, file, model=model)
    downcast_weights = downcast(net.state_dict(), DTYPES[precision])
    content = save(downcast_weights, metadata={"format": "pt"})
    _check_size(name, zoo_folder, content)
    net.load_state_dict(zoo.upcast(downcast_weights))
    predicted = _clean_predictions(net, split, data.name, result, device)
    changed, samples = int((predicted != result.verdicts.predicted["clean"]).sum()), len(predicted)
    if changed > MAX_CHANGED * samples:
        raise InputError(
            f"in {precision} the predictions of {name} change on {changed} of {samples} clean images, more than "
            f"{MAX_CHANGED:.1%}; try the other type with --precision"
        )
    weights, card_path = zoo.weights_file(name, zoo_folder), zoo.card_file(name, zoo_folder)
    card = {
        "schema": zoo.SCHEMA,
        "name": name,
        **trained,
        "data": {
            "name": data.name,
            "fingerprint": trained_on,
            "source": source or SOURCES[data.name],
        },
        "withheld": withheld,
        "audit": audit_entries(result),
        "sha256": hashlib.sha256(content).hexdigest(),
        "precision": precision,
        "narrowing": {"samples": samples, "changed": changed},
        "checkpoint": {"sha256": sha256},
        "licence": licence,
        "commit": {
            "trained": _read_mapping(file.parent / "environment.json").get("commit"),
            "audited": result.environment.get("commit"),
            "published": environment(device)["commit"],
        },
    }
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with folder_lock(zoo_folder):
        _check_name(name, zoo_folder, sha256)  # another process may have published meanwhile
        _check_size(name, zoo_folder, content)
        checkpoint.write_atomically(weights, content)
        checkpoint.write_atomically(card_path, text.encode())
    return Published(card=card_path, weights=weights, size=len(content), samples=samples, changed=changed, notes=notes)


def _trained(state: Mapping[str, Any], architecture: Architecture, threat: Threat, run: Path) -> dict[str, Any]:
    """A card's entries on the training; a missing or invalid entry raises an error for `checked_entries`."""
    recipe, classes = state["recipe"], list(state["classes"])
    if len(classes) != architecture.num_classes:
        raise ValueError(f"it names {len(classes)} classes, its network has {architecture.num_classes}")
    return {
        "architecture": asdict(architecture),
        "classes": classes,
        "image_size": state.get("image_size"),
        "method": recipe["method"],
        "seed": state.get("seed"),
        "epoch": state.get("epoch"),
        "recipe": recipe,
        "origin": state.get("origin") or _read_mapping(run / "config.yaml").get("origin"),
        "threat": asdict(threat),
    }


def downcast(weights: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The state dict with matrices and filters in a 16-bit type; vectors and counters unchanged.

    Raises:
        InputError: a weight is not finite, or becomes infinite.
    """
    downcast_weights = {
        name: (tensor.to(dtype) if tensor.is_floating_point() and tensor.dim() > 1 else tensor).contiguous()
        for name, tensor in weights.items()
    }
    for name, tensor in downcast_weights.items():
        if not tensor.isfinite().all():
            what = (
                "exceeds the range of " + str(dtype).removeprefix("torch.")
                if weights[name].isfinite().all()
                else "is not finite"
            )
            raise InputError(f"the weight {name} {what}; try the other type with --precision, or train again")
    return downcast_weights


def audit_entries(result: AuditResult) -> dict[str, Any]:
    """A card's entries on an audit: accuracies and intervals under every attack, n, and the audit's settings."""
    plain = result.to_json()
    settings = {name: plain[name] for name in ("seed", "engine", "block_size", "level", "interval_method", "warnings")}
    omitted = ("confusion", "seconds")
    return {
        "n": result.data["n"],
        "split": result.data["split"],
        "threat": result.threat,
        **settings,
        "attacks": {
            attack: {key: value for key, value in found.items() if key not in omitted}
            for attack, found in plain["attacks"].items()
        },
    }


def _audited(data: DataSet, trained_on: str | None, result: AuditResult) -> Split:
    """The audited samples, by the audit's indices. Raises InputError where name, labels or training part differ."""
    name, index = result.data.get("name"), torch.from_numpy(result.verdicts.index)
    if name not in (None, data.name):
        raise InputError(f"the audit is of {name}, not of {data.name}; name its data")
    if data.train is not None and trained_on not in (None, fingerprint(data.train)):
        raise InputError(
            f"the training images of {data.name} are not those that the network was trained on; name its data"
        )
    if data.test is None or data.test.n <= int(index.max()):
        raise InputError(f"{data.name} does not have the {result.data['n']} test images of the audit; name its data")
    split = data.test.take(index)
    if not np.array_equal(split.labels.numpy(), result.verdicts.label):
        raise InputError(
            f"the test images of {data.name} are not those of the audit: their labels differ; name its data"
        )
    return split


def _clean_predictions(
    net: torch.nn.Module, split: Split, name: str, result: AuditResult, device: torch.device
) -> NDArray[np.int16]:
    """(N,) the predictions of a network in float32, as in an audit. Raises InputError if the audit had other images."""
    net = net.to(device)
    with attacked(net), strict_float32(device):
        clean = {
            block: judge_clean(net, split.images.fetch(indices).to(device), indices, None)
            for block, indices in enumerate(torch.arange(split.n).split(result.block_size))
        }
    if result.data.get("fingerprint") not in (None, audited_fingerprint(split.labels, clean)):
        raise InputError(
            f"the test images of {name} are not those of the audit, although their labels are; name its data"
        )
    return np.concatenate([verdict.predicted for verdict in clean.values()])


def _check_name(name: str, zoo_folder: Path, sha256: str) -> None:
    """Raise InputError unless the name is unused, or used for this checkpoint."""
    if name not in zoo.zoo_names(zoo_folder):
        checkpoint.refuse_existing(zoo.weights_file(name, zoo_folder))
    elif zoo.read_card(name, zoo_folder).get("checkpoint", {}).get("sha256") != sha256:
        raise InputError(f"the zoo has another network named {name}; choose another name, or remove its two files")


def _check_size(name: str, zoo_folder: Path, content: bytes) -> None:
    """Raise InputError where the zoo would become too large."""
    others = sum(file.stat().st_size for file in zoo_folder.glob("*.safetensors") if file.stem != name)
    if (total := len(content) + others) > MAX_BYTES:
        raise InputError(f"with {name} the zoo would have {total:,} bytes of weights, above the limit of {MAX_BYTES:,}")


def _read_mapping(path: Path) -> dict[str, Any]:
    """The content of a YAML or JSON file of the run's folder; empty where it is missing or cannot be read."""
    try:
        content = read_yaml(path)
    except (OSError, InputError):
        return {}
    return content if isinstance(content, dict) else {}
