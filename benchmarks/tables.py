"""Writes `docs/results.md` from `benchmarks/results/*.json`, so that no figure in it is typed by hand.

python benchmarks/tables.py
"""

import json
from pathlib import Path
from statistics import stdev
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "results.md"

ROLES = {"base": "PGD-AT base", "control": "control: two more epochs of PGD-AT", "repaired": "FAAL repair, two epochs"}


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def difference(found: dict[str, float]) -> str:
    return f"{100 * found['mean']:+.1f} ({100 * found['low']:+.1f} to {100 * found['high']:+.1f})"


def origin(result: dict[str, Any]) -> str:
    made = result["environment"]
    return (
        f"Command: `{result['command']}`; machine: {made['processor']}, one thread a network; "
        f"PyTorch {made['packages']['torch']}; commit `{made['commit']}`."
    )


def digits(result: dict[str, Any]) -> list[str]:
    """The digits benchmark as a section."""
    seeds = result["seeds"]
    lines = [
        "## Digits: the two-epoch repair",
        "",
        f"{len(seeds)} training seeds ({seeds[0]['seed']} to {seeds[-1]['seed']}, every one reported), small net of "
        "width 16, L-infinity epsilon 0.2, 898 training and 899 test images. Average and worst-class robust accuracy "
        "in per cent, means over the seeds; differences are paired by seed, with 95 % intervals (Student's t). The "
        "test half was used for these figures only: epsilon, net and schedule were fixed on seeds 100 to 104 with "
        "30 % of the training half held out.",
        "",
        origin(result),
        "",
    ]
    for attack, title in (("PGD-20 and CW-20", "PGD-20 and CW-20, five starts each"), ("AutoAttack", "AutoAttack")):
        found = result[attack]
        lines += [f"| {title} | average | worst class |", "| --- | --- | --- |"]
        for role, name in ROLES.items():
            lines.append(
                f"| {name} | {percent(found['mean'][role]['average'])} | {percent(found['mean'][role]['worst'])} |"
            )
        for pair in ("repaired - base", "repaired - control", "control - base"):
            cells = " | ".join(difference(found[pair][key]) for key in ("average", "worst"))
            lines.append(f"| {pair} | {cells} |")
        lines.append("")
    lines += ["Per seed under AutoAttack, average (worst class):", "", "| seed | base | control | repaired |"]
    lines.append("| --- | --- | --- | --- |")
    for row, judged in zip(seeds, result["autoattack_seeds"], strict=True):
        cells = " | ".join(f"{percent(judged[r]['average'])} ({percent(judged[r]['worst'])})" for r in ROLES)
        lines.append(f"| {row['seed']} | {cells} |")
    return [*lines, ""]


def starts(result: dict[str, Any]) -> list[str]:
    """How far the gradient attacks stay from AutoAttack, as a section."""
    networks = result["networks"]
    lines = [
        "## Digits: how many random starts",
        "",
        f"Average robust accuracy of the {len(networks)} networks above, minus that under AutoAttack, in points: the "
        "mean over the networks, and the range.",
        "",
        origin(result),
        "",
        "| PGD-20 and CW-20 from | mean | least | most |",
        "| --- | --- | --- | --- |",
    ]
    for name in ("one start", "five starts"):
        gaps = [100 * (row[name] - row["AutoAttack"]) for row in networks]
        lines.append(f"| {name} each | {sum(gaps) / len(gaps):.1f} | {min(gaps):.1f} | {max(gaps):.1f} |")
    return [
        *lines,
        "",
        "At this epsilon (0.2 of the whole range, images of 64 pixels) one start of 20 steps ends in local maxima; "
        "four more starts close most of the gap, which AutoAttack's nine targeted runs close on their own. The demo "
        "therefore judges from five. That one start is too few showed first in the demo's own figures for the test "
        "half; it was then looked into on held-out training images. Nothing else was decided after a look at the test "
        "half.",
        "",
    ]


def tuning(result: dict[str, Any]) -> list[str]:
    """What the digits recipes were fixed on, as a section."""
    lines = [
        "## Digits: what the recipes were fixed on",
        "",
        f"Seeds {result['seeds'][0]} to {result['seeds'][-1]}, trained on 70 % of the training half and judged on the "
        "other 30 % by PGD-20 and CW-20 from one start; per cent, means over the seeds. A class has 26 images there: "
        "the worst class of a seed is noisy, so the last column averages each class over the seeds first.",
        "",
        "The recipe (lr 0.007, tau 0.35) came out best in an earlier pass of this protocol, made while the code was "
        "being written. In this pass tau 0.25 does: between neighbours the choice is within the noise. It was not "
        "made again, since the test half had been judged by then.",
        "",
        origin(result),
        "",
        "| network | average | worst class | worst of the averaged classes |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | " + " | ".join(percent(row[key]) for key in row) + " |")
    return [*lines, ""]


ATTACKS = {
    "clean": "no attack",
    "pgd20": "PGD-20",
    "cw20": "CW-20",
    "pgd20x5": "PGD-20, 5 starts",
    "cw20x5": "CW-20, 5 starts",
    "autoattack": "AutoAttack",
    "all": "all attacks together",
}


def reproduced(result: dict[str, Any], title: str, told: str) -> list[str]:
    """A table that `faal reproduce` filled, as a section: means over the seeds, and their standard deviations."""
    records = result["records"]
    attacks = [name for name in ATTACKS if name in records[0]["attacks"]]
    seeds = sorted({record["seed"] for record in records})
    named = "one training seed" if len(seeds) == 1 else f"{len(seeds)} training seeds"
    lines = [f"## {title}", "", told.format(seeds=named, n=records[0]["n"]), "", origin(result), ""]
    lines.append("| method | " + " | ".join(ATTACKS[name] for name in attacks) + " |")
    lines.append("| --- |" + " --- |" * len(attacks))
    for row, label in result["labels"].items():
        own = [record for record in records if record["row"] == row]
        if own:
            cells = [spread([record["attacks"][name] for record in own]) for name in attacks]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def spread(found: list[dict[str, float]]) -> str:
    """Average (worst class) in per cent; with several seeds mean and standard deviation of each."""
    told = []
    for key in ("average", "worst"):
        values = [100 * each[key] for each in found]
        several = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
        told.append(f"{sum(values) / len(values):.1f}{several}")
    return f"{told[0]} ({told[1]})"


def page() -> str:
    """The whole of `docs/results.md`."""
    lines = [
        "# Results",
        "",
        "Made by `python benchmarks/tables.py` from `benchmarks/results/*.json`; `tests/test_results.py` holds the two "
        "together. Robust accuracy is an upper bound: a stronger attack may find more.",
        "",
        *digits(read("digits")),
        *starts(read("starts")),
        *tuning(read("tuning")),
    ]
    return "\n".join(lines).rstrip() + "\n"


def read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return result


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
