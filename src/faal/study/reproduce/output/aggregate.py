"""The statistics of a row over its seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from faal.report.wording import NBSP
from faal.study.reproduce.output.formats import MISSING
from faal.study.reproduce.rows import Record, Row


@dataclass(frozen=True)
class SeedStatistics:
    """Mean and standard deviation of a value over seeds."""

    values: Sequence[float]

    @property
    def mean(self) -> float | None:
        """The mean; None without a value."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation with n - 1; None of fewer than two values."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    def text(self, digits: int = 1) -> str:
        """`54.0 ± 0.4` without a line break, `54.0` for one seed, a dash for none."""
        if self.mean is None:
            return MISSING
        return f"{self.mean:.{digits}f}" + (
            "" if self.deviation is None else f"{NBSP}±{NBSP}{self.deviation:.{digits}f}"
        )


@dataclass(frozen=True)
class RowSummary:
    """A row with the records of its seeds."""

    row: Row
    records: Sequence[Record]

    def accuracy(self, attack: str, field: str) -> SeedStatistics:
        """`average` or `worst` under an attack, in per cent."""
        found = (record.attacks[attack][field] for record in self.records if attack in record.attacks)
        return SeedStatistics([100 * value for value in found if value is not None])

    @property
    def seconds(self) -> SeedStatistics:
        """Seconds per epoch of the runs that trained."""
        return SeedStatistics([r.seconds_per_epoch for r in self.records if r.seconds_per_epoch is not None])

    @property
    def epochs(self) -> str:
        """Epochs of training, usually one number."""
        return ", ".join(dict.fromkeys(str(record.epochs) for record in self.records)) or MISSING

    @property
    def is_published(self) -> bool:
        """Whether it is a published checkpoint, which is audited only once for any number of seeds."""
        return bool(self.records) and all(record.epochs == 0 for record in self.records)

    def progress(self, requested: int) -> str:
        """The number of requested seeds that are finished."""
        if self.is_published:
            return "published checkpoint"
        return f"{len(self.records)} of {requested} seed{'s' * (requested != 1)}".replace(" ", NBSP)
