"""repair.json: what a repair evaluated and chose, from which a repair that was stopped continues."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faal.bounds.plain import parse_json
from faal.checkpoint import write_atomically
from faal.engine import processes
from faal.errors import InputError
from faal.repair.candidates import RepairCandidate
from faal.repair.choice import Selected
from faal.repair.settings import RepairSettings
from faal.repair.verdicts import HeldOutVerdicts
from faal.train.record import RunRecord

SCHEMA, FILE = "faal-repair/1", "repair.json"

UNCOMPARED = ("log_every", "checkpoint_every")
"""Settings of a recipe that make no difference to the result."""


def identity(record: RunRecord, settings: RepairSettings) -> dict[str, Any]:
    """What a repair in the same folder must have in common with this one."""
    config = record.config("")
    recipe = {name: value for name, value in config["recipe"].items() if name not in UNCOMPARED}
    data = {name: value for name, value in config["data"].items() if name != "name"}
    base = (record.origin or {}).get("sha256")
    plain: dict[str, Any] = json.loads(json.dumps(
        {"recipe": recipe, "data": data, "seed": record.seed, "base": base, "settings": asdict(settings)}
    ))  # fmt: skip
    return plain


class RepairRecord:
    """The content of repair.json, on every process; the main one writes it.

    Args:
        out: the repair's folder.
        identity: what the file must agree with.
        groups: (N,) the class, or group, of each image that is evaluated.
        names: the classes' or groups' names.

    Raises:
        InputError: the folder holds another repair.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], groups: NDArray[np.int64], names: Sequence[str]) -> None:
        self.path, self.groups, self.names = out / FILE, groups, names
        self.content: dict[str, Any] = {"schema": SCHEMA, **identity, "images": len(groups), "candidates": []}
        found = processes.gather_objects(_read(self.path) if processes.is_main() else None)[0]
        self.new = found is None
        if found is None:
            return
        differing = [name for name, value in identity.items() if found.get(name) != value]
        if differing:
            raise InputError(
                f"{out} contains another repair, with other {' and '.join(differing)}; choose another folder with --out"
            )
        self.content = found

    @property
    def choice(self) -> Selected | None:
        """What was chosen; None before the end."""
        chosen = self.content.get("chosen")
        return None if chosen is None else Selected(chosen["name"], chosen["reason"])

    @property
    def notes(self) -> list[str]:
        """The caveats of the fine-tune."""
        return list(self.content.get("notes", ()))

    @property
    def tuned(self) -> dict[str, Any] | None:
        """The settings that trials chose; None before these."""
        return self.content.get("tuned")

    def second(self, groups: NDArray[np.int64]) -> tuple[HeldOutVerdicts, HeldOutVerdicts] | None:
        """The verdicts of base and chosen network on a second part, of images of these classes."""
        found = self.content.get("second")
        if found is None:
            return None
        before, after = (HeldOutVerdicts.unpacked(text, groups, self.names) for text in found)
        return before, after

    def end(
        self, choice: Selected, notes: Sequence[str], second: tuple[HeldOutVerdicts, HeldOutVerdicts] | None
    ) -> None:
        """Add the end of the repair."""
        packed = None if second is None else [each.packed() for each in second]
        self.update(chosen=asdict(choice), notes=list(notes), second=packed)

    def update(self, **entries: Any) -> None:
        """Add entries, and write the file."""
        self.content |= entries
        if processes.is_main():
            text = json.dumps(self.content, indent=1, ensure_ascii=False, allow_nan=False)
            write_atomically(self.path, (text + "\n").encode())

    def remove(self) -> None:
        """Remove the file: nothing was trained, and the folder is free for another repair."""
        if processes.is_main():
            self.path.unlink(missing_ok=True)

    def add(self, candidate: RepairCandidate, verdicts: HeldOutVerdicts) -> None:
        """Add an evaluated candidate."""
        entry = {
            "name": candidate.name,
            **candidate.to_json(),
            **verdicts.accuracies.to_json(),
            "verdicts": verdicts.packed(),
        }
        self.update(candidates=[*self.content["candidates"], entry])

    @property
    def evaluated(self) -> dict[str, tuple[RepairCandidate, HeldOutVerdicts]]:
        """The candidates so far, by name, in the order of their evaluation.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return {
                entry["name"]: (
                    RepairCandidate.from_json(entry),
                    HeldOutVerdicts.unpacked(entry["verdicts"], self.groups, self.names),
                )
                for entry in self.content["candidates"]
            }
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.path} is damaged ({error}); remove it, and the repair evaluates again") from None


def _read(path: Path) -> dict[str, Any] | None:
    """The file's content; None where there is none that can be read."""
    try:
        plain = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, InputError):
        return None
    return plain if isinstance(plain, dict) and plain.get("schema") == SCHEMA else None
