"""A run's folder: its config.yaml and environment.json, and the check that it is of one run only."""

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
"""What a run writes into its folder beside `config.yaml`."""

INTERVALS = ("recipe.log_every", "recipe.checkpoint_every")
"""How often a run writes; it makes no difference to the network."""

NAMES = ("data.name", "origin.path")
"""Names of the data and of the base; they are identified by a fingerprint and by `origin.sha256`."""


def describe(out: Path, config: dict[str, Any], environment: dict[str, Any], *, forks: bool = False) -> None:
    """Write `config.yaml` and `environment.json`, or check that the folder holds this run already.

    Args:
        out: the run's folder.
        config: the run's configuration.
        environment: the record of program and machine.
        forks: whether it begins from a fork, whose best.pt and log are there before the run's first checkpoint.

    Raises:
        InputError: the folder holds a run with another configuration, files that a run would overwrite, or the audit of
            a network that no run here made, or cannot be written.
    """
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    path = out / CONFIG
    if path.exists():
        try:
            found = read_yaml(path)
        except (OSError, InputError):
            found = None
        same = _same(found, yaml.safe_load(text))
        started = any((out / name).exists() for name in ("last.pt", "previous.pt"))
        if started and not same:
            raise InputError(
                f"{out} holds another run ({_difference(found, config)}); choose another folder with --out, "
                "or remove that one"
            )
        if started:
            return
        own = isinstance(found, dict) and config.keys() <= found.keys()
        before_first_checkpoint = same and (forks or _is_unfinished(out / LOG))
        names = [] if before_first_checkpoint else ["best.pt"] if own else [CONFIG, *FILES]
    else:
        names = list(FILES)
    for name in names:
        if os.path.lexists(out / name):
            raise InputError(
                f"{out} holds a {name} that no run here can continue from, and that is not overwritten; choose another "
                "folder with --out, or move it"
            )
    if (out / "audit.json").exists():
        raise InputError(
            f"{out} holds the audit of another network, which this run's would be taken for; choose another folder "
            "with --out"
        )
    write_atomically(path, text.encode())
    write_atomically(out / ENVIRONMENT, json.dumps(environment, indent=2).encode())


def _is_unfinished(log: Path) -> bool:
    """Whether a log is of a run that has not ended: its best.pt may have been written just before its first last.pt."""
    try:
        return '"event": "end"' not in log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _same(found: Any, config: dict[str, Any]) -> bool:
    """Whether two configurations give the same network: intervals and names make no difference, and a setting that an
    older version did not have counts as its default."""
    if not isinstance(found, dict):
        return False
    for part, unset in (("recipe", Recipe().plain()), ("architecture", {"offsets": False})):
        if isinstance(found.get(part), dict):
            found = {**found, part: {**unset, **found[part]}}
    own, other = ({k: v for k, v in _flat(c).items() if k not in (*INTERVALS, *NAMES)} for c in (config, found))
    return own == other


def _difference(found: Any, config: dict[str, Any]) -> str:
    if not isinstance(found, dict):
        return f"its {CONFIG} cannot be read"
    flat_found, flat_own = _flat(found), _flat(config)
    names = [name for name in flat_found | flat_own if str(flat_found.get(name)) != str(flat_own.get(name))]
    names = [name for name in names if name not in (*INTERVALS, *NAMES)]
    return ", ".join(f"{name} is {flat_found.get(name)} there and {flat_own.get(name)} here" for name in names[:3])


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
