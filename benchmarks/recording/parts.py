"""The parts of a record: the commands that are run, and the facts of their results. `record.py` is the command."""

import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from benchmarks.recording import facts as of
from benchmarks.recording.facts import Facts
from benchmarks.recording.samples import (
    AUDIT,
    AUDITED,
    BLOCKS,
    CPU,
    CURVE,
    GROUPED,
    REAUDITED,
    REPAIRED,
    SAMPLES,
    STOPPED,
)
from benchmarks.recording.surface import Surface

Task = Callable[[], Facts]
Part = Callable[[Surface, Path], Mapping[str, Task]]

EXACT = ("--precision", "float32", "--device", "cpu", "--seed", "1")
SHORT = ("--epochs", "2", "--width", "8", *EXACT)
TOY = ("--data", "npz:toy.npz")


def fresh(work: Path, name: str) -> Path:
    """A folder of a task's own, with a copy of the samples."""
    shutil.copytree(SAMPLES, work / name)
    return work / name


def toy(folder: Path) -> Path:
    """A folder with `toy.npz`: blurred patterns of three classes, enough of each that some images are withheld."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    patterns = rng.random((3, 8, 8))
    parts: dict[str, np.ndarray] = {"classes": np.array(["bolt", "nut", "pin"])}
    for name, n in {"train": 660, "test": 90}.items():
        labels = np.arange(n) % 3
        images = 0.55 * patterns[labels] + 0.45 * rng.random((n, 8, 8))
        parts |= {f"x_{name}": np.round(255 * images).astype(np.uint8), f"y_{name}": labels}
    np.savez(folder / "toy.npz", **parts)  # type: ignore[arg-type]
    (folder / "groups.csv").write_text("site\n" + "".join(f"{'ab'[row % 2]}\n" for row in range(90)))
    return folder


def options(surface: Surface, work: Path) -> Mapping[str, Task]:
    """The options of every command, and the names of `import faal`."""

    def read() -> Facts:
        first = surface.pages([["--help"]])[0]
        commands = [line.strip("│ ").split()[0] for line in first.splitlines() if line.startswith("│ ")]
        commands = [name for name in commands if not name.startswith("-") and name[0].islower() and name.isalpha()]
        pages = surface.pages([[name, "--help"] for name in commands])
        found = [of.help_facts("faal", first), *map(of.help_facts, commands, pages)]
        found += [{f"{name}/command": "" for name in commands}, {f"import/{name}": "" for name in surface.names()}]
        return {where: what for facts in found for where, what in facts.items()}

    return {"all": read}


def recipes(surface: Surface, work: Path) -> Mapping[str, Task]:
    """Every setting of every shipped recipe."""

    def read() -> Facts:
        names = surface.pages([["recipes"]])[0].split()
        pages = surface.pages([["recipes", name] for name in names])
        return of.recipe_facts(dict(zip(names, map(yaml.safe_load, pages), strict=True)))

    return {"all": read}


def keys(surface: Surface, work: Path) -> Mapping[str, Task]:
    """The keys of every file that is written, by one run, repair and audit on toy data."""

    def written() -> Facts:
        here = toy(work / "keys")
        surface.faal(here, "train", "debug", "--out", "run", "--average", "step", *TOY, *EXACT)
        judge = ("--attacks", "clean,pgd5,autoattack", *TOY, "--engine", "reference", "--device", "cpu")
        surface.faal(here, "audit", "run", "--groups", "groups.csv", "--out", "audit", *judge)
        surface.faal(here, "audit", "run", "--epsilon", "0.1,0.2", "--out", "curve", *judge)
        surface.faal(here, "repair", "run", "debug", "--frontier", "--out", "repaired", *TOY, *EXACT)
        facts: Facts = {}
        for file in sorted(here.rglob("*")):
            twice = file.name == "previous.pt" or file.parent.name in ("blocks", "epsilon-0.2")
            if file.suffix in (".jsonl", ".json", ".yaml", ".pt", ".npz") and not twice:
                place = file.relative_to(here).parent
                facts |= {f"{place}/{key}": what for key, what in of.file_keys(file).items() if place != Path(".")}
        return facts

    return {"all": written}


def methods(surface: Surface, work: Path) -> Mapping[str, Task]:
    """Two epochs of every method on digits: from scratch, or on the sample run where it only repairs."""
    names = of.listed(surface.pages([["methods"]])[0])[1:]
    shipped = set(surface.pages([["recipes"]])[0].split())

    def run(name: str) -> Facts:
        here = fresh(work, name)
        scratch, repair = f"digits-small-{name}", f"digits-small-{name}-repair"
        command: tuple[str, ...]
        if scratch in shipped:
            command = ("train", scratch, *SHORT)
        elif repair in shipped:
            command = ("repair", "run", repair, "--epochs", "2", *EXACT)
        else:
            command = ("repair", "run", "--method", name, *EXACT)
        return digests(surface, here, name, *command, "--data", "digits")

    return {name: partial(run, name) for name in names}


def digests(surface: Surface, here: Path, name: str, *command: str) -> Facts:
    """The digests of the files that a training command writes into the folder `out`; its exit status where it fails."""
    done = surface.compute(here, *command)
    if done.returncode != 0:
        return {f"{name}/exit status": str(done.returncode)}
    return {f"{name}/{where}": what for where, what in of.run_digests(here / "out").items()}


VARIANTS = {
    "plain": ("--method", "pgd-at"),
    "groups": ("--groups", "sites.csv:site"),
    "l2": ("--norm", "l2", "--epsilon", "0.5"),
    "gated": ("--method", "cfa-trades", "--average", "gated"),
    "steered": ("--method", "wat", "--hold-out", "both"),
    "margins": ("--method", "frl-rwrm"),
    "similarity": ("--method", "dafa"),
    "smoothed": ("--smoothing", "0.9", "--statistic", "cross-entropy"),
    "alternate": ("--attack-loss", "alternate", "--attack-start", "gaussian"),
    "published": ("--counted", "true", "--extra-clean-forward", "true", "--attack-mode", "train"),
    "test": ("--select-on", "test", "--select", "worst"),
    "augmented": ("--crop", "1", "--flip", "true", "--nesterov", "true"),
    "bfloat16": ("--precision", "bf16"),
}
"""Settings beside the method, each on toy data, of which some images are withheld."""


def variants(surface: Surface, work: Path) -> Mapping[str, Task]:
    """Two epochs with options that the methods' recipes do not set, and repairs with withheld images."""
    known = of.listed(surface.pages([["methods"]])[0])[1:]
    shipped = set(surface.pages([["recipes"]])[0].split())
    alone = [name for name in known if not shipped & {f"digits-small-{name}", f"digits-small-{name}-repair"}]

    def train(name: str) -> Facts:
        here = toy(work / name)
        (here / "sites.csv").write_text("site\n" + "".join(f"{'abbc'[row % 4]}\n" for row in range(660)))
        settings = EXACT if "--precision" not in VARIANTS[name] else EXACT[2:]
        return digests(surface, here, name, "train", "debug", "--steps", "4", *TOY, *settings, *VARIANTS[name])

    def repair(name: str, *more: str) -> Facts:
        here = toy(work / name)
        surface.faal(here, "train", "debug", "--method", "pgd-at", "--out", "base", *TOY, *EXACT)
        facts = digests(surface, here, name, "repair", "base", *TOY, *EXACT, *more)
        for file in sorted((here / "out").glob("*.json")):
            if file.name != "environment.json":
                facts[f"{name}/{file.name}"] = of.value_digest(json.loads(file.read_text(encoding="utf-8")))
        return facts

    tasks: dict[str, Task] = {name: partial(train, name) for name in VARIANTS}
    tasks["frontier"] = partial(repair, "frontier", "debug", "--frontier")
    return tasks | {f"repair {name}": partial(repair, f"repair {name}", "--method", name) for name in alone}


