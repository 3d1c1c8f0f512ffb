"""When a run writes a checkpoint within an epoch, and when a signal ends it: after the same step of all processes."""

import time

import torch

from faal.engine import interrupts, processes


class Pauses:
    """The clock of a run's checkpoints, and the signals to it.

    Args:
        every: seconds between checkpoints within an epoch.
        device: of the network.
    """

    def __init__(self, every: float, device: torch.device) -> None:
        self.every, self.device = every, device
        self.saved_at = time.monotonic()

    def after_step(self, *, was_read: bool) -> tuple[bool, bool]:
        """Whether the run has to end after this step, and whether a checkpoint is due; the same on all processes.

        A process on its own ends after any step. Several have to agree, for which the host waits: on CPUs after every
        step, on GPUs where it has waited for the results of the steps anyway. The main process's clock counts.

        Args:
            was_read: whether the step's results were read from the device.
        """
        late = was_read and processes.is_main() and time.monotonic() - self.saved_at > self.every
        return self._agreed(interrupts.requested(), late) if was_read or self._agrees_freely else (False, False)

    def after_epoch(self) -> bool:
        """Whether the run has to end after this epoch."""
        return self._agreed(interrupts.requested(), False)[0]

    @property
    def _agrees_freely(self) -> bool:
        """Whether an agreement at every step has no host wait for its device."""
        return processes.world_size() == 1 or self.device.type == "cpu"

    def _agreed(self, *wishes: bool) -> tuple[bool, bool]:
        if processes.world_size() > 1:
            (sums,) = processes.all_sum(torch.tensor(wishes, dtype=torch.float32, device=self.device))
            wishes = tuple(wish > 0 for wish in sums.tolist())
        stop, due = wishes
        return stop, due
