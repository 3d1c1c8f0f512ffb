"""The text of `docs/checked.md`, from `benchmarks/results/checked.json`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.checked.networks import NETWORKS, WHOLE, PublicNetwork, Published

from faal.audit.statistics.intervals import clopper_pearson

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "checked.json"
PAGE = ROOT / "docs" / "checked.md"
COMMAND = "OMP_NUM_THREADS=1 python -m benchmarks.checked --models DIR --cifar10 cifar10:DIR --mnist idx:DIR --work DIR"
PAIR = "against pyautoattack"

HEAD = f"""# Is the verdict right?

Written by `python -m benchmarks.checked --page` from `benchmarks/results/checked.json`;
`tests/benchmarks/test_checked.py` compares the two. Networks that others trained and published are audited as a user
would audit them, and the figures are put beside what was published, and beside another implementation of the attacks.

    {COMMAND}

DIR of `--models` holds the checkpoints and their architectures, which are not part of this project. In L-infinity, with
seed 0, one thread, on a CPU; intervals are Clopper and Pearson's at 95 %, over the draw of the test images.
"""

MEANING = """An accuracy under attack is an upper bound, and so is a published one. *Below* means that the accuracy here
is at or below the upper end of the published one's interval, so that the attack here is no weaker, as far as these
images can tell. An accuracy above it is explained below the table."""


def interval(value: float, n: int) -> tuple[float, float]:
    """The interval of a published accuracy, all in per cent."""
    low, high = clopper_pearson(round(value * n / 100), n, 0.95)
    return 100 * float(low), 100 * float(high)


def with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def clean_of(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The clean accuracy of the audit of most images."""
    audits = [audit for audit in entry["audits"].values() if "clean" in audit["attacks"]]
    return max(audits, key=lambda audit: audit["n"], default=None)


def clean_rows(found: Mapping[str, Any]) -> Iterator[str]:
    yield "| network | from | published | measured elsewhere | here | images | equal |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, network in NETWORKS.items():
        published = next((f"{each.value:.2f}" for each in network.published if each.attack == "clean"), "-")
        elsewhere = "-" if network.clean is None else f"{network.clean:.2f}"
        audit = clean_of(found[name]) if name in found else None
        if audit is None:
            yield f"| {name} | {network.source} | {published} | {elsewhere} | not measured yet | | |"
            continue
        here = f"{100 * audit['attacks']['clean']['value']:.2f}"
        equal = "-" if network.clean is None else "yes" if here == elsewhere else "no"
        yield f"| {name} | {network.source} | {published} | {elsewhere} | {here} | {audit['n']:,} | {equal} |"


def robust_of(network: PublicNetwork) -> Published | None:
    """What was published of a network's robust accuracy."""
    return next((each for each in network.published if each.attack != "clean"), None)


def measured_rows(name: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, int, Mapping[str, Any], bool | None]]:
    """Attack, images, figures, and whether it is below the published one, for each robust accuracy of a network."""
    published = robust_of(NETWORKS[name])
    for audit in entry["audits"].values():
        attacks = [attack for attack in audit["attacks"] if attack not in ("clean", "all")]
        for attack in [*attacks, "all"] if len(attacks) > 1 else attacks:  # `all` of one attack repeats it
            figure = audit["attacks"][attack]
            below = None
            if published:
                below = 100 * figure["value"] <= interval(published.value, published.n)[1]
            joined = "all of these" if attack == "all" else attack
            yield joined, audit["n"], figure, below


def robust_rows(found: Mapping[str, Any]) -> Iterator[str]:
    yield "| network, epsilon | published | attack here | images | average here | worst class here | below |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, network in NETWORKS.items():
        published = robust_of(network)
        said = "-"
        if published:
            said = f"{published.attack} {with_interval(published.value, *interval(published.value, published.n))}"
        rows = list(measured_rows(name, found[name])) if name in found else []
        if not rows:
            yield f"| {name}, {network.epsilon} | {said} | not measured yet | | | | |"
        for attack, n, figure, below in rows:
            value = with_interval(*(100 * figure[key] for key in ("value", "low", "high")))
            worst = f"{100 * figure['worst']['value']:.1f} ({figure['worst']['class']})"
            answer = {None: "-", True: "yes", False: "no"}[below]
            yield f"| {name}, {network.epsilon} | {said} | {attack} | {n:,} | {value} | {worst} | {answer} |"


def explanations(found: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in found.items():
        above = [f"{attack} on {n:,}" for attack, n, _, below in measured_rows(name, entry) if below is False]
        if above:
            yield f"- **{name}**, {', '.join(above)}: {NETWORKS[name].explained or 'not explained'}"


def pairs(found: Mapping[str, Any]) -> Iterator[str]:
    compared = [(n, a[PAIR], a["engine"]) for n, e in found.items() for a in e["audits"].values() if PAIR in a]
    if not compared:
        yield "Not measured yet."
    for name, pair, engine in compared:
        yield (
            f"{name}, {pair['n']} test images in one block, audited on the engine {engine}: {pair['equal verdicts']} "
            f"of {pair['n']} verdicts are equal, {pair['robust in the audit']} robust in the audit and "
            f"{pair['robust in pyautoattack']} in pyautoattack; the classes predicted for the adversarial examples are "
            f"equal on {pair['equal predictions']}."
        )
        if pair["differences"]:
            yield ""
            yield "| image | class | robust in the audit | robust in pyautoattack | margin of pyautoattack's example |"
            yield "| --- | --- | --- | --- | --- |"
            for row in pair["differences"]:
                audit, other = (
                    "yes" if row[key] else "no" for key in ("robust in the audit", "robust in pyautoattack")
                )
                margin = row["margin of pyautoattack's example"]
                yield f"| {row['image']} | {row['class']} | {audit} | {other} | {margin:.6f} |"
        else:
            yield ""
            yield "No difference remains to be explained."


def missing(found: Mapping[str, Any]) -> Iterator[str]:
    """The audits of the plan that have no figures, for networks that have some."""
    for name, entry in found.items():
        for plan in NETWORKS[name].audits:
            if plan.name not in entry["audits"]:
                yield f"- **{name}**, {plan.attacks} on {plan.limit or WHOLE:,}: not measured yet."
    yield ""


def made(found: Mapping[str, Any]) -> str:
    places = {
        (audit["environment"]["commit"], audit["environment"]["processor"], audit["environment"]["packages"]["torch"])
        for entry in found.values()
        for audit in entry["audits"].values()
    }
    if not places:
        return ""
    seconds = sum(audit["processor seconds"] for entry in found.values() for audit in entry["audits"].values())
    where = "; ".join(f"commit `{c}`, {p}, one thread, PyTorch {t}" for c, p, t in sorted(places))
    return f"Measured at {where}; {seconds / 60:.0f} minutes of processor time in all."


def page() -> str:
    """The text of `docs/checked.md`."""
    stored: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    found = {name: stored["networks"][name] for name in NETWORKS if name in stored["networks"]}
    explained = list(explanations(found))
    parts = [
        HEAD,
        "## Clean accuracy\n",
        "In per cent, on all test images.\n",
        *clean_rows(found),
        "\n## Robust accuracy\n",
        MEANING + "\n",
        *robust_rows(found),
        *(["", *explained] if explained else []),
        "\n## AutoAttack, sample by sample\n",
        "The same block of images, with the same seed, attacked by the audit and by pyautoattack 0.2.0 called as its "
        "documentation does.\n",
        *pairs(found),
        "",
        *missing(found),
        made(found),
    ]
    return "\n".join(parts).rstrip() + "\n"
