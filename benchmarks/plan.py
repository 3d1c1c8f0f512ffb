"""`runs.yaml` as items: each a command of `faal`, what it needs, what it makes, and its price in operations."""

import fnmatch
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from faal.config import Recipe, load_recipe
from faal.errors import InputError, unknown
from faal.models import Architecture
from faal.models.zoo import read_card, zoo_names
from faal.study.cost import audit_forwards, forward_operations, frontier_forwards, training_forwards
from faal.study.reproduce.scales import attacks_of, recipe_of, scale_named
from faal.study.reproduce.tables import find

WHERE = "benchmarks/runs.yaml"
OUT = "OUT/"
OFTEN = ("--checkpoint-every", "60")
"""Seconds between checkpoints, so that a short call gets further too; the recipes' own are for calls of hours."""

UNTOLD = ("checkpoint_every", "log_every")
"""Settings that leave a network what it is."""

shipped = lru_cache(load_recipe)
"""A recipe by its name: many items have the same."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What an item trains, for the prices of what is made from it."""

    name: str
    data: str
    architecture: Architecture
    place: str
    """The checkpoint: its folder in OUT, or `zoo:NAME` where an earlier call has published it."""
    published: bool = False


@dataclass(frozen=True, kw_only=True)
class Item:
    """One command."""

    name: str
    command: tuple[str, ...]
    """Behind `faal`; a word DATA stands for what is behind `--data`, and OUT/ before a word for the folder."""
    data: str
    makes: str
    """A file in OUT that is there when it is done."""
    needs: tuple[str, ...]
    """Items that come before it."""
    net: str
    """Its network as `benchmarks/step.py` calls it, MODEL or MODEL:WIDTH."""
    operations: float

    def words(self, data: str, out: str) -> list[str]:
        """The command on this data, into this folder."""
        return [
            data if word == "DATA" else f"{out}/{word[len(OUT) :]}" if word.startswith(OUT) else word
            for word in self.command
        ]

    @property
    def told(self) -> str:
        """The command for the record: the same on every machine."""
        return " ".join(["faal", *self.words(f"{self.data}:DIR", "OUT")])


