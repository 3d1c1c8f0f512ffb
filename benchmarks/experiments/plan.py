"""Read a plan in YAML as items: each a `faal` command, what it needs, the file it writes, its cost in operations."""

import fnmatch
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.speed.cost import (
    audit_forwards,
    evaluation_forwards,
    forward_operations,
    frontier_forwards,
    training_forwards,
)

from faal.config import Recipe, load_recipe
from faal.data.splits import SHARE
from faal.errors import InputError, unknown
from faal.models import Architecture
from faal.models.zoo import read_card, zoo_names
from faal.study.reproduce.scales import attacks_of, recipe_of, scale_named
from faal.study.reproduce.tables import find
from faal.train.selection import selection_request

WHERE = "benchmarks/experiments/runs.yaml"
OUT = "OUT/"
OFTEN = ("--checkpoint-every", "60")
"""Seconds between checkpoints, so that a short call makes progress too; the recipes' own suit calls of hours."""

SEARCH = (10, "cw10")
"""Evaluations of the withheld images in a search for offsets, and their attack, for its cost."""

INCIDENTAL = ("checkpoint_every", "log_every")
"""Settings that do not change the trained network."""

shipped = lru_cache(load_recipe)
"""A recipe by its name; cached, since many items share one."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network that an item trains, for the commands and costs of items that use it."""

    name: str
    data: str
    architecture: Architecture
    place: str
    """The checkpoint: its folder or file in OUT, or `zoo:NAME` where an earlier call has published it."""
    forward: float
    """Operations of one forward of one image."""
    published: bool = False
    options: tuple[str, ...] = ()
    """Options of every command on it: the `module:function` of an external network."""
    repaired: tuple[str, ...] = ()
    """Further options of a repair of it."""
    audited: tuple[str, ...] = ()
    """Further options of an audit of it."""


@dataclass(frozen=True, kw_only=True)
class PlanItem:
    """One command."""

    name: str
    command: tuple[str, ...]
    """The words behind `faal`; DATA is replaced by the value of `--data`, and OUT/ before a word by the folder."""
    data: str
    makes: str
    """The file in OUT that the command writes last."""
    needs: tuple[str, ...]
    """Items that have to be finished before it."""
    net: str
    """Its network as `benchmarks/speed/step.py` names it, MODEL or MODEL:WIDTH."""
    operations: float
    stage: str = ""
    """The part of the plan that it belongs to, where the plan has parts."""

    def words(self, data: str, out: str) -> list[str]:
        """The command on this data, into this folder."""
        return [
            data if word == "DATA" else f"{out}/{word[len(OUT) :]}" if word.startswith(OUT) else word
            for word in self.command
        ]

    def launched(self, data: str, out: str, source: Path) -> list[str]:
        """The command as the program in `source` takes it: a repair is the paper's, for which later versions have an
        option."""
        words = self.words(data, out)
        return [*words, "--plain"] if words[0] == "repair" and (source / "faal" / "repair").is_dir() else words

    @property
    def command_line(self) -> str:
        """The command for the record: the same on every machine."""
        return " ".join(["faal", *self.words(f"{self.data}:DIR", "OUT")])


