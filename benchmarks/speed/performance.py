"""Writes `docs/performance.md` from `benchmarks/results/*.json`, so that no figure in it is typed by hand.

python -m benchmarks.speed.performance
"""

from pathlib import Path
from typing import Any

from benchmarks.experiments.tables import COMMANDS, origin, percent, read

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"

NETS = {"prn18:16": "PreActResNet-18 of width 16", "prn18": "PreActResNet-18"}

FORMS = {"the same, PyTorch told to multiply in bfloat16": "the same, PyTorch set to multiply in bfloat16"}
"""Names of forms in the recorded results, and today's."""


def ratio(found: dict[str, Any]) -> str:
    least, most = found["range"]
    return f"{found['median']:.2f} ({least:.2f} to {most:.2f})"


def step(result: dict[str, Any]) -> list[str]:
    rounds = len(next(iter(next(iter(result["nets"].values()))["ways"].values()))["seconds"])
    lines = [
        "## A training step",
        "",
        "FAAL-AT against PGD-10 in batches of 128 images of 32 x 32 pixels. All implementations compute the same step "
        "(`tests/benchmarks/test_gains.py`), one after the other in turns, in another order every round; seconds are "
        f"medians with their quartiles over {rounds} rounds, ratios medians with their range. *As the field writes it* "
        "is float32, contiguous, the weights' gradients computed in the attack, a loop over the classes, cvxpy for "
        "every batch. *Plain and competent* is float32, channels last, the images' gradients alone, this program's "
        "solver. *Ours* is this program's step.",
        "",
        origin(result, f"{result['threads']} threads"),
        "",
    ]
    for net, found in result["nets"].items():
        lines += [f"| {NETS.get(net, net)} | seconds a step | images per second | times ours |"]
        lines += ["| --- | --- | --- | --- |"]
        for name, way in found["ways"].items():
            low, high = way["quartiles"]
            times = ratio(found["ratios"][name]) if name in found["ratios"] else "1"
            cells = f"{way['median']:.3f} ({low:.3f} to {high:.3f}) | {way['images per second']:.0f} | {times}"
            lines.append(f"| {name} | {cells} |")
        shares = ", ".join(f"{name} {percent(share)} %" for name, share in found["phases"].items())
        products = [f"{rate / 1e9:.0f} in {name}" for name, rate in found["matrix products per second"].items()]
        lines += [
            "",
            f"Ours runs in {found['precision']}, at {found['operations per second'] / 1e9:.0f} GFLOP/s by the count of "
            f"forwards: {percent(found['fraction'])} % of the rate of a product of two 2048 x 2048 matrices here "
            f"({', '.join(products)}). Shares: {shares}. An epoch of 50,000 images takes {found['epoch'] / 60:.1f} "
            "minutes.",
            "",
        ]
    return lines