class Plan:
    """`runs.yaml` at one scale."""

    def __init__(self, content: Mapping[str, Any], scale: str) -> None:
        if scale not in content["scales"]:
            raise unknown("scale", scale, content["scales"], see=WHERE)
        self.content, self.scale, self.changes = content, scale, content["scales"][scale]
        self.networks: dict[str, Network] = {}
        self.items: dict[str, Item] = {}
        for entry in (each for written in content["items"] for each in _spread(written)):
            for item in self._made(entry):
                if self._left_out(item.name):
                    continue
                if self.items.setdefault(item.name, item) != item:
                    raise InputError(f"{WHERE} has two items {item.name} that differ; rename one")

    def _left_out(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, left) for left in self.changes.get("without", ()))

    def _made(self, entry: Mapping[str, Any]) -> Iterator[Item]:
        if "audit" in entry:
            patterns = entry["audit"]
            for pattern in patterns:
                if not fnmatch.filter(self.networks, pattern):
                    raise unknown("network of the plan", pattern, self.networks, see=WHERE)
            for name in self.networks:
                if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                    yield self._audit(self.networks[name], entry)
        elif "run" in entry:
            if not self._left_out(entry["run"]):  # `faal reproduce` has no toys
                yield self._other(entry)
        else:
            for seed in entry["seeds"]:
                item = self._training(entry, seed)
                if not self.networks[item.name].published:
                    yield item

    def _training(self, entry: Mapping[str, Any], seed: int) -> Item:
        """The training of a network, or a repair."""
        kind = "train" if "train" in entry else "repair"
        name = f"{entry[kind]}-{seed}"
        settings = entry.get("settings", {}) | self.changes.get(kind, {})
        recipe = shipped(entry["recipe"]).replace(settings, source=name)
        data = entry["recipe"].partition("-")[0]
        size = self.content["data"][data]
        if kind == "train":
            architecture = Architecture(
                model=recipe.model, num_classes=size["classes"], width=recipe.width, depth=recipe.depth
            )
            needs: tuple[str, ...] = ()
            first = ["train", entry["recipe"]]
        else:
            of = entry["of"]
            if of not in self.networks:
                raise unknown("network of the plan", of, self.networks, see=WHERE)
            base = self.networks[of]
            architecture, needs = base.architecture, _needs(base)
            first = ["repair", base.place, entry["recipe"]]
        published = _in_zoo(entry.get("zoo"), recipe, seed)
        self.networks[name] = Network(
            name=name, data=data, architecture=architecture, place=published or f"OUT/{name}", published=bool(published)
        )
        common = ["--data", "DATA", "--out", f"OUT/{name}", "--seed", str(seed)]
        forwards = training_forwards(recipe, size["train"], size["classes"])
        if "--frontier" in entry.get("options", ()):
            forwards += frontier_forwards(recipe, size["train"])
        return Item(
            name=name,
            command=(*first, *common, *OFTEN, *_options(settings), *entry.get("options", ())),
            data=data,
            makes=f"{name}/best.pt",
            needs=needs,
            net=_net(architecture),
            operations=forwards * forward_operations(architecture, size["size"]),
        )

    def _audit(self, network: Network, entry: Mapping[str, Any]) -> Item:
        label, size = entry.get("attacks", "usual"), self.content["data"][network.data]
        attacks = (self.content["attacks"] | self.changes.get("attacks", {}))[label]
        options, where = [*self.changes.get("audit", ())], network.name
        if limit := entry.get("limit"):
            options, where, label = [*options, "--limit", str(limit)], f"{where}/first-{limit}", f"{label}-{limit}"
        limits = [int(value) for word, value in itertools.pairwise(options) if word == "--limit"]
        forwards = audit_forwards(attacks, min([size["test"], *limits]), size["classes"])
        subject = ["audit", network.place, "--data", "DATA", "--attacks", attacks, "--out", f"OUT/{where}"]
        return Item(
            name=f"{network.name}.{label}",
            command=(*subject, *options),
            data=network.data,
            makes=f"{where}/audit.json",
            needs=_needs(network),
            net=_net(network.architecture),
            operations=forwards * forward_operations(network.architecture, size["size"]),
        )

    def _other(self, entry: Mapping[str, Any]) -> Item:
        size = self.content["data"][entry["data"]]
        if "reproduces" in entry:
            architecture, forwards = _reproduced(entry["reproduces"], self.scale, size)
        else:
            width = self.changes.get("train", {}).get("width")
            architecture = Architecture(model=entry["model"], num_classes=size["classes"], width=width)
            forwards = entry["forwards"]
        return Item(
            name=entry["run"],
            command=tuple(word.replace("SCALE", self.scale) for word in entry["command"]),
            data=entry["data"],
            makes=entry["makes"],
            needs=(),
            net=_net(architecture),
            operations=forwards * forward_operations(architecture, size["size"]),
        )

    def wanted(self, patterns: Iterable[str]) -> list[Item]:
        """The items of these names, and those that they need, in the plan's order; all where no name is given."""
        names: set[str] = set()
        for pattern in list(patterns) or ["*"]:
            if not (found := fnmatch.filter(self.items, pattern)):
                raise unknown("item", pattern, self.items, see="--list")
            names |= set(found)
        while more := {need for name in names for need in self.items[name].needs} - names:
            names |= more
        return [item for name, item in self.items.items() if name in names]


def _reproduced(what: str, scale_name: str, size: Mapping[str, int]) -> tuple[Architecture, float]:
    """The network of a table or figure of `faal reproduce`, and the forwards of all its rows, one seed each."""
    (table, rows), scale = find(what), scale_named(scale_name)
    recipes = [recipe_of(table, row, scale, "honest") for row in rows]
    architecture = Architecture(model=recipes[0].model, num_classes=size["classes"], width=recipes[0].width)
    judged = audit_forwards(attacks_of(table, scale), min(size["test"], scale.limit or size["test"]), size["classes"])
    trained = sum(training_forwards(recipe, size["train"], size["classes"]) for recipe in recipes)
    return architecture, trained + len(rows) * judged


def _needs(network: Network) -> tuple[str, ...]:
    """The item that trains a network, where it is still to be trained."""
    return () if network.published else (network.name,)


def _in_zoo(name: str | None, recipe: Recipe, seed: int) -> str | None:
    """`zoo:NAME` where the zoo has a network that was trained by this very recipe from this seed."""
    if name not in zoo_names():
        return None
    card, wanted = read_card(str(name)), recipe.plain()
    made = {key: value for key, value in card["recipe"].items() if key not in UNTOLD}
    same = made == {key: wanted.get(key) for key in made} and card["seed"] == seed
    return f"zoo:{name}" if same else None


def _spread(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An entry once, or once for every word of its `each`."""
    rest = {key: value for key, value in entry.items() if key != "each"}
    return [_with(rest, str(word)) for word in entry["each"]] if "each" in entry else [rest]


def _with(value: Any, word: str) -> Any:
    if isinstance(value, str):
        return value.replace("EACH", word)
    if isinstance(value, Mapping):
        return {key: _with(each, word) for key, each in value.items()}
    return [_with(each, word) for each in value] if isinstance(value, list) else value


def _options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of the command line."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _net(architecture: Architecture) -> str:
    return architecture.model + (f":{architecture.width}" if architecture.width else "")
