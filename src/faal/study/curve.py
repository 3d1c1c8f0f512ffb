"""Robust accuracy against epsilon: an ordinary audit at every radius, read together as one curve per class.

Balls are nested: what is within a radius is within every larger one. So a sample that an attack turned at one radius
has been turned at all larger ones too, whether or not the search there came upon it again, and a curve never rises.
"""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor, nn

from faal.audit import AuditResult
from faal.audit.beforehand import refuse_others
from faal.audit.blocks import Source
from faal.audit.estimates import estimates
from faal.audit.folder import network_key
from faal.audit.records.result import AUDIT, Figures
from faal.audit.records.verdicts import ALL
from faal.audit.run import run_audit
from faal.audit.settings import AuditContext, AuditSettings
from faal.audit.terminal import estimate_text, plain_row, titled
from faal.checkpoint import write_whole
from faal.config import Threat, epsilon_text
from faal.engine import processes
from faal.errors import InputError
from faal.report.sections.curve import draw_curve

SCHEMA = "faal-curve/1"

NESTED = (
    "A sample that fell at one radius counts as fallen at every larger one, since the larger ball holds the smaller; "
    "stood_again counts those that the attacks at a radius left standing all the same."
)

NO_ATTACK = "a curve needs an attack that was run at every radius, such as --attacks clean,pgd20"

FEW, SHARE = 3, 0.01
"""So many samples, and such a share of them, may stand again before it is taken for a sign."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """What stands at one radius and at all smaller ones; `stood_again` samples of those that fell stood here again."""

    epsilon: float
    figures: Figures
    stood_again: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy against epsilon, under all of `attacks` together; the first point is epsilon 0, without attack."""

    model: dict[str, Any]
    data: dict[str, Any]
    norm: str
    seed: int
    engine: str
    level: float
    interval_method: str
    attacks: tuple[str, ...]
    warnings: tuple[str, ...]
    environment: dict[str, Any]
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of `curve.json`."""
        told = {key: value for key, value in vars(self).items() if key != "points"}
        points = [
            {"epsilon": point.epsilon, "stood_again": point.stood_again, **point.figures.to_json()}
            for point in self.points
        ]
        return {"schema": SCHEMA, **told, "nested": NESTED, "points": points}

    def write(self, folder: Path) -> None:
        """Write `curve.json`, `curve.csv`, and the figure as SVG, PDF and PNG.

        Raises:
            InputError: the folder cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_whole(folder / "curve.json", (text + "\n").encode())
        write_whole(folder / "curve.csv", _csv(self).encode())
        draw_curve(folder)


def curve(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext,
    *,
    epsilons: Iterable[float],
) -> Curve:
    """Audit a classifier at several radii. Stopped and called again, it continues where it stopped.

    Under `torchrun` every audit is distributed over the processes, and the main one writes.

    Args:
        model: as for `faal.audit`, and so are `images` and `labels`.
        images: (N, channels, H, W) in [0, 1].
        labels: (N,) integers.
        settings: the audits', with the balls' norm in their threat; its epsilon is replaced.
        context: the audits'. Every audit is written to `curve-NORM/epsilon-...` in its folder, the curve to
            `curve-NORM`. A radius other than the training's is no sign of misuse here.
        epsilons: the radii, in any order; those that are equal to six digits count once.

    Raises:
        InputError: the input is wrong; the message says what, where and what to do.
    """
    if context.out is None:
        raise InputError("a curve needs a folder; name one with --out")
    norm = settings.threat.norm
    folder = Path(context.out) / f"curve-{norm}"
    threats = [Threat(norm, epsilon) for epsilon in radii(epsilons)]  # all are sound before the first is run
    folders = {folder / f"epsilon-{_called(threat.epsilon)}": threat for threat in threats}
    # The page shows the folder's audit and its curves together.
    refuse_others(model, images, labels, settings, context, folders=folders, beside=Path(context.out))
    if not settings.attacks and not all((place / AUDIT).is_file() for place in folders):
        raise InputError(NO_ATTACK)
    trained = {key: value for key, value in (context.trained or {}).items() if key != "epsilon"}

    def at(place: Path) -> AuditResult:
        own = replace(settings, threat=folders[place])
        return run_audit(model, images, labels, own, replace(context, out=place, trained=trained))

    found = curve_of(map(at, folders))
    if processes.is_main():
        found.write(folder)
    return found


def radii(epsilons: Iterable[float]) -> tuple[float, ...]:
    """The radii in order, each once.

    Raises:
        InputError: there is none.
    """
    once = {_called(epsilon): epsilon for epsilon in epsilons}
    if not once:
        raise InputError("a curve needs at least one epsilon; name some, such as 2/255,4/255,8/255")
    return tuple(sorted(once.values()))


