"""A run's folder: what it says about itself, and the refusal to mix two runs in one."""

import json
from pathlib import Path
from typing import Any

import yaml

from faal.checkpoint import write_whole
from faal.config import Recipe
from faal.errors import InputError

CONFIG = "config.yaml"

WRITING = ("recipe.log_every", "recipe.checkpoint_every")

NAMES = ("data.name", "origin.path")
"""What the data and the network of a fine-tune are called; they are known by a fingerprint and by `origin.sha256`."""


def describe(out: Path, config: dict[str, Any], environment: dict[str, Any]) -> None:
    """Write `config.yaml` and `environment.json`, or check that the folder holds this very run already.

    Raises:
        InputError: the folder holds a run with another configuration, or the audit of a network that no run here made,
            or cannot be written.
    """
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    path = out / CONFIG
    if path.exists():
        try:
            kept = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            kept = None
        started = any((out / name).exists() for name in ("last.pt", "previous.pt"))
        if started and not _same(kept, yaml.safe_load(text)):
            raise InputError(
                f"{out} holds another run ({_difference(kept, config)}); choose another folder with --out, "
                "or remove that one"
            )
        if started:
            return
    if (out / "audit.json").exists():
        raise InputError(
            f"{out} holds the audit of another network, which this run's would be taken for; choose another folder "
            "with --out"
        )
    write_whole(path, text.encode())
    write_whole(out / "environment.json", json.dumps(environment, indent=2).encode())


def _same(kept: Any, config: dict[str, Any]) -> bool:
    """Whether two configurations make the same network: how often a run writes and what things are called make no
    difference, and settings that an older version did not have count as unset."""
    if not isinstance(kept, dict):
        return False
    for part, unset in (("recipe", Recipe().plain()), ("architecture", {"offsets": False})):
        if isinstance(kept.get(part), dict):
            kept = {**kept, part: {**unset, **kept[part]}}
    ours, theirs = ({k: v for k, v in _flat(c).items() if k not in (*WRITING, *NAMES)} for c in (config, kept))
    return ours == theirs


def _difference(kept: Any, config: dict[str, Any]) -> str:
    if not isinstance(kept, dict):
        return f"its {CONFIG} does not read"
    flat_kept, flat_new = _flat(kept), _flat(config)
    names = [name for name in flat_kept | flat_new if str(flat_kept.get(name)) != str(flat_new.get(name))]
    names = [name for name in names if name not in (*WRITING, *NAMES)]
    return ", ".join(f"{name} is {flat_kept.get(name)} there and {flat_new.get(name)} here" for name in names[:3])


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
