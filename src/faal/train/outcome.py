"""The result of a finished run: from the run itself, or from its files where the same command is given again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faal import checkpoint
from faal.bounds.plain import parse_json
from faal.config.choices import ScoreRule
from faal.engine import processes
from faal.errors import InputError
from faal.models.native import LOG
from faal.models.offsets import OFFSETS
from faal.train.selection import RULES, HeldOutAccuracy


@dataclass(frozen=True, kw_only=True)
class OffsetEvaluation:
    """Offsets that were tried, and their robust accuracies."""

    offsets: tuple[float, ...]
    """C numbers, in units of the logits."""
    accuracy: HeldOutAccuracy
    """Of the classes, or of the groups where the images have any: what is scored."""
    by_class: HeldOutAccuracy
    """Of the classes: what the next step follows from."""


@dataclass(frozen=True, kw_only=True)
class OffsetSearch:
    """The result of a search."""

    before: OffsetEvaluation
    """With the initial offsets."""
    after: OffsetEvaluation
    """The best; `before` itself if no offsets improve the score by at least one image."""
    images: int
    """How many were attacked at each evaluation."""
    rule: ScoreRule
    """The name of the score in `selection.RULES`."""

    @property
    def gain(self) -> float:
        """By how much the score rose; a fraction."""
        return RULES[self.rule](self.after.accuracy) - RULES[self.rule](self.before.accuracy)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a finished run."""

    best: Path
    """best.pt: the chosen epoch's weights (the last epoch's where nothing was held out)."""
    epoch: int | None
    """The epoch that was chosen, from 0; None where the method trains nothing."""
    offsets: OffsetSearch | None
    """The result of the search for offsets, where there was one: best.pt has them."""
    note: str | None
    """Caveats for the interpretation of the results, in sentences."""


def recorded_outcome(out: Path, *, position: int, images: int, rule: ScoreRule) -> Outcome | None:
    """The outcome of a finished run with a search for offsets, without another search.

    On another device a search may end with other offsets, and an audit of best.pt would be one of another network.

    Args:
        out: the run's folder.
        position: size of its log in bytes at the end of training.
        images: number of images on which the offsets are chosen.
        rule: the score by which they are chosen.

    Returns:
        The same on every process; None where the log does not end with the run's end, or best.pt does not have offsets
        that the log lists: the search is to be run.
    """
    found = _recorded(out, position=position, images=images, rule=rule) if processes.is_main() else None
    outcome: Outcome | None = processes.gather_objects(found)[0]
    return outcome


def _recorded(out: Path, *, position: int, images: int, rule: ScoreRule) -> Outcome | None:
    try:
        rows = [parse_json(line) for line in (out / LOG).read_bytes()[position:].splitlines()]
        if rows[-1]["event"] != "end":
            return None
        tried = [_evaluation(row) for row in rows if row["event"] == "offsets"]
        best = checkpoint.load(out / "best.pt")
        chosen = tuple(best["weights"][OFFSETS].tolist())
        return Outcome(
            best=out / "best.pt",
            epoch=best["epoch"],
            offsets=OffsetSearch(
                before=tried[0],
                after=next(evaluation for evaluation in tried if evaluation.offsets == chosen),
                images=images,
                rule=rule,
            ),
            note=". ".join(rows[-1]["notes"]) or None,
        )
    except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None


def _evaluation(row: dict[str, Any]) -> OffsetEvaluation:
    return OffsetEvaluation(
        offsets=tuple(row["offsets"]),
        accuracy=HeldOutAccuracy(**row["accuracy"]),
        by_class=HeldOutAccuracy(**row["by_class"]),
    )