AUDITS = {
    "linf": ("--attacks", "clean,pgd20,cw20,pgd20x2,autoattack", "--limit", "60"),
    "l2": ("--attacks", "clean,pgd20,cw20,cw10x2,autoattack", "--limit", "40", "--norm", "l2", "--epsilon", "0.5"),
    "groups": ("--attacks", "clean,pgd10", "--groups", "groups.csv"),
    "fast": ("--attacks", "clean,pgd20,autoattack", "--limit", "60", "--seed", "3", "--engine", "fast"),
}


def audits(surface: Surface, work: Path) -> Mapping[str, Task]:
    """Audits of the sample run with every attack, in both norms, by groups, on either engine; and from Python."""

    def run(name: str) -> Facts:
        here = fresh(work, name)
        engine = () if name == "fast" else ("--engine", "reference")
        surface.compute(here, "audit", "run", *CPU, *engine, *AUDITS[name]).check_returncode()
        facts = of.audit_digests(here / "out")
        facts["blocks"] = of.value_digest(sorted(file.name for file in (here / "out" / "blocks").glob("*.npz")))
        return {f"{name}/{where}": what for where, what in facts.items()}

    def python() -> Facts:
        return {f"python/{where}": what for where, what in surface.called(fresh(work, "python")).items()}

    return {name: partial(run, name) for name in AUDITS} | {"python": python}


REPRODUCED = {
    "fine-tunes": ("figure2", "table1/pgd-at--faal-at", "figure1", "theorem1"),
    "scratch": ("table2", "figure3", "table3", "table4"),
}
"""Two lists that share a folder. Of table 1 the fine-tunes of PGD-AT alone: those of its other bases are the same code
on other weights, and each base is in the part `methods`."""


def reproduce(surface: Surface, work: Path) -> Mapping[str, Task]:
    """The tables, figures and the theorem at scale tiny with one seed: their CSV files, all but times."""

    def run(name: str) -> Facts:
        work.mkdir(parents=True, exist_ok=True)
        facts: Facts = {}
        for what in REPRODUCED[name]:
            surface.faal(work, "reproduce", what, "--seeds", "1", "--workers", "1", "--device", "cpu", "--out", "out")
            page = (work / "out" / f"{what.partition('/')[0]}.csv").read_text(encoding="utf-8")
            facts |= of.csv_facts(what, page)
        return facts

    return {name: partial(run, name) for name in REPRODUCED}


