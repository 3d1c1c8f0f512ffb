"""Compare two-epoch repairs of one base, for `docs/results.md`.

    python -m benchmarks.experiments.runs --data cifar10:DIR --out RUNS \\
        --only 'prn18-1*' 'prn18-control-*' 'prn18-faal-at-*'
    python -m benchmarks.experiments.repairs RUNS --study prn18

collects the audits into `benchmarks/results/repairs-prn18.json`. A folder ARM-SEED in RUNS is a network with its audit.
Every seed found is used, besides those that earlier calls collected on the same images; a study without a file is not
on the page.
"""

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.experiments.digits import paired

from faal.bounds.plain import read_yaml
from faal.study.reproduce import paper

RESULTS = Path(__file__).parents[1] / "results"
SETTINGS = (
    "method",
    "steps",
    "epochs",
    "tau",
    "attack_loss",
    "average",
    "average_from",
    "average_decay",
    "average_span",
)
"""The settings in which arms differ, for the record."""

WITHHELD = "withheld"
"""Instead of an attack's name: a run's logged accuracy on the images that its epoch was chosen on."""

COLUMNS = {
    WITHHELD: "withheld images",
    "clean": "clean",
    "pgd20": "PGD-20",
    "cw20": "CW-20",
    "autoattack": "AutoAttack",
    "all": "all attacks",
}
BASE = "base"
CONVINCING = 10_000
"""The number of images that a claim about a worst class requires."""


@dataclass(frozen=True, kw_only=True)
class RepairStudy:
    """One base, or one schedule, and the arms that are compared."""

    title: str
    description: str
    """How the networks were made; `{n}` is the number of images that they are evaluated on."""
    runs: str
    """The commands."""
    base: str
    """The folder of the network that is repaired."""
    arms: dict[str, str]
    """The prefixes of the repairs' folders, and the arms' names in the table."""
    control: str
    """The arm that the others are compared with, paired by seed."""
    compared: Sequence[str] = ()
    judge: str = "all"
    """The attack that they are compared under."""
    printed: dict[str, paper.PrintedAccuracies] = field(default_factory=dict)
    """The paper's figures for an arm."""


PLANNED = (
    "`python -m benchmarks.experiments.runs --data cifar10:DIR --out RUNS`, which records every command in "
    "RUNS/runs.jsonl."
)
REPAIRS = {"control": "the control: plain AT", "faal-at": "FAAL_AT", "faal-at-awp": "FAAL_AT-AWP"}


def _paper_scale(title: str, made: str, base: str, arms: dict[str, str], row: str) -> RepairStudy:
    """Repairs of a base as `runs.yaml` names them, beside the paper's row of table 1 and its fine-tunes."""
    return RepairStudy(
        title=f"CIFAR-10 at the paper's scale: {title}",
        description=f"{made} repaired for two epochs by each method, {{n}} test images. Average (worst class) in per "
        "cent, means over the seeds. The paper's figures are for WRN-34-10 after 200 epochs.",
        runs=PLANNED,
        base=f"{base}-1",
        arms={f"{base}-{arm}": label for arm, label in arms.items()},
        control=f"{base}-{next(iter(arms))}",
        compared=[f"{base}-{arm}" for arm in list(arms)[1:]],
        judge="autoattack",
        printed={BASE: paper.TABLE1[row]}
        | {f"{base}-{arm}": found for arm in arms if (found := paper.TABLE1.get(f"{row}--{arm}"))},
    )


