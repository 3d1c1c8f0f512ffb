"""A run's folder: its config.yaml and environment.json, and the check that it belongs to one run."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from faal.bounds.plain import read_yaml
from faal.checkpoint import write_atomically
from faal.config import Recipe
from faal.errors import InputError
from faal.models.native import LOG

CONFIG, ENVIRONMENT = "config.yaml", "environment.json"

FILES = ("best.pt", "last.pt", "previous.pt", LOG, ENVIRONMENT)
"""The other files that a run writes into its folder."""


def epoch_file(epoch: int) -> str:
    """The name of the file that has the network of an epoch."""
    return f"epoch-{epoch}.pt"


INTERVALS = ("recipe.log_every", "recipe.checkpoint_every")
"""Intervals between writes; they do not affect the network."""

NAMES = ("data.name", "origin.path")
"""Names of the data and of the base; they are identified by a fingerprint and by `origin.sha256`."""


def describe(out: Path, config: dict[str, Any], environment: dict[str, Any], *, forks: bool = False) -> None:
    """Write `config.yaml` and `environment.json`, or check that the folder already contains this run.

    Args:
        out: the run's folder.
        config: the run's configuration.
        environment: the record of program and machine.
        forks: whether it starts from a fork, whose best.pt and log exist before the run's first checkpoint.

    Raises:
        InputError: the folder contains a run with another configuration, files that a run would overwrite, or the audit
            of another network, or cannot be written.
    """
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    path = out / CONFIG
    if path.exists():
        try:
            recorded = read_yaml(path)
        except (OSError, InputError):
            recorded = None
        same = _same(recorded, yaml.safe_load(text))
        started = any((out / name).exists() for name in ("last.pt", "previous.pt"))
        if started and not same:
            raise InputError(
                f"{out} contains another run ({_difference(recorded, config)}); choose another folder with --out, "
                "or remove that one"
            )
        if started:
            return
        expected = isinstance(recorded, dict) and config.keys() <= recorded.keys()
        before_first_checkpoint = same and (forks or _is_unfinished(out / LOG))
        names = [] if before_first_checkpoint else ["best.pt"] if expected else [CONFIG, *FILES]
    else:
        names = list(FILES)
    for name in names:
        if os.path.lexists(out / name):
            raise InputError(
                f"{out} contains a {name} from which this run cannot continue, and which is not overwritten; choose "
                "another folder with --out, or move it"
            )
    if (out / "audit.json").exists():
        raise InputError(
            f"{out} contains the audit of another network, which could be mistaken for that of this run; choose "
            "another folder with --out"
        )
    write_atomically(path, text.encode())
    write_atomically(out / ENVIRONMENT, json.dumps(environment, indent=2).encode())


def _is_unfinished(log: Path) -> bool:
    """Whether a log is of an unfinished run: its best.pt may have been written before its first last.pt."""
    try:
        return '"event": "end"' not in log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _same(recorded: Any, config: dict[str, Any]) -> bool:
    """Whether two configurations result in the same network: intervals and names are not compared, and a setting that
    an older version did not have is its default."""
    if not isinstance(recorded, dict):
        return False
    for part, defaults in (("recipe", Recipe().plain()), ("architecture", {"offsets": False})):
        if isinstance(recorded.get(part), dict):
            recorded = {**recorded, part: {**defaults, **recorded[part]}}
    expected, other = ({k: v for k, v in _flat(c).items() if k not in (*INTERVALS, *NAMES)} for c in (config, recorded))
    return expected == other


def _difference(recorded: Any, config: dict[str, Any]) -> str:
    if not isinstance(recorded, dict):
        return f"its {CONFIG} cannot be read"
    flat_found, flat_expected = _flat(recorded), _flat(config)
    names = [name for name in flat_found | flat_expected if str(flat_found.get(name)) != str(flat_expected.get(name))]
    names = [name for name in names if name not in (*INTERVALS, *NAMES)]
    return ", ".join(f"{name} is {flat_found.get(name)} there and {flat_expected.get(name)} here" for name in names[:3])


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
