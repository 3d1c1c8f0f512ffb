"""The facts of a record about files and pages: digests, keys and option names, read without the program's own code.

Every function returns facts, a mapping from a path such as `best.pt/weights` to a short text. Values that depend on
time, machine or wording are left out by name (`LEFT_OUT`).
"""

import csv
import hashlib
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

LEFT_OUT = ("seconds", "minutes", "commit", "worker", "note", "label", "title", "price", "command", "warning")
"""A key or column with one of these in its name is about time, place or wording: its value is no fact, but where it is
printed in the paper."""

Facts = dict[str, str]


def short(data: bytes) -> str:
    """The first half of a SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()[:32]


def comparable_name(name: str) -> bool:
    """Whether the value of a key or column can be compared."""
    return name.endswith("_paper") or not any(word in name.lower() for word in LEFT_OUT)


def array_digest(array: Any) -> str:
    """The digest of a tensor's or an array's type, shape and values."""
    if isinstance(array, torch.Tensor):
        tensor = array.detach().cpu().contiguous()
        values = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        return short(f"{tensor.dtype} {tuple(tensor.shape)}".encode() + values)
    found = np.ascontiguousarray(array)
    return short(f"{found.dtype.kind} {found.shape}".encode() + found.tobytes())


def weights_digest(tensors: Mapping[str, Any]) -> str:
    """The digest of named tensors: names, types, shapes and values."""
    return short("\n".join(f"{name} {array_digest(tensors[name])}" for name in sorted(tensors)).encode())


def comparable(value: Any) -> Any:
    """A JSON value without what is left out by name."""
    if isinstance(value, Mapping):
        return {str(key): comparable(value[key]) for key in sorted(value, key=str) if comparable_name(str(key))}
    return [comparable(each) for each in value] if isinstance(value, list) else value


def value_digest(value: Any) -> str:
    """The digest of a JSON value, without what is left out by name."""
    return short(json.dumps(comparable(value), sort_keys=True).encode())


def keys(value: Any) -> set[str]:
    """The paths of all keys within a value; the elements of a list share `[]`; a tensor adds its type."""
    if isinstance(value, Mapping):
        inner = {str(key): keys(each) for key, each in value.items()}
        return {f"{key}{'/' if rest else ''}{rest}" for key, rests in inner.items() for rest in (rests or {""})}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {f"[]{'/' if rest else ''}{rest}" for each in value for rest in (keys(each) or {""})}
    return {str(value.dtype)} if isinstance(value, torch.Tensor) else set()


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl`."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def checkpoint(file: Path) -> dict[str, Any]:
    """The content of a checkpoint."""
    found: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return found


def metrics_digests(rows: Iterable[Mapping[str, Any]]) -> Facts:
    """For each event and key the digest of its values over the run."""
    series: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        for key, value in row.items():
            if key != "event" and comparable_name(key):
                series[f"{row['event']}/{key}"].append(value)
    return {f"metrics.jsonl/{name}": value_digest(values) for name, values in series.items()}


def run_digests(folder: Path) -> Facts:
    """The facts of a run's folder: the weights of the best and of the last epoch, and the log."""
    facts = {}
    for name in ("best.pt", "last.pt"):
        if (folder / name).exists():
            found = checkpoint(folder / name)
            facts[f"{name}/weights"] = weights_digest(found["weights"])
            facts[f"{name}/epoch"] = str(found.get("epoch"))
            state = {key: each for key, each in found.get("training", {}).items() if key not in ("net", "optimizer")}
            facts[f"{name}/keys of the state"] = " ".join(sorted(keys(state)))
    if (folder / "metrics.jsonl").exists():
        facts |= metrics_digests(rows_of(folder / "metrics.jsonl"))
    return facts


def audit_digests(folder: Path) -> Facts:
    """The facts of an audit's folder: verdicts, and each attack's figures."""
    facts: Facts = {}
    with np.load(folder / "verdicts.npz", allow_pickle=False) as arrays:
        facts |= {f"verdicts.npz/{name}": array_digest(arrays[name]) for name in arrays.files}
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    facts["audit.json/threat"] = json.dumps(audit["threat"])
    for name, found in audit["attacks"].items():
        average, worst = found["average"]["value"], found["worst"]
        facts[f"audit.json/{name}/average (worst)"] = f"{average:.6f} ({worst['value']:.6f}, {worst['class']})"
        facts[f"audit.json/{name}/figures"] = value_digest(found)
    for name in ("probes", "groups"):
        if name in audit:
            facts[f"audit.json/{name}"] = value_digest(audit[name])
    return facts