FRL = {"frl-rwrm-0.05": "FRL-RWRM, 0.05", "frl-rwrm-0.07": "FRL-RWRM, 0.07"}
ON_PGD_AT = REPAIRS | FRL | {"cross-entropy": "FAAL_AT, phase 2 by the cross-entropy"}
ON_OTHERS = {
    "pgd-at": "the control: plain AT",
    "faal-at": "FAAL_AT",
    "faal-at-awp": "FAAL_AT-AWP",
    "faal-trades": "FAAL_TRADES",
    "faal-trades-awp": "FAAL_TRADES-AWP",
} | FRL
SEARCHED = {
    "prn18-faal-at": "FAAL_AT",
    "plus-smooth": "smoothed margins",
    "plus-cw": "every other batch attacked on the margin",
    "plus-mean": "averaged weights",
    "plus-smooth-cw": "smoothed margins, attacks on the margin",
    "plus-smooth-mean": "smoothed margins, averaged weights",
    "plus-cw-mean": "attacks on the margin, averaged weights",
    "plus-all": "all three",
    "plus-control": "plain AT, attacks on the margin, averaged weights",
    **{f"tau-{tau}": f"tau {tau}" for tau in ("0", "0.1", "0.2", "0.35", "0.75", "1")},
    "ball-dro-kl-forward": "KL(w || U)",
    "ball-dro-chi2": "chi-squared ball",
    "ball-dro-cvar": "CVaR",
    "margins-cfa": "CFA's margins",
}
STUDIES = {
    "small": RepairStudy(
        title="CIFAR-10 at small scale: the two-epoch repair",
        description="One PGD-AT base (PreActResNet-18 of width 16, six epochs), repaired on all its training images "
        "for two epochs against PGD-7, in bf16; {n} test images drawn once, about 400 of a class. Average (worst "
        "class) in per cent, means over the seeds; nothing was chosen by these figures. The last arm's two changes are "
        "from a preliminary experiment, not confirmed.",
        runs="`faal repair BASE RECIPE --data cifar10:DIR --steps 7 --seed N` with `cifar10-prn18-pgd-at-repair` and "
        "`cifar10-prn18-faal-at-repair`, the last arm with `--attack-loss alternate --average step --average-from 0.5 "
        "--average-decay 0.995` too; `faal audit RUN --data cifar10:DIR --attacks clean,pgd20,cw20 --limit 4000`.",
        base="base-1",
        arms={
            "control": "the control: plain AT",
            "faal": "FAAL_AT",
            "plus": "FAAL_AT, every other batch attacked on the margin, weights averaged in the second epoch",
        },
        control="control",
        compared=("faal", "plus"),
    ),
    "prn18": _paper_scale("PreActResNet-18", "A PGD-AT base of 60 epochs,", "prn18", ON_PGD_AT, "pgd-at"),
    "prn18-trades": _paper_scale("a TRADES base", "60 epochs,", "prn18-trades", ON_OTHERS, "trades"),
    "prn18-mart": _paper_scale("a MART base", "60 epochs,", "prn18-mart", ON_OTHERS, "mart"),
    "prn18-trades-awp": _paper_scale("a TRADES-AWP base", "60 epochs,", "prn18-trades-awp", ON_OTHERS, "trades-awp"),
    "search": RepairStudy(
        title="CIFAR-10 at the paper's scale: better than FAAL's repair",
        description="Two-epoch repairs of the PGD-AT base of 60 epochs, evaluated on the {n} training images withheld "
        "for the choice of the epoch (CW-10; average, and in brackets the worst class, in per cent, means over the "
        "seeds), so that nothing is chosen on the test set.",
        runs=PLANNED,
        base="prn18-1",
        arms=SEARCHED,
        control="prn18-faal-at",
        compared=[arm for arm in SEARCHED if arm.startswith(("plus", "margins"))],
        judge=WITHHELD,
    ),
    "wrn": _paper_scale("WRN-34-10", "A PGD-AT base of 15 epochs,", "wrn", REPAIRS, "pgd-at"),
}


def audited(run: Path) -> dict[str, Any]:
    """A run's audit: its data and backend, and attack -> average, worst class, and the worst tenth of many classes."""
    audit = _read(run / "audit.json")
    attacks = {
        name: {
            key: {k: v for k, v in found[key].items() if k != "correct"}
            for key in ("average", "worst", "worst_tenth")
            if found.get(key)
        }
        for name, found in audit["attacks"].items()
    }
    judged = audit["data"]["n"], audit["data"]["fingerprint"], audit["engine"]
    return {"judged": judged, "environment": audit["environment"], "attacks": attacks}


def withheld(run: Path) -> dict[str, Any]:
    """Likewise, a run's logged accuracy on the withheld images after the chosen epoch."""
    config = read_yaml(run / "config.yaml")
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    epochs = [line["select"] for line in lines if line["event"] == "epoch" and line["select"]]
    best = max(epochs, key=lambda each: each["average"] + each["worst"])  # as the recipes' `select: sum` chooses
    judged = config["data"]["held_out"], config["data"]["fingerprint"], config["recipe"]["select_attack"]
    attacks = {WITHHELD: {key: {"value": best[key]} for key in ("average", "worst")}}
    return {"judged": judged, "environment": _read(run / "environment.json"), "attacks": attacks}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def seed_of(run: Path) -> int:
    return int(run.name.rpartition("-")[2])


