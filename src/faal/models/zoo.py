"""The zoo: networks that are shipped with the program; `zoo:NAME` is a checkpoint to `faal audit` and `faal repair`.

Each is two files: the weights, `NAME.safetensors`, and a card, `NAME.json`, that describes them:

    schema        "faal-zoo/1"
    name          NAME
    architecture  the fields of `models.Architecture`
    classes       the names of the classes
    data          its training and audit data: name, fingerprint of the training part, source and licence
    method, seed  of its training; `recipe` has every setting, `origin` the base of a fine-tune
    threat        of its training: norm, epsilon
    withheld      the parts of the training data that it was not trained on (`models.provenance`)
    audit         the accuracies of its audit, with their n and intervals
    sha256        of the weights
    precision     the type in which matrices and filters are stored; vectors and BatchNorm's statistics are float32
    narrowing     the number of clean predictions that this changed, and of all
    licence       of the weights
    commit        of the code that trained, audited and published it

The weights are read as float32. Nothing in either file can run code.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from faal.bounds.plain import parse_json
from faal.checkpoint import digest
from faal.errors import MISFIT, InputError, unknown
from faal.models.number_types import FLOATS
from faal.reading import read_tensors
from faal.recorded import check_estimates

FOLDER = Path(__file__).parents[1] / "zoo"
"""In a checkout a link to the folder of that name at its root; an installed package contains the files."""

PREFIX = "zoo:"
SCHEMA = "faal-zoo/1"

ANY = "*"
NUMBER = int | float
ESTIMATE = {"value": NUMBER, "low": NUMBER, "high": NUMBER}
ACCURACIES = {"average": ESTIMATE, "worst": ESTIMATE | {"class": str}}
THREAT = {"norm": str, "epsilon": NUMBER}
REQUIRED: dict[str, Any] = {
    "name": str,
    "architecture": {"model": str},
    "classes": list,
    "data": {"name": str, "source": str},
    "method": str,
    "seed": int | None,
    "recipe": {},
    "threat": THREAT,
    "audit": {
        "n": int,
        "split": str | None,
        "threat": THREAT,
        "engine": str,
        "level": NUMBER,
        "attacks": {"clean": ACCURACIES, "all": ACCURACIES, ANY: ACCURACIES},
    },
    "sha256": str,
    "licence": str,
}
"""The entries of every card: the type of each, or its own entries; `ANY` applies to all entries present."""

OPTIONAL: dict[str, Any] = {
    "origin": {"path": str, "sha256": str},
    "narrowing": {"samples": int, "changed": int},
    "commit": {},
    "withheld": list,
    "image_size": list,
}
"""Entries that a card may lack."""


def zoo_name(path: Path | str) -> str | None:
    """NAME where a checkpoint is given as `zoo:NAME`; None for any other path."""
    text = str(path)
    return text.removeprefix(PREFIX) if text.startswith(PREFIX) else None


def zoo_names(folder: Path | None = None) -> list[str]:
    """The networks of the zoo, sorted."""
    return sorted(card.stem for card in (folder or FOLDER).glob("*.json"))


def weights_file(name: str, folder: Path | None = None) -> Path:
    """The file of a network's weights."""
    return (folder or FOLDER) / f"{name}.safetensors"


def card_file(name: str, folder: Path | None = None) -> Path:
    """The file of its card."""
    return (folder or FOLDER) / f"{name}.json"


def read_card(name: str, folder: Path | None = None) -> dict[str, Any]:
    """The card of a network.

    Args:
        name: the part after `zoo:`.
        folder: where cards are stored; the zoo of the program if None.

    Raises:
        InputError: there is no such network (names the nearest), or its card is damaged.
    """
    known = zoo_names(folder)
    if name not in known:
        raise unknown("network of the zoo", name, known, see="`faal zoo`")
    path = card_file(name, folder)
    try:
        card = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the card {path} is truncated or damaged ({error}); install the program again") from None
    schema = card.get("schema") if isinstance(card, dict) else None
    if schema != SCHEMA:
        raise InputError(f"the card {path} has the schema {schema!r}, not {SCHEMA!r}; install the program again")
    optional = {entry: types for entry, types in OPTIONAL.items() if card.get(entry) is not None}
    invalid = list(_invalid_entries(card, REQUIRED | optional))
    if invalid or card["name"] != name:
        wrong = (
            f"lacks {', '.join(invalid[:3])}, or has an entry of another type there"
            if invalid
            else "is another network's, or was changed"
        )
        raise InputError(f"the card {path} {wrong}; install the program again")
    try:
        for recorded in card["audit"]["attacks"].values():
            if "classes" in recorded:
                check_estimates(recorded)
    except MISFIT as error:
        raise InputError(f"the card {path} was changed or damaged ({error}); install the program again") from None
    found: dict[str, Any] = card
    return found


def _invalid_entries(found: object, required: Any, where: str = "") -> Iterator[str]:
    """The entries that are missing or of another type, by their dotted names."""
    if not isinstance(required, Mapping):
        if not isinstance(found, required):
            yield where
        return
    if not isinstance(found, Mapping):
        yield where
        return
    every = dict.fromkeys(found, required[ANY]) if ANY in required else {}
    for name, types in {**every, **required}.items():
        path = f"{where}.{name}" if where else str(name)
        if name in found:
            yield from _invalid_entries(found[name], types, path)
        elif name != ANY:
            yield path


def read_zoo(name: str, folder: Path | None = None) -> tuple[dict[str, Any], str]:
    """A network of the zoo: its card, with `weights` as in a checkpoint, and the SHA-256 of their file.

    Args:
        name: the part after `zoo:`.
        folder: where it is stored; the zoo of the program if None.

    Raises:
        InputError: there is no such network, its weights are missing, or they are not those that the card describes.
    """
    card, path = read_card(name, folder), weights_file(name, folder)
    if not path.is_file():
        raise InputError(f"the weights of {PREFIX}{name} are missing ({path}); install the program again")
    found = digest(path)
    if found != card["sha256"]:
        raise InputError(
            f"{path} is not the file that its card describes (SHA-256 {found[:12]}, not {str(card['sha256'])[:12]}): "
            "it was changed or truncated; install the program again"
        )
    return {**card, "weights": upcast(read_tensors(path))}, found


def upcast(content: object) -> dict[str, Tensor]:
    """Weights with every floating-point tensor in float32."""
    assert isinstance(content, Mapping)  # a safetensors file is one
    return {name: tensor.float() if tensor.dtype in FLOATS else tensor for name, tensor in content.items()}
