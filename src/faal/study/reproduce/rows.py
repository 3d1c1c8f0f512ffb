"""The rows of the paper's tables, and the record of a row that is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from faal.intermediate.class_rule import Level


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: how a network is trained, and the accuracies in the paper."""

    name: str
    """Valid in a file name and unique in its table: `faal-at`, or base--method for a fine-tune."""
    label: str
    """The label in the paper."""
    method: str
    """A row of `faal.methods.METHODS`."""
    start: str | None = None
    """The row of the same table whose network is fine-tuned; None from scratch."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that override the recipe's."""
    paper: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """The accuracies in the paper: attack -> (average, worst class) in per cent."""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """Rows that are evaluated under the same attacks; also the set of networks of a figure of the paper."""

    name: str
    """`table1`, `figure1`, ..."""
    title: str
    data: str
    """`cifar10` or `cifar100`."""
    model: str
    """The network, as abbreviated in the recipes' names: `prn18`, `wrn34-10` or `rn18`."""
    attacks: tuple[str, ...]
    """The paper's attacks, `clean` first."""
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        """The row named `name`; KeyError where there is none."""
        return {row.name: row for row in self.rows}[name]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One finished row of one seed, `results/TABLE/ROW-seedN.json` in the folder of the reproduction."""

    what: str
    """The table."""
    row: str
    """Its row."""
    seed: int
    scale: str
    """`paper`, `small` or `tiny`."""
    protocol: str
    """`honest` or `published`."""
    method: str
    epochs: int
    """Passes over the training set, without those of the base. 0 for a checkpoint that was only evaluated."""
    seconds_per_epoch: float | None
    """Mean over the epochs that this run trained; None where it trained none."""
    workers: int
    """The number of training processes in parallel on the machine; above 1, the seconds are not comparable."""
    attacks: Mapping[str, Mapping[str, Any]]
    """Attack -> {"average", "worst", "worst_class", "classes": [...]}; accuracies as fractions. With the pseudo-attack
    `all`, correct under every attack that ran."""
    n: int
    """Test images of the audit."""
    note: Sequence[str]
    """Remarks on the accuracies, one sentence each."""
    commit: str | None
    environment: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One row of table 4: the cost and the requirements of a method."""

    label: str
    method: str
    minutes: Mapping[str, float]
    """Setting (`cifar10-prn18`) -> measured minutes per epoch; empty before the measurement."""
    paper: Mapping[str, float]
    """The minutes in the paper, on one NVIDIA 3090Ti."""
    level: Level
    """How often the class weights are updated: `fixed`, `epoch` or `batch`."""
    adversary_free: bool
    """Whether it can be combined with any attack of training."""
    steers: bool
    """Whether it evaluates on withheld images while it trains."""