def collected(runs: Path, study: str, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """All arms of a study, each with its seeds in order; those collected before are kept unless they were run again."""
    chosen = STUDIES[study]
    read, needs = (withheld, "best.pt") if chosen.judge == WITHHELD else (audited, "audit.json")
    named = {BASE: re.escape(chosen.base)} | {arm: rf"{re.escape(arm)}-\d+" for arm in chosen.arms}
    arms: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for arm, pattern in named.items():
        own = [run for run in runs.iterdir() if re.fullmatch(pattern, run.name) and (run / needs).exists()]
        kept = {row["seed"]: row for row in (before or {}).get("arms", {}).get(arm, {"seeds": []})["seeds"]}
        for run in own:
            found.append(read(run))
            made = {key: found[-1]["environment"].get(key) for key in ("commit", "device")}
            kept[seed_of(run)] = {"seed": seed_of(run), **made, "attacks": found[-1]["attacks"]}
        if kept:
            arms[arm] = {"seeds": [kept[seed] for seed in sorted(kept)], "settings": _settings(own, before, arm)}
    if not found:
        raise SystemExit(f"{runs} holds no {needs} of the study {study}: {', '.join(named)}")
    judged = {each["judged"] for each in found} | ({tuple(before["judged on"])} if before else set())
    if len(judged) != 1:
        raise SystemExit(f"{runs}: the runs were evaluated on different images, or differently: {sorted(judged)}")
    return {
        "command": f"python -m benchmarks.experiments.repairs RUNS --study {study}",
        "environment": {k: v for k, v in found[0]["environment"].items() if k != "command"},
        "judged on": list(*judged),
        "arms": arms,
    }


def _settings(runs: Sequence[Path], before: Mapping[str, Any] | None, arm: str) -> dict[str, Any]:
    """The settings of an arm's runs, from their recipe."""
    for path in (run / "config.yaml" for run in runs):
        if path.exists():
            recipe = read_yaml(path)["recipe"]
            return {name: recipe.get(name) for name in SETTINGS}
    stored: dict[str, Any] = (before or {}).get("arms", {}).get(arm, {}).get("settings", {})
    return stored


def mean(values: Iterable[float]) -> float:
    found = [100 * value for value in values]
    return sum(found) / len(found)


def cell(seeds: Sequence[dict[str, Any]], attack: str) -> str:
    """Average (worst class), means over the seeds that were evaluated under an attack, with their number where it is
    not all."""
    found = [row["attacks"][attack] for row in seeds if attack in row["attacks"]]
    if not found:
        return ""
    text = " (".join(f"{mean(each[key]['value'] for each in found):.1f}" for key in ("average", "worst")) + ")"
    return text if len(found) == len(seeds) else f"{text}, of {len(found)}"


def section(study: str, result: dict[str, Any], made: str) -> list[str]:
    """The table, and the differences from the control, paired by seed."""
    chosen, arms = STUDIES[study], result["arms"]
    judged = {attack for found in arms.values() for row in found["seeds"] for attack in row["attacks"]}
    attacks = [attack for attack in COLUMNS if attack in judged]
    printed = {arm: chosen.printed[arm] for arm in arms if arm in chosen.printed}
    shown = [attack for attack in attacks if any(attack in row for row in printed.values())]
    heads = ["arm", "seeds", *(COLUMNS[attack] for attack in attacks), *(f"paper: {COLUMNS[a]}" for a in shown)]
    commits = {row["commit"] for found in arms.values() for row in found["seeds"] if row.get("commit")}
    if others := sorted(commits - {result["environment"]["commit"]}):
        made += f" Some runs are of `{'`, `'.join(others)}`."
    lines = [
        f"## {chosen.title}",
        "",
        chosen.description.format(n=f"{result['judged on'][0]:,}"),
        "",
        f"Runs: {chosen.runs}",
        "",
        made,
        "",
    ]
    lines += [f"| {' | '.join(heads)} |", "| --- |" + " --- |" * (len(heads) - 1)]
    for arm, found in arms.items():
        own = [cell(found["seeds"], attack) for attack in attacks]
        papers = [_printed(printed.get(arm, {}).get(attack)) for attack in shown]
        lines.append(
            f"| {' | '.join([({BASE: 'the base'} | chosen.arms)[arm], str(len(found['seeds'])), *own, *papers])} |"
        )
    differing = [
        f"- {chosen.arms[arm]}: {found}." for arm in chosen.compared if (found := differences(study, arms, arm))
    ]
    if differing:
        where = {"all": "under all attacks together", WITHHELD: "on the withheld images"}
        judged_by = where.get(chosen.judge, f"under {COLUMNS[chosen.judge]}")
        than = chosen.arms[chosen.control].partition(":")[0]
        lines += ["", f"Differences from {than} {judged_by}, in points, paired by seed, 95 % (Student's t):"]
        lines += ["", *differing]
    if result["judged on"][0] < CONVINCING and chosen.judge != WITHHELD:
        lines += ["", f"With fewer than {CONVINCING:,} images nothing is claimed about a worst class."]
    return [*lines, ""]


def _printed(found: tuple[float, float] | None) -> str:
    return "" if found is None else f"{found[0]:.1f} ({found[1]:.1f})"


def differences(study: str, arms: dict[str, Any], arm: str) -> str:
    """Average and worst class against the control's, over the seeds that both have."""
    chosen = STUDIES[study]
    before, after = (
        {row["seed"]: row["attacks"][chosen.judge] for row in found["seeds"] if chosen.judge in row["attacks"]}
        for found in (arms.get(name, {"seeds": []}) for name in (chosen.control, arm))
    )
    seeds = sorted(before.keys() & after.keys())
    if len(seeds) < 2:
        return ""
    words = []
    for key, name in (("average", "average"), ("worst", "worst class")):
        found = paired([before[s][key]["value"] for s in seeds], [after[s][key]["value"] for s in seeds])
        words.append(f"{name} {100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})")
    return f"{', '.join(words)}, {len(seeds)} seeds"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--study", choices=STUDIES, required=True)
    given = parser.parse_args()
    path = RESULTS / f"repairs-{given.study}.json"
    before = _read(path) if path.exists() else None
    path.write_text(json.dumps(collected(given.runs, given.study, before), indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
