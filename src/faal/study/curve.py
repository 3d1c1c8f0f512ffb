"""Robust accuracy against epsilon: an audit at every radius, combined into one curve per class.

Balls are nested: an adversarial example within a radius is within every larger one. So a sample that is misclassified
under attack at one radius counts as misclassified at all larger ones, whether or not the attack there finds an
adversarial example again, and a curve never increases.
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
from faal.audit.blocks import Source
from faal.audit.estimates import estimates
from faal.audit.folder import network_key
from faal.audit.records.result import AUDIT, Accuracies
from faal.audit.records.verdicts import ALL
from faal.audit.refusals import refuse_others
from faal.audit.run import run_audit
from faal.audit.settings import AuditContext, AuditSettings
from faal.audit.terminal import estimate_text, plain_row, titled
from faal.checkpoint import write_atomically
from faal.config import Threat, epsilon_text
from faal.engine import interrupts, processes
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError
from faal.report.sections.curve import draw_curve

SCHEMA = "faal-curve/1"

NESTED = (
    "A sample that is misclassified under attack at one radius counts as misclassified at every larger one, since the "
    "larger ball contains the smaller; stood_again counts those that are robust at the larger radius nevertheless."
)

NO_ATTACK = "a curve needs an attack that was run at every radius, such as --attacks clean,pgd20"

MIN_COUNT, MIN_SHARE = 3, 0.01
"""More samples than both that are robust again at a larger radius cause a warning."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Accuracy at one radius, over samples that are robust there and at all smaller radii.

    `robust_again` samples are robust at this radius although an attack succeeded at a smaller one.
    """

    epsilon: float
    accuracies: Accuracies
    robust_again: int


@dataclass(frozen=True, kw_only=True)
class AccuracyCurve:
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
    points: tuple[CurvePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """The content of `curve.json`."""
        fields = {key: value for key, value in vars(self).items() if key != "points"}
        points = [
            {"epsilon": point.epsilon, "stood_again": point.robust_again, **point.accuracies.to_json()}
            for point in self.points
        ]
        return {"schema": SCHEMA, **fields, "nested": NESTED, "points": points}

    def write(self, folder: Path) -> None:
        """Write `curve.json`, `curve.csv`, and the figure as SVG, PDF and PNG.

        Raises:
            InputError: the folder cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        write_atomically(folder / "curve.json", (text + "\n").encode())
        write_atomically(folder / "curve.csv", _csv(self).encode())
        draw_curve(folder)


def curve(
    model: nn.Module,
    images: Tensor | ArrayLike | Source,
    labels: Tensor | ArrayLike,
    settings: AuditSettings,
    context: AuditContext,
    *,
    epsilons: Iterable[float],
) -> AccuracyCurve:
    """Audit a classifier at several radii; continues where an earlier call was stopped.

    Under `torchrun` the processes share every audit, and the main one writes.

    Args:
        model: as in `faal.audit`, as are `images` and `labels`.
        images: (N, channels, H, W) in [0, 1].
        labels: (N,) integers.
        settings: of the audits, with the norm in their threat; its epsilon is replaced.
        context: of the audits. Every audit is written to `curve-NORM/epsilon-...` in its folder, the curve to
            `curve-NORM`. A radius other than that of training causes no warning here.
        epsilons: the radii, in any order; radii that agree to six digits are evaluated once.

    Raises:
        InputError: the input is invalid; the message states what, where and what to do.
    """
    if context.out is None:
        raise InputError("a curve needs a folder; name one with --out")
    norm = settings.threat.norm
    folder = Path(context.out) / f"curve-{norm}"
    threats = [Threat(norm, epsilon) for epsilon in radii(epsilons)]  # every radius is checked before the first audit
    folders = {folder / f"epsilon-{_folder_name(threat.epsilon)}": threat for threat in threats}
    # The report shows the folder's audit and its curves together.
    refuse_others(model, images, labels, settings, context, folders=folders, report_folder=Path(context.out))
    if not settings.attacks and not all((audit_folder / AUDIT).is_file() for audit_folder in folders):
        raise InputError(NO_ATTACK)
    trained = {key: value for key, value in (context.trained or {}).items() if key != "epsilon"}

    audits: list[AuditResult] = []
    with (
        folder_lock(Path(context.out)),
        interrupts.reporting(lambda message: _saved(len(audits), len(folders), message)),
    ):
        for audit_folder, threat in folders.items():
            at_radius = replace(settings, threat=threat)
            audits.append(
                run_audit(model, images, labels, at_radius, replace(context, out=audit_folder, trained=trained))
            )
        found = curve_of(audits)
        if processes.is_main():
            found.write(folder)
    return found


def _saved(done: int, radii: int, message: str) -> str:
    """What is saved when a signal interrupts a curve."""
    return f"{done} of {radii} radii are finished" + (f"; of the next, {message}" if message else "")


def radii(epsilons: Iterable[float]) -> tuple[float, ...]:
    """Sort the radii and remove duplicates.

    Raises:
        InputError: there is no radius.
    """
    by_name = {_folder_name(epsilon): epsilon for epsilon in epsilons}
    if not by_name:
        raise InputError("a curve needs at least one epsilon; name some, such as 2/255,4/255,8/255")
    return tuple(sorted(by_name.values()))


