"""FAAL: the worst class distribution of each batch, within a KL ball around uniform (Eqs. 6 and 7)."""

from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faal.arguments import real, truth_value, whole_number
from faal.config import Recipe, Schedule, epoch_of
from faal.config.choices import StatisticName
from faal.engine.ordinary import ordinary_modes
from faal.errors import InputError, described, one_of
from faal.intermediate.balls.newton import may_evaluate
from faal.intermediate.class_rule import ClassRule, EpochStats, TermWeights, settings_of
from faal.intermediate.class_stats import BatchStats, Need, batch_stats
from faal.intermediate.kldro import RADIUS, BallName, check_ball, worst_distribution
from faal.tensors import dense

MAX_CLASSES = 2**24
"""Up to this number float32, in which statistics are summed, counts exactly."""

Labels = Tensor | NDArray[np.integer[Any]]

DECAY = "the decay of a moving average, a number of at least 0 and below 1"


class FAAL(ClassRule):
    """Phase 2 as a class rule, and as three lines in any training loop.

    The weights are the worst class distribution of the batch, Eqs. 6 and 7 of Zhang et al., CVPR 2024. `logits` are the
    network's on the adversarial examples.

    There is no synchronisation with the device. So a loss or a logit that is not finite is not an error: as with a
    plain mean, the loss of its batch is not finite either, and `GradScaler` or the loop may skip the step. Later
    batches are
    unaffected: moving averages exclude it.

    Args:
        num_classes: C, or the number of groups.
        tau: radius of the KL ball; 0 is plain adversarial training. A number, or a schedule over the run.
        frequencies: (C,) shares or counts of the classes in the training set; None when they are equal. A sample
            has the weight w_c / pi_c, so that a rare class contributes by its weight in Eq. 6 and not by its size.
        smoothing: in [0, 1): the class statistics are a moving average over batches with this decay, an absent class
            at its last value. 0 is the paper: only the current batch, without absent classes.
        statistic: the class statistic that the worst distribution maximises: `margin` (the paper) or `cross-entropy`
            (its ablation).
        counted: as in the published code: a class's statistic is multiplied by its samples in the batch, so that an
            absent class is included with 0; a sample has the weight C w_c.
        ball: the ball's divergence (see `solve_kldro`); `kl` is the paper's.

    Raises:
        InputError: a number out of its range, an unknown statistic or ball, frequencies that are not one positive
            number per class, or an argument of another type.

    Example:
        >>> import torch, faal
        >>> from torch.nn.functional import cross_entropy
        >>> rule = faal.FAAL(num_classes=3, tau=0.5)
        >>> logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.5], [1.0, 0.0, 0.2]], requires_grad=True)
        >>> labels = torch.tensor([0, 1, 2])
        >>> per_sample = cross_entropy(logits, labels, reduction="none")
        >>> loss = rule(per_sample, logits, labels)
        >>> loss.backward()
        >>> bool(loss > per_sample.mean())  # the last class, which is misclassified, has the largest weight
        True
    """

    level = "batch"
    any_groups = True
    STATE = ("tau", "average")

    @ordinary_modes()
    def __init__(
        self,
        num_classes: int,
        tau: float | Schedule = 0.5,
        frequencies: Tensor | None = None,
        smoothing: float = 0.0,
        *,
        statistic: StatisticName = "margin",
        counted: bool = False,
        ball: BallName = "kl",
    ) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=1, most=MAX_CLASSES)
        self.smoothing = real("smoothing", smoothing, DECAY)
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing is {DECAY}, not {smoothing}")
        self.counted = truth_value("counted", counted)
        if counted and smoothing > 0:
            raise InputError("counted uses only the current batch, as published: leave smoothing at 0")
        self.schedule = tau if isinstance(tau, Schedule) else Schedule.constant(real("tau", tau, RADIUS))
        check_ball(ball, *self.schedule.values)
        self.ball, self.tau = ball, self.schedule.at(0.0)
        self.statistic = Need(one_of("statistic", statistic, get_args(StatisticName)))
        self.needs = frozenset({self.statistic})
        sizes = torch.ones(self.num_classes) if frequencies is None else self._sizes(frequencies)
        # In units of the largest, so that equal classes, and all weights at tau = 0, are exactly 1.
        self.sizes = sizes.double() / sizes.double().max()
        self.average = torch.zeros(self.num_classes)
        self.observed = torch.zeros(self.num_classes, dtype=torch.bool)

    def _sizes(self, frequencies: object) -> Tensor:
        """(C,) the frequencies, checked."""
        what = f"{self.num_classes} positive numbers, one per class"
        try:
            sizes = dense("frequencies", torch.as_tensor(frequencies), what).double()
        except (TypeError, ValueError, RuntimeError):
            raise InputError(f"frequencies are {what}, not {described(frequencies)}") from None
        if sizes.is_meta or sizes.shape != (self.num_classes,) or not bool(((sizes > 0) & sizes.isfinite()).all()):
            raise InputError(f"frequencies are {what}, not {frequencies}")
        return sizes

    @classmethod
    def from_recipe(cls, recipe: Recipe, counts: Tensor, **fixed: Any) -> Self:
        """The rule of a recipe; `counts` (C,) are the class sizes of the training set."""
        return cls(len(counts), frequencies=counts, **fixed, **settings_of(cls, recipe, fixed))

    def first_epoch(self, epochs: int) -> int:
        """The first epoch with a tau above 0; epoch 0 where classes are unequal or statistics are averaged."""
        if self.smoothing > 0 or not bool((self.sizes == 1).all()):
            return 0
        pairs = zip(self.schedule.starts, self.schedule.values, strict=True)
        active_epochs = [epoch_of(start, epochs) for start, tau in pairs if tau > 0]
        return min(active_epochs, default=epochs)

    def begin_epoch(self, stats: EpochStats) -> None:
        """Set this epoch's tau from the schedule."""
        self.tau = self.schedule.at(stats.progress)

    def weigh(self, batch: BatchStats) -> TermWeights:
        """C w_c on balanced classes, w_c / pi_c in general; the same for both terms."""
        if self.counted:
            worst = worst_distribution((batch.mean(self.statistic) * batch.counts).double(), self.tau, ball=self.ball)
            weights = (self.num_classes * worst).float()
            return TermWeights(clean=weights, robust=weights)
        means, known = self._class_means(batch)
        present = known.double()
        worst = worst_distribution(means.double(), self.tau, reference=present / present.sum(), ball=self.ball)
        self.sizes = self.sizes.to(worst.device)  # copies once
        sizes = self.sizes * present
        # The weight of an absent class is 0 / 0 and not used; 0 avoids NaN in the log.
        share = sizes / sizes.sum()
        weights = torch.where(known, worst / share, 0.0).float()
        return TermWeights(clean=weights, robust=weights)

    def _class_means(self, batch: BatchStats) -> tuple[Tensor, Tensor]:
        """(C,) class statistics, and (C,) bool, whether that of a class is known."""
        means, present = batch.mean(self.statistic), batch.present
        if self.smoothing == 0:
            return means, present
        old, observed = self.average.to(means.device), self.observed.to(means.device)
        updated = torch.where(observed, self.smoothing * old + (1 - self.smoothing) * means, means)
        fresh = present & means.isfinite()  # a NaN would remain in the average
        self.average, self.observed = torch.where(fresh, updated, old), observed | fresh
        return self.average, self.observed

    def state_dict(self) -> dict[str, Any]:
        """The state for a resumed run; in checkpoints the key of `observed` is `seen`."""
        return super().state_dict() | {"seen": self.observed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state`, on the device of the rule."""
        super().load_state_dict(state)
        self.observed = state["seen"].to(self.observed.device)

    def __call__(self, per_sample_loss: Tensor, logits: Tensor, labels: Labels, groups: Labels | None = None) -> Tensor:
        """The reweighted loss of one batch (Algorithm 1, lines 10 to 14).

        Args:
            per_sample_loss: (B,) the loss to minimise.
            logits: (B, C) on the adversarial examples; no gradient flows into them.
            labels: (B,) whole numbers of any width, also as a NumPy array.
            groups: (B,) whole numbers below `num_classes`, for fairness between groups other than the labels.

        Returns:
            scalar, differentiable with respect to `per_sample_loss` only.

        Raises:
            InputError: the loss is reduced already, or a type, shape or device does not fit; on a CPU also a label or a
                group out of range. On other devices, where the check would synchronise, such a label raises the
                device's error.
        """
        dense("the loss", per_sample_loss, "a float tensor of shape (B,), one per sample", floats=True)
        dense("logits", logits, "a float tensor of shape (B, C)", floats=True)
        labels = _numbers("labels", labels, logits.device)
        if per_sample_loss.shape != labels.shape or labels.dim() != 1:
            raise InputError(
                f"the loss is of shape {tuple(labels.shape)}, one per sample, not {tuple(per_sample_loss.shape)}: "
                'compute it with reduction="none"'
            )
        if logits.dim() != 2 or len(logits) != len(labels) or logits.shape[1] < 2:
            raise InputError(
                f"logits are of shape (B, C) with B = {len(labels)} and C of at least 2, not {tuple(logits.shape)}"
            )
        if not per_sample_loss.device == logits.device == labels.device:
            raise InputError(
                f"the loss is on {per_sample_loss.device}, the logits on {logits.device} and the labels on "
                f"{labels.device}; move them to one device"
            )
        _require_range("label", labels, logits.shape[1], "outputs")
        classes = labels
        if groups is not None:
            classes = _numbers("groups", groups, logits.device)
            if classes.shape != labels.shape or classes.device != labels.device:
                raise InputError(
                    f"groups are one number per sample, of shape {tuple(labels.shape)} on {labels.device}, not "
                    f"{tuple(classes.shape)} on {classes.device}"
                )
        _require_range("label" if groups is None else "group", classes, self.num_classes, "classes of the rule")
        weights = self.weigh(batch_stats(logits.detach(), labels, classes, self.num_classes, self.needs))
        return weights.reduce(None, per_sample_loss, classes)


def _numbers(name: str, values: Labels, device: torch.device) -> Tensor:
    """Classes or groups as int64; those of an array on the device, where a tensor has its own."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        values = torch.from_numpy(values.astype(np.int64)).to(device)
    return dense(name, values, "a tensor of shape (B,) of whole numbers", integers=True).long()


def _require_range(kind: str, numbers: Tensor, count: int, what: str) -> None:
    """Check that numbers (B,) of classes or groups are below `count`, if reading them needs no synchronisation."""
    if not may_evaluate(numbers):
        return
    outside = (numbers < 0) | (numbers >= count)
    if outside.any():
        i = int(outside.int().argmax())
        raise InputError(
            f"sample {i} of the batch has the {kind} {int(numbers[i])}, out of range: the {count} {what} are "
            f"0 to {count - 1}; exclude samples without a class from the batch"
        )
