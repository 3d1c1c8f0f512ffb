"""The result of a finished run: from the run itself, or from its files if the same command is run again."""

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
    """Offsets, and the robust accuracies with them."""

    offsets: tuple[float, ...]
    """C numbers, in units of the logits."""
    accuracy: HeldOutAccuracy
    """By class, or by group if the images have groups; used for the score."""
    by_class: HeldOutAccuracy
    """By class; used for the next step."""


@dataclass(frozen=True, kw_only=True)
class OffsetSearch:
    """The result of a search."""

    before: OffsetEvaluation
    """The evaluation of the initial offsets."""
    after: OffsetEvaluation
    """The best evaluation; `before` if no offsets improve the score by at least one image."""
    images: int
    """The number of images attacked in each evaluation."""
    rule: ScoreRule
    """The name of the score in `selection.RULES`."""

    @property
    def gain(self) -> float:
        """The increase of the score, as a fraction."""
        return RULES[self.rule](self.after.accuracy) - RULES[self.rule](self.before.accuracy)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of a finished run."""

    best: Path
    """best.pt: the chosen epoch's weights (the last epoch's where nothing was held out)."""
    epoch: int | None
    """The epoch that was chosen, from 0; None where the method trains nothing."""
    offsets: OffsetSearch | None
    """The result of the search for offsets, if there was one; best.pt contains them."""
    note: str | None
    """Caveats for the interpretation of the results, in sentences."""


def recorded_outcome(out: Path, *, position: int, images: int, rule: ScoreRule) -> Outcome | None:
    """The outcome of a finished run with a search for offsets, without another search.

    On another device a search may result in other offsets, and an earlier audit would be that of another network.

    Args:
        out: the run's folder.
        position: size of its log in bytes at the end of training.
        images: number of images on which the offsets are chosen.
        rule: the score by which they are chosen.

    Returns:
        The same on every process; None if the log does not end with the event `end`, or best.pt does not have offsets
        of the log: the search must then be run.
    """
    found = _recorded(out, position=position, images=images, rule=rule) if processes.is_main() else None
    outcome: Outcome | None = processes.gather_objects(found)[0]
    return outcome


def _recorded(out: Path, *, position: int, images: int, rule: ScoreRule) -> Outcome | None:
    try:
        rows = [parse_json(line) for line in (out / LOG).read_bytes()[position:].splitlines()]
        if rows[-1]["event"] != "end":
            return None
        evaluations = [_evaluation(row) for row in rows if row["event"] == "offsets"]
        best = checkpoint.load(out / "best.pt")
        chosen = tuple(best["weights"][OFFSETS].tolist())
        return Outcome(
            best=out / "best.pt",
            epoch=best["epoch"],
            offsets=OffsetSearch(
                before=evaluations[0],
                after=next(evaluation for evaluation in evaluations if evaluation.offsets == chosen),
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
