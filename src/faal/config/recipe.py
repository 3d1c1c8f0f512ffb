"""A recipe: every setting of a training run, as one frozen dataclass, read from and written to YAML."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from faal.config.choices import LossName, NormName, Precision, ScoreRule, StartName, StatisticName
from faal.config.schedule import Schedule, boolean, number
from faal.config.threat import MAX_EPSILON, Threat
from faal.errors import InputError, unknown


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a training run. Each field can be set in a YAML file and on the command line.

    Raises:
        InputError: a value that is not permitted; the message names the setting.
    """

    method: str = _setting("pgd-at", "The training method, a row of `faal methods`.")
    model: str = _setting(
        "prn18",
        "The network: prn18 or one of its forms (prn18:preact-shortcut and others), rn18, rn20, wrn28-10, wrn34-10, "
        "wrn34-20, small, timm:NAME, or, only on the command line, a module:function.",
    )
    width: int | None = _setting(
        None, "Channels of the first stage (wrn: widening factor); the model's default if unset."
    )
    depth: int | None = _setting(None, "Depth of the network; the model's default if unset.")
    normalize: str = _setting(
        "none", "Normalisation inside the network: none, cifar10, cifar100, MEAN:STD, MEAN:STD:bgr."
    )

    epochs: int = _setting(200, "Passes over the training set.")
    batch_size: int = _setting(128, "Images per step, over all processes.")
    lr: Schedule = _setting(Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001)), "Learning rate of SGD over the run.")
    momentum: float = _setting(0.9, "Momentum of SGD.")
    nesterov: bool = _setting(False, "Nesterov momentum.")
    weight_decay: float = _setting(5e-4, "L2 penalty in SGD.")

    limit: int | None = _setting(
        None, "Images to train on, drawn with the seed, class by class, in addition to the withheld ones; all if unset."
    )
    crop: int = _setting(4, "Random crop: pixels of zero padding on each side; 0 for none.")
    flip: bool = _setting(True, "Random horizontal flip.")

    norm: NormName = _setting("linf", "The norm of the ball that attacks are limited to: linf or l2.")
    epsilon: float = _setting(8 / 255, "Radius of the ball, in units of images in [0, 1], such as 8/255.")
    step_size: float = _setting(2 / 255, "Length of one attack step, in the same units.")
    steps: int = _setting(10, "Attack steps in training.")

    beta: float = _setting(6.0, "Weight of the robust term of TRADES, MART and methods based on them.")
    tau: Schedule = _setting(Schedule.constant(0.5), "FAAL: radius of the ball around uniform, over the run.")
    smoothing: float = _setting(0.0, "FAAL: decay of a moving average of the class statistics; 0 in the paper.")
    statistic: StatisticName = _setting(
        "margin", "FAAL: the class statistic that determines the weights, margin or cross-entropy."
    )
    constants: Mapping[str, Any] = field(
        default_factory=dict,
        metadata={"help": "The method's own constants (`faal methods NAME`), such as 'lambda1=0.5 lambda2=0.4'."},
    )
    awp_gamma: Schedule = _setting(Schedule.constant(0.005), "AWP: size of the perturbation over the run.")

    average: Literal["none", "step", "epoch", "gated"] = _setting(
        "none", "Moving average of the weights: none, step, epoch, or gated (epochs that pass average_gate)."
    )
    average_decay: float | None = _setting(
        None, "Its decay per update; if unset, 0.999 for updates by step, 0.88 for updates by epoch."
    )
    average_span: float | None = _setting(None, "Instead of the decay: the fraction of the run that the average spans.")
    average_from: float = _setting(0.0, "The fraction of the run after which averaging begins.")
    average_gate: float | None = _setting(
        None, "Worst-class accuracy that `gated` requires of an epoch; if unset, that of its first epoch."
    )

    hold_out: Literal["select", "both", "none"] = _setting(
        "select",
        "Training images withheld: select (4 % to choose the epoch on; 4 % more if the method evaluates on some while "
        "it trains), both (always both parts) or none.",
    )
    select: Literal[ScoreRule, "last"] = _setting(
        "sum", "How the best epoch is chosen: sum (average + worst), average, worst (class), last."
    )
    select_attack: str = _setting("cw10", "The attack under which it is chosen, on the withheld images.")
    offsets: bool = _setting(False, "Add a constant per class to the best epoch's logits, chosen on the same images.")

    attack_loss: Literal["own", LossName, "alternate"] = _setting(
        "own", "The loss that phase 1 maximises: the method's own, ce, kl, cw, or alternate (own and cw, step by step)."
    )
    attack_start: Literal["own", StartName] = _setting(
        "own", "The start of phase 1: the method's own, or uniform, gaussian or zero."
    )
    attack_mode: Literal["eval", "train"] = _setting(
        "eval", "The network's mode in phase 1: eval, or train (some published code)."
    )
    counted: bool = _setting(False, "FAAL as published: classes weighted by their count in the batch, absent ones 0.")
    extra_clean_forward: bool = _setting(
        False, "As published: an additional clean forward per step, which updates BatchNorm's statistics."
    )
    select_on: Literal["held-out", "test"] = _setting(
        "held-out", "The images the epoch is chosen on: held-out, or test (as published; biases the test)."
    )

    sync_batchnorm: bool = _setting(False, "BatchNorm over all processes' samples; on GPUs only.")
    precision: Precision = _setting(
        "auto", "Arithmetic of training: float32, bf16, or auto (bf16 where that is faster)."
    )
    compile: Literal["auto", "on", "off"] = _setting(
        "auto", "Compile the network, and on GPUs run the attack as one graph: on, off, or auto (off at present)."
    )
    log_every: int = _setting(20, "Steps between writes of metrics.jsonl; every step is logged.")
    checkpoint_every: float = _setting(300.0, "Seconds between checkpoints within an epoch; each epoch ends with one.")

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        ranges = {
            "epochs": (1, math.inf),
            "batch_size": (2, math.inf),
            "momentum": (0, 1),
            "weight_decay": (0, math.inf),
            "limit": (1, math.inf),
            "crop": (0, 64),
            "step_size": (0, MAX_EPSILON[self.threat.norm]),
            "steps": (0, math.inf),
            "beta": (0, math.inf),
            "smoothing": (0, 0.999999),
            "average_decay": (0, 1),
            "average_from": (0, 1),
            "average_span": (0, 1),
            "log_every": (1, math.inf),
            "checkpoint_every": (0, math.inf),
        }
        for name, (low, high) in ranges.items():
            if getattr(self, name) is not None and not low <= getattr(self, name) <= high:
                allowed_range = f"is at least {low:g}" if high == math.inf else f"is between {low:g} and {high:g}"
                raise InputError(f"{name} {allowed_range}, not {getattr(self, name):g}")
        if self.nesterov and self.momentum == 0:
            raise InputError("nesterov needs a momentum above 0; set one, or nesterov to false")
        if not re.fullmatch(r"(pgd|cw)[1-9]\d{0,4}", self.select_attack):
            raise InputError(f"select_attack is pgdK or cwK, of K steps, such as cw10, not {self.select_attack!r}")
        for name in ("lr", "tau", "awp_gamma"):
            if min(getattr(self, name).values) < 0:
                raise InputError(f"{name} is never negative, but the recipe has {getattr(self, name).plain()}")

    @property
    def threat(self) -> Threat:
        """Norm and radius of the attacks in training."""
        return Threat(self.norm, self.epsilon)

    @property
    def averaging_starts(self) -> float:
        """The fraction of the run after which weights are averaged: with a relative gate, lr's first decay."""
        if self.average != "gated" or self.average_gate is not None:
            return self.average_from
        changes = zip(self.lr.starts[1:], self.lr.values[1:], self.lr.values[:-1], strict=True)
        decays = [start for start, after, before in changes if after < before]
        return max(self.average_from, min(decays, default=1.0))

    def averaging_decay(self, steps: int) -> float:
        """The decay of the average per update, computed from `average_span` where that is set.

        Args:
            steps: steps per epoch: the updates of an average over steps in an epoch; the others have one.
        """
        if self.average_span is None:
            default = 0.999 if self.average == "step" else 0.88
            return default if self.average_decay is None else self.average_decay
        updates = self.epochs * (steps if self.average == "step" else 1)
        return 1 - 1 / max(1.0, self.average_span * updates)

    def plain(self) -> dict[str, Any]:
        """The settings as plain numbers and strings, for YAML and checkpoints."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value.plain() if isinstance(value, Schedule) else value for name, value in values.items()}

    def replace(self, settings: Mapping[str, Any], *, source: str) -> Recipe:
        """This recipe with other settings, read from text where they are text.

        Args:
            settings: field names (dashes are read as underscores) to values. `constants` are added to the recipe's.
            source: the file or command that they are from, for messages.

        Raises:
            InputError: an unknown field (names the nearest), or a value that is not valid.
        """
        known = {f.name: f for f in fields(self)}
        values: dict[str, Any] = {}
        for key, value in settings.items():
            name = str(key).replace("-", "_")
            if name not in known:
                raise unknown(f"setting ({source})", str(key), known, see="`faal recipes --settings`")
            if name in values:
                raise InputError(
                    f"{source}: {name} is given twice, with a dash and with an underscore; keep one of them"
                )
            values[name] = _read(known[name], value, source)
        if "constants" in values:
            values["constants"] = {**self.constants, **values["constants"]}
        try:
            return dataclasses.replace(self, **values)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None


CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(kind) for name, kind in get_type_hints(Recipe).items() if get_origin(kind) is Literal
}
"""Setting -> its values, for those with fixed ones."""


def _read(item: dataclasses.Field[Any], value: Any, source: str) -> Any:
    """A setting's value in the type of its field."""
    kind = str(item.type)
    try:
        if kind == "Schedule":
            return Schedule.parse(value)
        if kind.startswith("Mapping"):
            return _pairs(value)
        if value is None or (isinstance(value, str) and value.lower() == "none" and "None" in kind):
            if "None" in kind:
                return None
            if value is None:
                raise ValueError("a value is missing")
        if kind == "bool":
            return boolean(value)
        if kind.startswith("int"):
            if number(value) != int(number(value)):
                raise ValueError("expected a whole number")
            return int(number(value))
        if kind.startswith("float"):
            return number(value)
        return str(value)
    except (ValueError, ZeroDivisionError, TypeError) as error:
        why = f" ({error})" if isinstance(error, InputError) else ""  # a schedule's error names the fault
        expected = {"Schedule": "a number or a schedule such as 0:0.1,1/2:0.01", "bool": "true or false"}
        expected |= {"float": "a number such as 0.5 or 8/255", "str": "a text"}
        expected |= {
            "float | None": expected["float"],
            "Mapping[str, Any]": "a list of pairs such as 'lambda1=0.5 rate=0.1'",
        }
        if item.name in CHOICES:
            expected[kind] = f"one of {', '.join(CHOICES[item.name])}"
        raise InputError(
            f"{source}: {item.name} is {expected.get(kind, 'a whole number')}{why}, not {value!r}"
        ) from None


def _pairs(value: Any) -> dict[str, Any]:
    """`name=value name=value` or a mapping, as a mapping."""
    pairs: list[Any]
    if isinstance(value, str):
        pairs = [pair.split("=", 1) for pair in value.split()]
    elif isinstance(value, Mapping):
        pairs = list(value.items())
    else:
        raise ValueError("expected pairs")
    read = {}
    for name, each in pairs:
        key = str(name).replace("-", "_")
        if key in read:
            raise InputError(f"{key} is given twice")
        read[key] = _plain(each)
    return read


def _plain(value: Any) -> Any:
    """A value as YAML would read it, so that the command line and a file define the same recipe."""
    if str(value).lower() in ("true", "false"):
        return boolean(value)
    with suppress(ValueError, TypeError):
        return int(value) if isinstance(value, str) else value
    with suppress(ValueError, ZeroDivisionError):
        return number(value)
    return value
