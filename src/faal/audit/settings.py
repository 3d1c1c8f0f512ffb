"""The settings of an audit, and its context: the information on model and data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from numpy.typing import ArrayLike
from torch import Tensor

from faal.arguments import real, whole_number
from faal.audit.attacks.backend import EngineName, engine_named
from faal.audit.attacks.protocol import Attack
from faal.audit.attacks.registry import attacks_named
from faal.audit.blocks import Progress, Source
from faal.config import Threat, parse_epsilon
from faal.config.choices import NormName
from faal.data import Grouping
from faal.errors import InputError

LEVEL = "the nominal coverage of the intervals, a fraction between 0 and 1 such as 0.95"

ATTACKS = ("clean", "pgd20", "cw20")
"""The default attacks of an audit."""


class _Fields(TypedDict, total=False):
    seed: int
    block_size: int
    batch_size: int | None
    limit: int | None
    level: float
    engine: EngineName


class SettingsArguments(_Fields, total=False):
    """The keyword arguments of `faal.audit` for its settings; missing ones have the defaults."""

    attacks: str | Iterable[str]
    epsilon: float | str
    norm: NormName


@dataclass(frozen=True, kw_only=True)
class AuditSettings:
    """The settings of an audit.

    Attributes:
        attacks: the attacks in order, without `clean`, which is always first.
        threat: the ball that bounds them.
        seed: the only source of randomness.
        block_size: samples per block.
        batch_size: images per forward; None uses a full block, or a part of it if memory requires.
        limit: audit only this many samples, drawn with `seed`; None uses all.
        level: nominal coverage of the intervals.
        engine: the backend that attacks run on, `fast` or `reference`.

    Raises:
        InputError: a value out of its range, or an engine that does not exist.
    """

    attacks: tuple[Attack, ...] = attacks_named(ATTACKS)
    threat: Threat = field(default_factory=Threat)
    seed: int = 0
    block_size: int = 250
    batch_size: int | None = None
    limit: int | None = None
    level: float = 0.95
    engine: EngineName = "fast"

    def __post_init__(self) -> None:
        level = real("level", self.level, LEVEL)
        if not 0 < level < 1:
            raise InputError(f"level is {LEVEL}, not {level:g}")
        engine_named(self.engine)
        plain = {  # plain Python types, since they are written to JSON
            "seed": whole_number("seed", self.seed),
            "block_size": whole_number("block_size", self.block_size, least=1),
            "batch_size": None if self.batch_size is None else whole_number("batch_size", self.batch_size, least=1),
            "limit": None if self.limit is None else whole_number("limit", self.limit, least=1),
            "level": level,
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(
        cls,
        *,
        attacks: str | Iterable[str] = ATTACKS,
        epsilon: float | str = Threat.epsilon,
        norm: NormName = Threat.norm,
        **fields: Unpack[_Fields],
    ) -> Self:
        """The settings of the keyword arguments of `faal.audit`.

        Raises:
            InputError: an attack, norm or engine that does not exist, or a value out of its range.
        """
        return cls(threat=Threat(norm, parse_epsilon(epsilon)), attacks=attacks_named(attacks), **fields)


@dataclass(frozen=True, kw_only=True)
class AuditContext:
    """The information on model and data of an audit, and the folder of its result. No verdict depends on it.

    The attributes are the arguments of `faal.audit` of the same names; here all are optional.
    """

    classes: Sequence[str] | None = None
    groups: Mapping[str, Sequence[object]] | Iterable[Grouping] = ()
    out: Path | str | None = None
    model_record: Mapping[str, Any] | None = None
    data_record: Mapping[str, Any] | None = None
    trained: Mapping[str, Any] | None = None
    train_images: Tensor | ArrayLike | Source | None = None
    notes: Sequence[str] = ()
    progress: Progress | None = None