def samples(surface: Surface, work: Path) -> Mapping[str, Task]:
    """The sample folders: networks load, earlier audits are recognised, and results of both are the same."""

    def again(name: str, command: tuple[str, ...]) -> Facts:
        here = fresh(work, name)
        folder = here / (command[command.index("--out") + 1] if "--out" in command else command[1])
        found = [path.parent for path in sorted(folder.rglob("audit.json"))]
        before = {path: of.seconds_of(path) for path in found}
        surface.faal(here, *command)
        facts: Facts = {}
        for path in found:
            place = f"{name}/{path.relative_to(here)}"
            facts[f"{place}/recognised"] = "yes" if of.seconds_of(path) == before[path] else "no"
            facts |= {f"{place}/{where}": what for where, what in of.audit_digests(path).items()}
        return facts

    def loads() -> Facts:
        here = fresh(work, "loads")
        paths = ["run", "repaired", "repaired/best.pt", "zoo:prn18w16-pgd-at", "zoo:prn18w16-faal-at"]
        return {
            f"load_model/{path}/{name}": of.array_digest(value) if name == "predicted" else of.weights_digest(value)
            for path in paths
            for name, value in surface.loaded(here, path, predict=not path.startswith("zoo:")).items()
        }

    def files() -> Facts:
        from safetensors.torch import load_file

        here = fresh(work, "files")
        surface.faal(here, "export", "run", "run.safetensors")
        surface.faal(here, "export", "repaired", "repaired.pth")
        facts = {
            "export/run": of.weights_digest(load_file(here / "run.safetensors")),
            "export/repaired": of.weights_digest(of.checkpoint(here / "repaired.pth")),
            "compare/figures": " ".join(of.decimals(surface.faal(here, "compare", "a=run", "b=repaired"))),
        }
        for name, folders in {"run": ("run",), "several": ("run", "repaired"), "curve": ("curve",)}.items():
            surface.faal(here, "report", *folders, "--out", f"{name}.html")
            facts[f"report/{name}/cells"] = of.cells((here / f"{name}.html").read_text(encoding="utf-8"))
        return facts

    def zoo() -> Facts:
        here = fresh(work, "zoo")
        package = here / "src"
        shutil.copytree(surface.source / "faal", package / "faal", ignore=shutil.ignore_patterns("zoo", "__pycache__"))
        if (surface.source / "faal" / "zoo").is_dir() and list((surface.source / "faal" / "zoo").glob("*.py")):
            shutil.copytree(surface.source / "faal" / "zoo", package / "faal" / "zoo")
        shutil.copytree(here / "zoo", package / "faal" / "zoo", dirs_exist_ok=True)
        other = Surface(surface.tree, package)
        listed = of.listed(other.faal(here, "zoo"))[1:]
        loaded = other.loaded(here, "zoo:sample-faal-at")
        facts = {"zoo/listed": " ".join(listed), "zoo/card": str(other.attempt(here, "zoo", listed[0]).returncode)}
        facts["zoo/weights"] = of.weights_digest(loaded["weights"])
        return facts | {"zoo/predicted": of.array_digest(loaded["predicted"])}

    commands = {"audit": AUDITED, "groups": GROUPED, "curve": CURVE, "repaired": REAUDITED}
    tasks: dict[str, Task] = {name: partial(again, name, command) for name, command in commands.items()}
    return tasks | {"loads": loads, "files": files, "zoo": zoo}


def continued(surface: Surface, work: Path) -> Mapping[str, Task]:
    """The sample folders that were stopped continue, or are rejected; the sample run is repaired again."""

    def continue_from(name: str, command: tuple[str, ...], digests_of: Callable[[Path], Facts]) -> Facts:
        here = fresh(work, name)
        status = surface.attempt(here, *command).returncode
        found = {} if status else digests_of(here / name)
        return {f"{name}/exit status": str(status)} | {f"{name}/{where}": what for where, what in found.items()}

    def repaired() -> Facts:
        here = fresh(work, "repaired")
        shutil.rmtree(here / "repaired")
        surface.faal(here, *REPAIRED)
        facts = {f"repaired/{where}": what for where, what in of.run_digests(here / "repaired").items()}
        surface.faal(here, "audit", "repaired", "--attacks", "clean,pgd20", *AUDIT)
        return facts | {f"repaired/{where}": what for where, what in of.audit_digests(here / "repaired").items()}

    return {
        "stopped": partial(continue_from, "stopped", STOPPED, of.run_digests),
        "blocks": partial(continue_from, "blocks", BLOCKS, of.audit_digests),
        "repaired": repaired,
    }


PARTS: dict[str, Part] = {
    "reproduce": reproduce, "methods": methods, "variants": variants, "audits": audits, "continued": continued,
    "samples": samples, "keys": keys, "recipes": recipes, "options": options,
}  # fmt: skip
"""The longest first, so that no core waits for it at the end."""

ANYWHERE = ("keys", "options", "recipes", "samples")
"""The parts that are the same on every machine."""