class Plan:
    """A plan, such as `runs.yaml` or `evidence.yaml`, at one scale."""

    def __init__(self, content: Mapping[str, Any], scale: str, where: str = WHERE) -> None:
        if scale not in content["scales"]:
            raise unknown("scale", scale, content["scales"], see=where)
        self.content, self.scale, self.changes, self.where = content, scale, content["scales"][scale], where
        self.networks = {
            name: _given(name, entry, content["data"][entry["data"]]["classes"])
            for name, entry in content.get("given", {}).items()
        }
        self.items: dict[str, PlanItem] = {}
        for entry in (each for written in content["items"] for each in _spread(written)):
            for made in self._made(entry):
                item = replace(made, stage=str(entry.get("stage", "")))
                if self._left_out(item.name):
                    continue
                if self.items.setdefault(item.name, item) != item:
                    raise InputError(f"{where} has two items {item.name} that differ; rename one")

    def _left_out(self, name: str) -> bool:
        return any(fnmatch.fnmatch(name, left) for left in self.changes.get("without", ()))

    def _made(self, entry: Mapping[str, Any]) -> Iterator[PlanItem]:
        if "audit" in entry:
            patterns = entry["audit"]
            for pattern in patterns:
                if not fnmatch.filter(self.networks, pattern):
                    raise unknown("network of the plan", pattern, self.networks, see=self.where)
            for name in self.networks:
                if any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
                    yield self._audit(self.networks[name], entry)
        elif "run" in entry:
            if not self._left_out(entry["run"]):  # `faal reproduce` has no toys
                yield self._other(entry)
        else:
            for seed in map(int, entry["seeds"]):
                item = self._offsets(entry, seed) if "offsets" in entry else self._training(entry, seed)
                if not self.networks[item.name].published:
                    yield item

    def _training(self, entry: Mapping[str, Any], seed: int) -> PlanItem:
        """The training of a network, or a repair."""
        kind = "train" if "train" in entry else "repair"
        name = f"{entry[kind]}-{seed}"
        settings = entry.get("settings", {}) | self.changes.get(kind, {})
        recipe = shipped(entry["recipe"]).replace(settings, source=name)
        data = self._data_of(entry["recipe"])
        size = self.content["data"][data]
        if kind == "train":
            architecture = Architecture(
                model=recipe.model, num_classes=size["classes"], width=recipe.width, depth=recipe.depth,
                channels=size.get("channels", 3),
            )  # fmt: skip
            forward = forward_operations(architecture, size["size"])
            needs: tuple[str, ...] = ()
            options: tuple[str, ...] = ()
            first = ["train", entry["recipe"]]
        else:
            base = self._base(entry, seed)
            architecture, needs = base.architecture, _needs(base)
            forward, options = base.forward, base.options
            first = ["repair", base.place, entry["recipe"], *options, *base.repaired]
        published = _in_zoo(entry.get("zoo"), recipe, seed)
        self.networks[name] = Network(
            name=name, data=data, architecture=architecture, place=published or f"OUT/{name}", forward=forward,
            published=bool(published), options=options,
        )  # fmt: skip
        common = ["--data", "DATA", "--out", f"OUT/{name}", "--seed", str(seed)]
        forwards = training_forwards(recipe, size["train"], size["classes"])
        if "--frontier" in entry.get("options", ()):
            forwards += frontier_forwards(recipe, size["train"])
        return PlanItem(
            name=name,
            command=(*first, *common, *OFTEN, *_options(settings), *entry.get("options", ())),
            data=data,
            makes=f"{name}/best.pt",
            needs=needs,
            net=_net(architecture),
            operations=forwards * forward,
        )

    def _offsets(self, entry: Mapping[str, Any], seed: int) -> PlanItem:
        """The search for a network's offsets, without training."""
        name, base = f"{entry['offsets']}-{seed}", self._base(entry, seed)
        self.networks[name] = replace(base, name=name, place=f"OUT/{name}", published=False, repaired=(), audited=())
        settings = {"method": "offsets"} | entry.get("settings", {}) | self.changes.get("offsets", {})
        first = ["repair", base.place, entry["recipe"], *base.options, *base.repaired]
        withheld = self.content["data"][base.data]["train"] / SHARE
        return PlanItem(
            name=name,
            command=(*first, "--data", "DATA", "--out", f"OUT/{name}", "--seed", str(seed), *_options(settings)),
            data=base.data,
            makes=f"{name}/best.pt",
            needs=_needs(base),
            net=_net(base.architecture),
            operations=SEARCH[0] * withheld * evaluation_forwards(selection_request(SEARCH[1])) * base.forward,
        )

    def _base(self, entry: Mapping[str, Any], seed: int) -> Network:
        """The base of an entry; SEED in its name is the entry's own seed."""
        of = entry["of"].replace("SEED", str(seed))
        if of not in self.networks:
            raise unknown("network of the plan", of, self.networks, see=self.where)
        return self.networks[of]

    def _data_of(self, recipe: str) -> str:
        """The data that a recipe is named after."""
        names: Iterable[str] = self.content["data"]
        return max((name for name in names if recipe.startswith(f"{name}-")), key=len)

    def _audit(self, network: Network, entry: Mapping[str, Any]) -> PlanItem:
        """The audit of a network, or of another `file` in its folder; `into` is a folder of its own, so that its
        attacks are not added to those of the network's other audit."""
        label, size = entry.get("attacks", "usual"), self.content["data"][network.data]
        attacks = (self.content["attacks"] | self.changes.get("attacks", {}))[label]
        options, where, name, place = [*self.changes.get("audit", ())], network.name, network.name, network.place
        if file := entry.get("file"):
            place, where, name = f"{place}/{file}", f"{where}/{Path(file).stem}", f"{name}.{Path(file).stem}"
        if into := entry.get("into"):
            where = f"{where}/{into}"
        if limit := entry.get("limit"):
            options, where, label = [*options, "--limit", str(limit)], f"{where}/first-{limit}", f"{label}-{limit}"
        limits = [int(value) for word, value in itertools.pairwise(options) if word == "--limit"]
        images = min([size["test"], *limits])
        each = size.get("forwards", {}).get(attacks)
        forwards = audit_forwards(attacks, images, size["classes"]) if each is None else each * images
        subject = ["audit", place, *network.options, *network.audited, "--data", "DATA", "--attacks", attacks]
        return PlanItem(
            name=f"{name}.{label}",
            command=(*subject, "--out", f"OUT/{where}", *options),
            data=network.data,
            makes=f"{where}/audit.json",
            needs=_needs(network),
            net=_net(network.architecture),
            operations=forwards * network.forward,
        )

    def _other(self, entry: Mapping[str, Any]) -> PlanItem:
        size = self.content["data"][entry["data"]]
        if "reproduces" in entry:
            architecture, forwards = _reproduced(entry["reproduces"], self.scale, size)
        else:
            width = self.changes.get("train", {}).get("width")
            architecture = Architecture(model=entry["model"], num_classes=size["classes"], width=width)
            forwards = entry["forwards"]
        return PlanItem(
            name=entry["run"],
            command=tuple(word.replace("SCALE", self.scale) for word in entry["command"]),
            data=entry["data"],
            makes=entry["makes"],
            needs=(),
            net=_net(architecture),
            operations=forwards * forward_operations(architecture, size["size"]),
        )

    def wanted(self, patterns: Iterable[str], stages: Iterable[str] = ()) -> list[PlanItem]:
        """The items of these names and stages, and those that they need, in the plan's order; all if none is given."""
        names: set[str] = set()
        for pattern in list(patterns) or ["*"]:
            if not (found := fnmatch.filter(self.items, pattern)):
                raise unknown("item", pattern, self.items, see="--list")
            names |= set(found)
        there = {item.stage for item in self.items.values()}
        for stage in (chosen := set(stages)):
            if stage not in there:
                raise unknown("stage", stage, there, see="--list")
        names = {name for name in names if not chosen or self.items[name].stage in chosen}
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


