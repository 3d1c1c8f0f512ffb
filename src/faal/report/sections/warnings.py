"""What a reader has to know before the figures: the audits' own warnings, and what keeps runs from being compared."""

from collections.abc import Mapping, Sequence

from faal.report import wording
from faal.report.files.run import Run


def cautions(runs: Sequence[Run], chosen: str) -> list[str]:
    """The audits' own warnings, each once, and what makes runs hard to compare, in sentences."""
    warned: dict[str, list[str]] = {}
    for run in runs:
        for warning in dict.fromkeys((*run.audit.warnings, *(w for curve in run.curves for w in curve.warnings))):
            warned.setdefault(warning, []).append(run.name)
    found = [f"{_who(names, len(runs))}{warning}" for warning, names in warned.items()]
    attacked = {run.name: [name for name in run.audit.attacks if name not in ("clean", "all")] for run in runs}
    for run in runs:
        if run.outdated:
            found.append(
                f"{run.name}: the audit in its folder is of another network than the best.pt that lies there now; "
                "audit that one."
            )
        if any(_other_network(dict(run.audit.made_by), dict(curve.made_by)) for curve in run.curves):
            found.append(f"{run.name}: a curve in its folder is of another network than its audit.")
    if chosen == "clean":
        run_by = "No attack was run" if not any(attacked.values()) else "No attack was run on all models"
        found.append(f"{run_by}: this page says nothing about robustness.")
    if len({frozenset(names) for names in attacked.values()}) > 1:
        told = _apart(
            {name: wording.listing(list(map(wording.attack_name, names))) for name, names in attacked.items()}
        )
        found.append(f"The models were audited under different attacks ({told}): only those of all are compared.")
    return [*found, *incomparable(runs)]


def incomparable(runs: Sequence[Run]) -> list[str]:
    """Why the runs' figures do not compare, in sentences; none where they do."""
    found = []
    if len({wording.threat(run.audit) for run in runs}) > 1:
        threats = _apart({run.name: wording.threat(run.audit) for run in runs})
        found.append(
            f"The models were attacked under different threat models ({threats}): their figures do not compare."
        )
    images = {run.audit.fingerprint for run in runs}
    if len(images) == 1 and None not in images:
        pass  # the same, whatever their data is called
    elif len({(run.audit.data, run.audit.n) for run in runs}) > 1:
        data = _apart({run.name: f"{run.audit.data}, {run.audit.n:,} images" for run in runs})
        found.append(f"The models were audited on different images ({data}): their figures do not compare.")
    elif len(images - {None}) > 1:
        found.append(
            f"The models were audited on different images, although all are called {runs[0].audit.data}: their figures "
            "do not compare."
        )
    return found


def _other_network(audit: Mapping[str, str], curve: Mapping[str, str]) -> bool:
    """Whether a curve is of another network than an audit, by the first digest that both have."""
    for key in ("model.weights", "model.digest"):
        if key in audit and key in curve:
            return audit[key] != curve[key]
    return False


def _who(names: Sequence[str], count: int) -> str:
    """Of whom a warning speaks, before it."""
    if len(names) == count:
        return "" if count == 1 else "All models: "
    return f"{wording.listing(names)}: "


def _apart(told: Mapping[str, str]) -> str:
    """What differs, with the runs of each kind: `a L∞, ε = 8/255 and b L∞, ε = 4/255`."""
    kinds: dict[str, list[str]] = {}
    for name, kind in told.items():
        kinds.setdefault(kind, []).append(name)
    return wording.listing([f"{wording.listing(names)} {kind}" for kind, names in kinds.items()])