def seconds_of(folder: Path) -> list[float]:
    """The seconds of each attack of an audit: the same again where an earlier audit was recognised."""
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return [found["seconds"] for name, found in sorted(audit["attacks"].items()) if name not in ("clean", "all")]


def file_keys(file: Path) -> Facts:
    """The keys of a JSON, JSON lines, YAML, checkpoint or NumPy file, one fact each."""
    import yaml

    found: set[str]
    if file.suffix == ".jsonl":
        found = {f"{row['event']}/{key}" for row in rows_of(file) for key in keys(row)}
    elif file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            found = {f"{name}/{arrays[name].dtype} of {arrays[name].ndim} dimensions" for name in arrays.files}
    elif file.suffix == ".pt":
        found = keys(checkpoint(file))
    else:
        text = file.read_text(encoding="utf-8")
        found = keys(yaml.safe_load(text) if file.suffix == ".yaml" else json.loads(text))
    return {f"{file.name}/{key}": "" for key in found}


def csv_facts(name: str, text: str) -> Facts:
    """The facts of a CSV file: its columns, and each row's comparable values."""
    rows = list(csv.DictReader(io.StringIO(text)))
    facts = {f"{name}/columns": " ".join(rows[0]) if rows else ""}
    for number, row in enumerate(rows):
        place = row.get("row") or row.get("method") or f"{number:03d}"
        facts[f"{name}/{place}"] = " ".join(f"{key}={value}" for key, value in row.items() if comparable_name(key))
    return facts


def help_facts(command: str, page: str) -> Facts:
    """The options and the number of arguments of a help page: names and defaults, no sentences.

    `page` is as wide as it takes for one line per option. Types are left out: a fixed choice and a text are printed
    in different ways and typed alike. The defaults of a recipe's settings are the recipes'.
    """
    facts, arguments = {}, 0
    for line in page.splitlines():
        if not line.startswith("│"):
            continue
        body = line.strip("│ ")
        required = body.startswith("*")
        head, _, rest = body.lstrip("* ").partition("  ")
        default = re.search(r"\[default: (.*)\]$", rest.strip())
        properties = ["required"] * required + ([f"default {default[1]}"] if default else [])
        if head.startswith("--"):
            names = [word for word in head.split() if word.startswith(("-", "("))]
            facts[f"{command}/{' '.join(names)}"] = ", ".join(properties)
        elif head.isupper():
            arguments += 1
            facts[f"{command}/argument {arguments}"] = ", ".join(properties)
    return facts


def listed(page: str) -> list[str]:
    """The first words of the lines of a list, in order: names such as `faal-at`."""
    return [found[0] for line in page.splitlines() if (found := re.match(r"[a-z0-9][\w.-]*", line))]


def recipe_facts(recipes: Mapping[str, Mapping[str, Any]]) -> Facts:
    """Every recipe's settings: `*/SETTING` is the commonest value, `NAME/SETTING` where a recipe has another.

    `method` is stated for each, so that no recipe is without a fact.
    """
    written = {name: {key: json.dumps(value) for key, value in recipe.items()} for name, recipe in recipes.items()}
    common: Facts = {}
    for setting in sorted({setting for recipe in written.values() for setting in recipe} - {"method"}):
        counts = Counter(recipe.get(setting, "absent") for recipe in written.values())
        common[setting] = min(counts, key=lambda value: (-counts[value], value))
    facts = {f"*/{setting}": value for setting, value in common.items()}
    for name, recipe in written.items():
        for setting in {*recipe, *common}:
            value = recipe.get(setting, "absent")
            if value != common.get(setting):
                facts[f"{name}/{setting}"] = value
    return facts


def decimals(page: str) -> Iterator[str]:
    """The decimal figures of a printed page, without the words between them."""
    return (found[0] for found in re.finditer(r"-?\d+\.\d+", page))


def cells(page: str) -> str:
    """The digest of the figures in an HTML page's table cells."""
    texts = re.findall(r"<td[^>]*>(.*?)</td>", page, flags=re.S)
    return short(" ".join(figure for text in texts for figure in decimals(re.sub(r"<[^>]*>", " ", text))).encode())