def curve_of(audits: Iterable[AuditResult]) -> AccuracyCurve:
    """Combine audits of one model on the same samples, each at another radius, into a curve.

    Raises:
        InputError: there is no audit; the audits differ in model, samples, classes or norm; two have the same radius;
            no attack is in all of them.
    """
    by_radius = sorted(audits, key=lambda result: float(result.threat["epsilon"]))
    if not by_radius:
        raise InputError("a curve needs at least one audit")
    first = by_radius[0]
    _check(by_radius)
    attacks = [name for name in first.attacks if name != ALL and all(name in result.attacks for result in by_radius)]
    label = first.verdicts.label
    robust = first.verdicts.correct("clean")
    points = [_point(0.0, robust, 0, first)]
    warnings = [warning for result in by_radius for warning in result.warnings]
    for result in by_radius:
        robust_here = np.logical_and.reduce([result.verdicts.correct(name) for name in attacks])
        again = int((robust_here & ~robust).sum())
        robust = robust & robust_here
        epsilon = float(result.threat["epsilon"])
        points.append(_point(epsilon, robust, again, result))
        if again > max(MIN_COUNT, MIN_SHARE * len(label)):
            warnings.append(
                f"At epsilon {epsilon_text(epsilon)}, {again} of {len(label)} samples are robust that are not "
                "at a smaller radius, although the larger ball contains the smaller: gradients may be masked, and a "
                "stronger attack may find more adversarial examples."
            )
    shared = {key: getattr(first, key) for key in ("model", "data", "seed", "engine", "level", "interval_method")}
    return AccuracyCurve(
        **shared,
        norm=first.threat["norm"],
        attacks=tuple(name for name in attacks if name != "clean"),
        warnings=tuple(dict.fromkeys(warnings)),
        environment=first.environment,
        points=tuple(points),
    )


def curve_table(found: AccuracyCurve) -> RenderableType:
    """The curve as a table for the terminal: a row per radius, and the warnings."""
    title = f"Accuracy in % with {found.level:.0%} intervals, {found.norm}, under {', '.join(found.attacks)}"
    grid = titled(title, [], ["epsilon", "average", "worst class"], ["which"])
    for point in found.points:
        accuracies = point.accuracies
        cells = [estimate_text(accuracies.average), estimate_text(accuracies.worst), accuracies.worst.name]
        plain_row(grid, epsilon_text(point.epsilon), *cells)
    return Group(grid, *(Text(f"Note: {warning}") for warning in found.warnings))


def _check(by_radius: Sequence[AuditResult]) -> None:
    """Raise InputError unless the audits differ only in their radius."""
    first = by_radius[0]
    for before, result in itertools.pairwise(by_radius):
        compared = [
            ("models", _network(result) == _network(first)),
            ("norms", result.threat["norm"] == first.threat["norm"]),
            ("classes", result.classes == first.classes),
            ("samples", np.array_equal(result.verdicts.index, first.verdicts.index)),
            ("labels", np.array_equal(result.verdicts.label, first.verdicts.label)),
        ]
        for what, equal in compared:
            if not equal:
                raise InputError(
                    f"the audits have different {what} and cannot form a curve; audit one model on the same data"
                )
        if result.threat["epsilon"] == before.threat["epsilon"]:
            raise InputError(
                f"two audits are at epsilon {epsilon_text(result.threat['epsilon'])}; give one for each radius"
            )
    if not any(
        all(name in result.attacks for result in by_radius) for name in first.attacks if name not in ("clean", ALL)
    ):
        raise InputError(NO_ATTACK)


def _network(result: AuditResult) -> object:
    return network_key(result.model) or result.model.get("digest")


def _point(epsilon: float, robust: NDArray[np.bool_], again: int, result: AuditResult) -> CurvePoint:
    label, count = result.verdicts.label, len(result.classes)
    n, correct = np.bincount(label, minlength=count), np.bincount(label[robust], minlength=count)
    return CurvePoint(
        epsilon=epsilon, accuracies=estimates(n, correct, result.classes, level=result.level), robust_again=again
    )


def _folder_name(epsilon: float) -> str:
    """A radius as part of a folder's name: `8-255`, or a decimal."""
    return epsilon_text(epsilon).replace("/", "-")


def _csv(found: AccuracyCurve) -> str:
    """A line per radius and statistic; values are fractions, `of` names the class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["norm", "epsilon", "figure", "of", "n", "correct", "value", "low", "high"])
    for point in found.points:
        accuracies, start = point.accuracies, (found.norm, point.epsilon)
        for name, entry, of in (
            ("average", accuracies.average, ""),
            ("balanced", accuracies.balanced, ""),
            ("worst", accuracies.worst, accuracies.worst.name),
        ):
            writer.writerow([*start, name, of, "", "", entry.value, entry.low, entry.high])
        for one in accuracies.classes:
            writer.writerow([*start, "class", one.name, one.n, one.correct, one.value, one.low, one.high])
    return text.getvalue()