def curve_of(audits: Iterable[AuditResult]) -> Curve:
    """The curve through audits of one model on the same samples, each at its own radius.

    Raises:
        InputError: there is none; they are of other models, samples, classes or norms; two are of one radius; they
            share no attack.
    """
    every = sorted(audits, key=lambda result: float(result.threat["epsilon"]))
    if not every:
        raise InputError("a curve needs at least one audit")
    first = every[0]
    _check(every)
    attacks = [name for name in first.attacks if name != ALL and all(name in result.attacks for result in every)]
    label = first.verdicts.label
    stands = first.verdicts.correct("clean")
    points = [_point(0.0, stands, 0, first)]
    warnings = [warning for result in every for warning in result.warnings]
    for result in every:
        here = np.logical_and.reduce([result.verdicts.correct(name) for name in attacks])
        again = int((here & ~stands).sum())
        stands = stands & here
        epsilon = float(result.threat["epsilon"])
        points.append(_point(epsilon, stands, again, result))
        if again > max(FEW, SHARE * len(label)):
            warnings.append(
                f"At epsilon {epsilon_text(epsilon)}, {again} of {len(label)} samples stood that had fallen at a "
                "smaller radius, although the larger ball holds the smaller: gradients may be masked, and a stronger "
                "attack may find more."
            )
    told = {key: getattr(first, key) for key in ("model", "data", "seed", "engine", "level", "interval_method")}
    return Curve(
        **told,
        norm=first.threat["norm"],
        attacks=tuple(name for name in attacks if name != "clean"),
        warnings=tuple(dict.fromkeys(warnings)),
        environment=first.environment,
        points=tuple(points),
    )


def curve_table(found: Curve) -> RenderableType:
    """The curve for the terminal: a row per radius, and what has to be known of it."""
    title = f"Accuracy in % with {found.level:.0%} intervals, {found.norm}, under {', '.join(found.attacks)}"
    grid = titled(title, [], ["epsilon", "average", "worst class"], ["which"])
    for point in found.points:
        figures = point.figures
        cells = [estimate_text(figures.average), estimate_text(figures.worst), figures.worst.name]
        plain_row(grid, epsilon_text(point.epsilon), *cells)
    return Group(grid, *(Text(f"Note: {warning}") for warning in found.warnings))


def _check(every: Sequence[AuditResult]) -> None:
    """That the audits differ in their radius and in nothing else."""
    first = every[0]
    for before, result in itertools.pairwise(every):
        apart = [
            ("models", _network(result) == _network(first)),
            ("norms", result.threat["norm"] == first.threat["norm"]),
            ("classes", result.classes == first.classes),
            ("samples", np.array_equal(result.verdicts.index, first.verdicts.index)),
            ("labels", np.array_equal(result.verdicts.label, first.verdicts.label)),
        ]
        for what, same in apart:
            if not same:
                raise InputError(f"the audits have other {what} and make no curve; audit one model on the same data")
        if result.threat["epsilon"] == before.threat["epsilon"]:
            raise InputError(
                f"two audits are at epsilon {epsilon_text(result.threat['epsilon'])}; give one for each radius"
            )
    if not any(all(name in result.attacks for result in every) for name in first.attacks if name not in ("clean", ALL)):
        raise InputError(NO_ATTACK)


def _network(result: AuditResult) -> object:
    return network_key(result.model) or result.model.get("digest")


def _point(epsilon: float, stands: NDArray[np.bool_], again: int, result: AuditResult) -> Point:
    label, count = result.verdicts.label, len(result.classes)
    n, correct = np.bincount(label, minlength=count), np.bincount(label[stands], minlength=count)
    return Point(epsilon=epsilon, figures=estimates(n, correct, result.classes, level=result.level), stood_again=again)


def _called(epsilon: float) -> str:
    """A radius in the name of a folder: `8-255`, or a decimal."""
    return epsilon_text(epsilon).replace("/", "-")


def _csv(found: Curve) -> str:
    """A line per radius and figure; values are fractions, `of` says which class."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["norm", "epsilon", "figure", "of", "n", "correct", "value", "low", "high"])
    for point in found.points:
        figures, start = point.figures, (found.norm, point.epsilon)
        for name, entry, of in (
            ("average", figures.average, ""),
            ("balanced", figures.balanced, ""),
            ("worst", figures.worst, figures.worst.name),
        ):
            lines.writerow([*start, name, of, "", "", entry.value, entry.low, entry.high])
        for one in figures.classes:
            lines.writerow([*start, "class", one.name, one.n, one.correct, one.value, one.low, one.high])
    return text.getvalue()
