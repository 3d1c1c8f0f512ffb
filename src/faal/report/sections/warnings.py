"""Warnings at the top of the page: those of the audits, and the reasons why runs cannot be compared."""

from collections.abc import Mapping, Sequence

from faal.report import wording
from faal.report.files.run import RunFiles


def run_warnings(runs: Sequence[RunFiles], chosen: str) -> list[str]:
    """The distinct warnings of the audits, and the limits of the comparison, as sentences."""
    named: dict[str, list[str]] = {}
    for run in runs:
        for warning in dict.fromkeys((*run.audit.warnings, *(w for curve in run.curves for w in curve.warnings))):
            named.setdefault(warning, []).append(run.name)
    found = [f"{_subject(names, len(runs))}{warning}" for warning, names in named.items()]
    attacked = {run.name: [name for name in run.audit.attacks if name not in ("clean", "all")] for run in runs}
    for run in runs:
        if run.outdated:
            found.append(
                f"{run.name}: the audit in its folder is of a different network than its best.pt; audit best.pt again."
            )
        if any(_other_network(dict(run.audit.settings), dict(curve.settings)) for curve in run.curves):
            found.append(f"{run.name}: a curve in its folder is of a different network than its audit.")
    if chosen == "clean":
        reason = "No attack was run" if not any(attacked.values()) else "No attack was run on all models"
        found.append(f"{reason}: this report has no robust accuracy.")
    if len({frozenset(names) for names in attacked.values()}) > 1:
        attacks = _grouped(
            {name: wording.listing(list(map(wording.attack_name, names))) for name, names in attacked.items()}
        )
        found.append(
            f"The models were audited under different attacks ({attacks}): only attacks that all have in common are "
            "compared."
        )
    return [*found, *incomparable(runs)]


def incomparable(runs: Sequence[RunFiles]) -> list[str]:
    """Sentences on why the runs' accuracies cannot be compared; none if they can."""
    found = []
    if len({wording.threat(run.audit) for run in runs}) > 1:
        threats = _grouped({run.name: wording.threat(run.audit) for run in runs})
        found.append(
            f"The models were attacked under different threat models ({threats}): their accuracies cannot be compared."
        )
    images = {run.audit.fingerprint for run in runs}
    if len(images) == 1 and None not in images:
        pass  # the same images, for any name of the data
    elif len({(run.audit.data, run.audit.n) for run in runs}) > 1:
        data = _grouped({run.name: f"{run.audit.data}, {run.audit.n:,} images" for run in runs})
        found.append(f"The models were audited on different images ({data}): their accuracies cannot be compared.")
    elif len(images - {None}) > 1:
        found.append(
            f"The models were audited on different images, although all data is named {runs[0].audit.data}: their "
            "accuracies cannot be compared."
        )
    return found


def _other_network(audit: Mapping[str, str], curve: Mapping[str, str]) -> bool:
    """Whether a curve is of a different network than an audit, by the first common digest."""
    for key in ("model.weights", "model.digest"):
        if key in audit and key in curve:
            return audit[key] != curve[key]
    return False


def _subject(names: Sequence[str], count: int) -> str:
    """The models of a warning, as its prefix."""
    if len(names) == count:
        return "" if count == 1 else "All models: "
    return f"{wording.listing(names)}: "


def _grouped(values: Mapping[str, str]) -> str:
    """The different values with the runs of each: `a: L∞, ε = 8/255; b: L∞, ε = 4/255`."""
    runs: dict[str, list[str]] = {}
    for name, value in values.items():
        runs.setdefault(value, []).append(name)
    return "; ".join(f"{wording.listing(names)}: {value}" for value, names in runs.items())