def precision(result: dict[str, Any]) -> list[str]:
    lines = [
        "## The size from which on bfloat16 is faster",
        "",
        "Float32's time as a multiple of bfloat16's, in batches of 128 noise images, processor seconds in turns; "
        f"medians with their range over {result['rounds']} rounds. Training uses bfloat16 by default from 2 million "
        "operations an image on, and so does the audit, whose fast engine also evaluates the network in float32 near "
        "the decision boundary.",
        "",
        origin(result, "one thread"),
        "",
        "| network | million operations an image | an attack's step | a training step | an attack's step in an audit |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in result["nets"].items():
        cells = " | ".join(ratio(row[kind]) for kind in ("attack", "train", "audit"))
        lines.append(f"| {name} | {row['operations'] / 1e6:.1f} | {cells} |")
    return [*lines, ""]


def equality(result: dict[str, Any]) -> list[str]:
    attack = dict(result["attack"])
    plain = attack.pop("plain")
    lines = [
        "## What the speed-ups change",
        "",
        f"PGD-10 of training on {result['samples']} training images and a trained {NETS['prn18:16']}, against a plain "
        "implementation of the same attack, from the same starts. A verdict is the plain network's own, in float32; "
        f"{percent(plain['robust'])} % are robust under the plain attack.",
        "",
        origin(result, "one thread"),
        "",
        "| the attack, with | largest difference | signs alike, % | verdicts alike, % |",
        "| --- | --- | --- | --- |",
    ]
    for name, row in attack.items():
        signs, verdicts = 100 * row["signs alike"], 100 * row["verdicts alike"]
        lines.append(f"| {name} | {row['largest difference']:.3g} | {signs:.3f} | {verdicts:.1f} |")
    found, seeds = result["digits"]["bf16 - float32"], result["digits"]["seeds"]
    lines += [
        "",
        "A sign is that of a pixel's change. The final accuracy on digits, where bfloat16 is no faster and not the "
        f"default: bfloat16 less float32, {len(seeds)} seeds, correct under PGD-20 and CW-20 of five starts, in "
        "points, with 95 % intervals (Student's t, paired by seed).",
        "",
        "| | difference |",
        "| --- | --- |",
    ]
    for name, row in found.items():
        cells = f"{100 * row['mean']:+.1f} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
        lines.append(f"| {name} | {cells} |")
    return [*lines, ""]


def questions(result: dict[str, Any]) -> list[str]:
    lines = [
        "### Why not three times: what was tried",
        "",
        f"One forward of an attack on {result['batch']} images, every form in turns, {result['rounds']} rounds, "
        "processor seconds: the plain form's time as a multiple of each, median and range.",
        "",
        origin(result, "one thread"),
        "",
        "| form | forward | forward and gradient |",
        "| --- | --- | --- |",
    ]

    def cell(row: dict[str, float]) -> str:
        return f"{row['ratio']:.2f} ({row['least']:.2f} to {row['most']:.2f})"

    for name, row in result["forward"].items():
        lines.append(f"| {FORMS.get(name, name)} | {cell(row)} | {cell(result['forward and gradient'][name])} |")
    forwards, parts, cores = result["forward"], result["convolutions"], result["both cores"]
    plain = next(iter(forwards))
    forward = forwards[plain]["seconds"] / parts["forward, bfloat16, channels last"]["seconds"]
    both = result["forward and gradient"][plain]["seconds"] / sum(
        parts[f"{way}, bfloat16, channels last"]["seconds"] for way in ("forward", "backward")
    )
    own = ", ".join(f"{name} {percent(row['own'])} %" for name, row in result["own arithmetic"].items())
    rates = ", ".join(
        f"{name} {parts[f'forward, {name}']['rate'] / 1e9:.0f} and {parts[f'backward, {name}']['rate'] / 1e9:.0f}"
        for name in ("float32, row by row", "float32, channels last", "bfloat16, channels last")
    )
    return [
        *lines,
        "",
        f"The cause is the convolutions. In GFLOP/s, forward and backward for the images: {rates}. If all else took "
        f"no time, with these convolutions a forward would be {forward:.2f} times as fast as the plain one, forward "
        f"and gradient {both:.2f} times. And AutoAttack's members have computations of their own, besides the "
        f"network's ({own} of the plain call): FAB's sorting was replaced, the rest is pyautoattack's and unchanged. "
        f"Compiling takes {result['compile seconds']:.0f} seconds more.",
        "",
        "Two processes of one thread instead of one process of two threads: the plain network evaluates "
        f"{cores['plain, one thread']:.0f} images a second (forward and gradient) in one thread and "
        f"{cores['plain, two threads']:.0f} in two; the fast engine {cores['fast, one process']:.0f} in one process "
        f"and {cores['fast, two processes']:.0f} in two, "
        f"{cores['fast, two processes'] / cores['plain, two threads']:.2f} times the plain network's two threads.",
        "",
    ]


def audit(result: dict[str, Any]) -> list[str]:
    speed, together, each = result["speed"], result["parity"]["together"], result["parity"]["each"]
    samples = [row["samples"] for row in each.values()]
    lines = [
        "## The fast engine of an audit",
        "",
        "AutoAttack on test images of CIFAR-10. *Speed*: pyautoattack called as its documentation has it, against the "
        f"audit with `--engine fast`, {speed['samples']} images and one seed, {len(speed['blocks'])} blocks in turns "
        "in one process, processor seconds, a PreActResNet-18 of width 16. *Parity*: verdicts sample by sample on two "
        "narrow networks (a small net of width 16 and a PreActResNet-18 of width 8).",
        "",
        origin(result, "one thread"),
        "",
        f"- Speed: {speed['ratio']:.2f} times the plain call ({speed['least']:.2f} to {speed['most']:.2f} over the "
        f"blocks). The target was 3: {'met' if speed['ratio'] >= 3 else 'missed'}.",
        f"- Parity, {together['samples']} samples ({' and '.join(str(n) for n in samples)}): fast and reference "
        f"disagree on {percent(together['disagreement'])} %, the reference and itself with another seed on "
        f"{percent(together['disagreement with itself'])} %. Fast was weaker on {together['weaker']} samples "
        f"(one-sided 95 % bound {100 * together['bound']:.2f} %; the target was below 0.3) and stronger on "
        f"{together['stronger']}. "
        f"Robust accuracy: {', '.join(f'{name} {percent(value)} %' for name, value in together['robust'].items())}.",
        "",
    ]
    return lines


def solver(result: dict[str, Any]) -> list[str]:
    one, many, cvxpy = result["one problem"], result["many problems"], result["cvxpy"]
    lines = [
        "## The solver",
        "",
        f"Phase 2's problem at tau {result['tau']}, against cvxpy {cvxpy['version']} ({cvxpy['solver']}) with the "
        "problem built and solved anew, as public code does for every batch. Processor seconds, medians, in turns; in "
        "brackets the first call of a turn, when the caches hold the others' data.",
        "",
        origin(result, "one thread"),
        "",
        "| classes | cvxpy, ms | ours, ms | compiled, ms | ours, times faster | compiled, times faster |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for classes, found in one.items():
        first = found["seconds, first of a turn"]
        cells = [
            f"{1e3 * way['median']:.3g} ({1e3 * first[name]['median']:.3g})" for name, way in found["seconds"].items()
        ]
        cold = found["times faster, first of a turn"]
        cells += [f"{value:.0f} ({cold[name]:.0f})" for name, value in found["times faster"].items()]
        lines.append(f"| {classes} | {' | '.join(cells)} |")
    alone = " and ".join(f"{value:,.0f} ({name})" for name, value in many["times faster"].items())
    lines += [
        "",
        f"{many['problems']} problems of {many['classes']} classes at once: {alone} times less for each than cvxpy's. "
        "Compiled, all run the 20 steps of Newton's method that the rarest references need.",
        "",
        "All of phase 2 (class statistics, rule, solver) in per cent of a step of the digits net (32 images of 8 x 8 "
        "pixels, PGD-10), the smallest step of this program. The target was 1: called repeatedly by itself a compiled "
        "phase 2 meets it, inside a step none does. The caches hold the network's data then: a compiled graph of one "
        "addition takes more than 1 there. In a step of a PreActResNet-18 phase 2 is far below it (the shares above).",
        "",
        "| classes | step, ms | by itself | the same, compiled | inside | compiled | one addition |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for classes, found in result["step"].items():
        shares = [*found["share alone"].values(), *found["share"].values()]
        cells = [f"{1e3 * found['seconds of the step']['median']:.1f}", *(f"{100 * share:.1f}" for share in shares)]
        lines.append(f"| {classes} | {' | '.join(cells)} |")
    return [*lines, ""]


def scaling(result: dict[str, Any]) -> list[str]:
    lines = [
        "## Many processes",
        "",
        "One batch of 128 images by one process of one thread, one of two, and two of one each, over gloo; a "
        "PreActResNet-18 of width 16, FAAL-AT, PGD-10. `tests/engine` tests that all compute the same.",
        "",
        origin(result, "both cores"),
        "",
        "| precision | way | steps per second | times as fast as one thread |",
        "| --- | --- | --- | --- |",
    ]
    for precision, found in result["measured"].items():
        for name, way in found["ways"].items():
            gain = found["times as fast as one thread"].get(name)
            times = f"{gain['median']:.2f} ({gain['least']:.2f} to {gain['most']:.2f})" if gain else "1"
            lines.append(f"| {precision} | {name} | {way['steps per second']:.2f} | {times} |")
    sent = next(iter(result["measured"].values()))["a step of two says"]
    lines += [
        "",
        f"In a step of two processes {len(sent['messages'])} messages are sent, of {sent['bytes'] / 1e6:.1f} MB "
        f"together, nearly all of it gradients, which take {1e3 * sent['seconds by themselves']:.0f} ms here by "
        "themselves. They are sent during phase 3's backward, which is 2 of the 23 forwards that a PGD-10 step costs.",
        "",
        "Predicted for GPUs (nothing was measured on one): a ring of NVLink within 8, InfiniBand beyond. Efficiency "
        "without and with that overlap, in per cent.",
        "",
        "| network | GPUs | images on each | without | with |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, paper in result["on paper"]["nets"].items():
        for row in paper["rows"]:
            if row["GPUs"] > 1:
                alone, hidden = (100 * row["efficiency"][way] for way in ("without overlap", "with overlap"))
                lines.append(f"| {name} | {row['GPUs']} | {row['images per GPU']:g} | {alone:.0f} | {hidden:.0f} |")
    sources = "; ".join(f"{name}: {paper['compute']}" for name, paper in result["on paper"]["nets"].items())
    assumed = "; ".join(f"{name}: {value}" for name, value in result["on paper"]["assumed"].items())
    return [*lines, "", f"Computation: {sources}. Assumed: {assumed}.", ""]


OPEN = [
    "## Tried without gain, and not measured",
    "",
    "- `torch.compile` of the attacked network with its gradient: no gain on this CPU (the table of forms above), "
    "and seconds to a minute to compile. Off unless `--compile on`.",
    "- Folding BatchNorm into the convolution before it: some per cent of an attack's step. In a pre-activation "
    "network every other BatchNorm has none before it. Left out: it would have to be undone for every update.",
    "- A fused step and projection of the attack: by the first table's shares there is little to gain on a CPU.",
    "- In the solver: Newton's method on log KL, on a transform linear at both ends, on the inverse root of KL; the "
    "classes as the first dimension; the compiler's C++ wrapper. Tried and not used; no figures were recorded.",
    "- mkldnn's own switch (`fp32_precision`), which multiplies float32 tensors in bfloat16: no effect on this CPU.",
    "- Not measured: anything on a GPU. `python -m benchmarks.speed.step --device cuda --compiled --nets prn18 "
    "wrn34-10` and `--compile on` in training are ready; the targets there are 6 seconds for an epoch of "
    "PreActResNet-18 and 50 for WRN-34-10 on an H200.",
    "",
]


def page() -> str:
    """The text of `docs/performance.md`."""
    lines = [
        "# Performance",
        "",
        "Made by `python -m benchmarks.speed.performance` from `benchmarks/results/*.json`; "
        "`tests/benchmarks/test_results.py` compares the two. Every ratio was measured in one run, both sides in "
        f"turns. {COMMANDS}",
        "",
        *step(read("step")),
        *precision(read("precision")),
        *equality(read("equality")),
        *solver(read("solver")),
        *scaling(read("scaling")),
        *audit(read("audit")),
        *questions(read("questions")),
        *OPEN,
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