def _given(name: str, entry: Mapping[str, Any], classes: int) -> Network:
    """An external network: its weights are in OUT; `says` are options of every command on it and on its repairs,
    `foreign` of commands that read its own weights, `audited` of its own audit."""
    return Network(
        name=name,
        data=entry["data"],
        architecture=Architecture(model=name, num_classes=classes),
        place=f"OUT/{entry['file']}",
        forward=float(entry["forward"]),
        published=True,
        options=tuple(entry["says"]),
        repaired=tuple(entry["foreign"]),
        audited=(*entry["foreign"], *entry["audited"]),
    )


def _in_zoo(name: str | None, recipe: Recipe, seed: int) -> str | None:
    """`zoo:NAME` where the zoo has a network that was trained with this recipe and seed."""
    if name not in zoo_names():
        return None
    card, wanted = read_card(str(name)), recipe.plain()
    made = {key: value for key, value in card["recipe"].items() if key not in INCIDENTAL}
    same = made == {key: wanted.get(key) for key in made} and card["seed"] == seed
    return f"zoo:{name}" if same else None


def _spread(entry: Mapping[str, Any], stage: str = "") -> Iterator[dict[str, Any]]:
    """An entry once, or once for every word of its `each`; a group's entries (`do`) in order, repeated for every word
    of its `each` and every one of its `seeds`."""
    stage = entry.get("stage", stage)
    if "do" in entry:
        for word, seed in itertools.product(entry.get("each", ["EACH"]), entry.get("seeds", ["SEED"])):
            for each in entry["do"]:
                yield from _spread(_with(_with(each, str(word)), str(seed), "SEED"), stage)
        return
    rest = {key: value for key, value in entry.items() if key != "each"} | {"stage": stage}
    yield from (_with(rest, str(word)) for word in entry["each"]) if "each" in entry else [rest]


def _with(value: Any, word: str, place: str = "EACH") -> Any:
    if isinstance(value, str):
        return value.replace(place, word)
    if isinstance(value, Mapping):
        return {key: _with(each, word, place) for key, each in value.items()}
    return [_with(each, word, place) for each in value] if isinstance(value, list) else value


def _options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of the command line."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _net(architecture: Architecture) -> str:
    return architecture.model + (f":{architecture.width}" if architecture.width else "")
