"""The settings of a repair, beside those of its fine-tune, which are the recipe's."""

from dataclasses import dataclass

from faal.errors import InputError


@dataclass(frozen=True, kw_only=True)
class RepairSettings:
    """What is tried and how the result is chosen. Accuracies and losses of accuracy are fractions.

    Raises:
        InputError: a value outside its range.
    """

    plain: bool = False
    """Whether the epochs are the only candidates, as in the paper."""
    force: bool = False
    """Whether a network is fine-tuned that has no robustness, or nothing to repair."""
    tune: bool = False
    """Whether the learning rate, tau and the batch size are chosen by short trials."""
    max_average_loss: float | None = None
    """The most robust accuracy that a candidate may lose on average; among these the best worst class is chosen. None:
    the highest average plus worst class is chosen among those that lose at most `USUAL_LOSS`."""

    USUAL_LOSS = 0.015
    CHANCE = 1.5
    """A network has no robustness where its robust accuracy is below so many times that of chance, 1 / C."""
    ALIKE = 0.05
    """There is nothing to repair where the worst class is not this far below the average."""
    CONFIDENCE = 0.8
    """The share of resamples of the images in which a candidate has to be better than the base."""

    def __post_init__(self) -> None:
        loss = self.max_average_loss
        if loss is not None and not 0 <= loss <= 1:
            raise InputError(f"--max-average-loss lies between 0 and 100 points, not {100 * loss:g}")

    @property
    def largest_loss(self) -> float:
        """The most that a candidate may lose on average."""
        return self.USUAL_LOSS if self.max_average_loss is None else self.max_average_loss
