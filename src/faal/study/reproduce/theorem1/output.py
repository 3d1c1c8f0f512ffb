"""`theorem1`: the simulation of `shifts.py` as a table, a figure and a summary."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from faal.checkpoint import write_atomically
from faal.report.charts.bars import save_figure
from faal.report.charts.svg import LEGEND, MUTED, SERIES, STYLE, WIDE
from faal.report.wording import listing
from faal.study.reproduce.theorem1.shifts import (
    BEYOND,
    CLASS_MEANS,
    CLASSES,
    CONCENTRATION,
    EDGE,
    INSIDE,
    LEVEL,
    NONE,
    SHIFTS,
    TEST_IMAGES,
    TRIALS,
    ShiftFrequency,
    simulate,
)


def theorem1(out: Path, *, seeds: Sequence[int] = (1, 2, 3), trials: int = TRIALS) -> list[Path]:
    """Run the simulation and write `theorem1.md`, `.csv`, and the figure as `.svg`, `.pdf` and `.png` into a folder.

    Returns:
        The files written; the same arguments produce the same bytes.

    Raises:
        InputError: there is no seed, or the folder cannot be written.
    """
    cells = simulate(seeds=seeds, trials=trials)
    pages = {"theorem1.md": markdown(cells, seeds), "theorem1.csv": _csv(cells)}
    for name, text in pages.items():
        write_atomically(out / name, text.encode())
    return [*(out / name for name in pages), *save_figure(_figure(cells), out / "theorem1")]


def markdown(cells: Sequence[ShiftFrequency], seeds: Sequence[int]) -> str:
    """The summary and the table, a row per shift and tau."""
    counts, taus = sorted({cell.n for cell in cells}), sorted({cell.tau for cell in cells})
    at = {(cell.shift, cell.tau, cell.n): cell for cell in cells}
    lines = [
        "# Theorem 1: how often the worst-distribution loss bounds the loss under class shift",
        "",
        findings(cells),
        "",
        f"Frequency of L_FAAL > L in per cent over {cells[0].trials:,} simulated trials ({len(seeds)} "
        f"seed{'s' * (len(seeds) > 1)}), with exact {100 * LEVEL:g} % binomial intervals; {CLASSES} classes, n images "
        "of each. Below each τ, the leading term of the printed bound, 1 − exp(−τn); with n the images of all "
        "classes it would be higher still.",
        "",
        "| τ | test set | " + " | ".join(f"n = {n}" for n in counts) + " |",
        "| --- | --- |" + " ---: |" * len(counts),
    ]
    for tau in taus:
        for shift in SHIFTS:
            row = [at[shift, tau, n] for n in counts]
            frequencies = (f"{100 * c.frequency:.1f} ({100 * c.low:.1f} to {100 * c.high:.1f})" for c in row)
            lines.append(f"| {tau:g} | {shift} | " + " | ".join(frequencies) + " |")
        printed = (f"{100 * at[shift, tau, n].leading_term:.1f}" for n in counts)
        lines.append(f"| {tau:g} | *printed term* | " + " | ".join(printed) + " |")
    lines += ["", "In each trial:", ""]
    lines += [f"- *{name}*: {sentence};" for name, (_, sentence) in SHIFTS.items()]
    first, second = CLASS_MEANS
    lines.append(
        f"- a class's mean margin is 2μ − 1 with μ from Beta({first:g}, {second:g}), its images' margins 2x − 1 with x "
        f"from Beta({CONCENTRATION:g}μ, {CONCENTRATION:g}(1 − μ)); L is the mean margin of {TEST_IMAGES:,} test "
        "images, L_FAAL the worst-distribution margin of n images of each class."
    )
    return "\n".join(lines) + "\n"


def findings(cells: Sequence[ShiftFrequency]) -> str:
    """A summary of the frequencies in sentences."""
    least, most = min(cell.n for cell in cells), max(cell.n for cell in cells)

    def span(shift: str, n: int) -> str:
        found = sorted(100 * cell.frequency for cell in cells if cell.shift == shift and cell.n == n)
        ends = dict.fromkeys(f"{value:.1f}" for value in (found[0], found[-1]))
        return f"{'–'.join(ends)} %"

    within = [cell for cell in cells if cell.shift != BEYOND]
    below = [cell for cell in within if cell.high < cell.leading_term]
    kinds = [f"{sum(cell.shift == shift for cell in below)} {shift}" for shift in SHIFTS]
    counted = f" ({listing([kind for kind in kinds if not kind.startswith('0 ')])})" if below else ""
    return (
        f"Over the values of τ, L_FAAL exceeds L in {span(NONE, least)} of the trials without a shift at n = {least} "
        f"and in {span(NONE, most)} at n = {most}; under a shift drawn from the ball in {span(INSIDE, least)} and "
        f"{span(INSIDE, most)}. Under the worst shift of the ball it decreases from {span(EDGE, least)} to "
        f"{span(EDGE, most)}: there L is the quantity that L_FAAL estimates, with a small positive bias, so the "
        "frequency tends to one half, not to one, as the number of images increases. Beyond the ball it decreases from "
        f"{span(BEYOND, least)} to {span(BEYOND, most)}. Of the {len(within)} cells whose shift is in the ball, "
        f"{len(below)}{counted} have an interval entirely below 1 − exp(−τn): without its O(n), the printed "
        f"bound {'does not hold' if below else 'was not observed to fail'}."
    )


def _csv(cells: Sequence[ShiftFrequency]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(cells[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(cell) for cell in cells)
    return text.getvalue()


@matplotlib.rc_context(STYLE)
def _figure(cells: Sequence[ShiftFrequency]) -> Figure:
    """Frequency against n, a panel per tau and a line per shift, with the printed term."""
    taus, counts = sorted({cell.tau for cell in cells}), sorted({cell.n for cell in cells})
    figure = Figure(figsize=(WIDE, 3.3), layout="constrained")
    every = figure.subplots(1, len(taus), sharey=True, squeeze=False)[0]
    for axes, tau in zip(every, taus, strict=True):
        axes.set_axisbelow(True)
        for shift, colour in zip(SHIFTS, SERIES[1:], strict=True):
            row = [cell for cell in cells if cell.shift == shift and cell.tau == tau]
            width = 3.4 if shift == NONE else 1.7  # visible under the line that nearly coincides with it
            axes.plot(counts, [c.frequency for c in row], "o-", color=colour, lw=width, ms=2 + width, label=shift)
            axes.fill_between(counts, [c.low for c in row], [c.high for c in row], color=colour, alpha=0.25, lw=0)
        n = np.geomspace(counts[0], counts[-1], 200)
        axes.plot(n, -np.expm1(-tau * n), color=MUTED, lw=1.2, ls=(0, (4, 3)), label="1 − exp(−τn)")
        axes.set_xscale("log")
        axes.set_xticks(counts, [str(n) for n in counts])
        axes.minorticks_off()
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_title(f"τ = {tau:g}", loc="left", fontsize=9)
        axes.set_xlabel("images of a class, n")
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
    every[0].set_ylabel("trials in which L_FAAL > L")
    figure.legend(*every[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(SHIFTS) + 1, **LEGEND)
    return figure
