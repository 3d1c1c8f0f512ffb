"""The steps after which a run writes a checkpoint or stops at a signal, the same on all processes."""

import time

import torch

from faal.engine import interrupts, processes


class Pauses:
    """The times of a run's checkpoints, and its signals.

    Args:
        every: seconds between checkpoints within an epoch.
        device: the network's device.
    """

    def __init__(self, every: float, device: torch.device) -> None:
        self.every, self.device = every, device
        self.saved_at = time.monotonic()

    def after_step(self, *, was_read: bool) -> tuple[bool, bool]:
        """Whether the run must stop after this step, and whether a checkpoint is due; the same on all processes.

        A single process may stop after any step. Several must communicate, and the host waits for it: on CPUs after
        every step, on GPUs only when the results of the steps are read. The main process's clock is used.

        Args:
            was_read: whether the step's results were read from the device.
        """
        due = was_read and processes.is_main() and time.monotonic() - self.saved_at > self.every
        return (
            self._any_process(interrupts.requested(), due) if was_read or self._communicates_freely else (False, False)
        )

    def after_epoch(self) -> bool:
        """Whether the run must stop after this epoch."""
        return self._any_process(interrupts.requested(), False)[0]

    @property
    def _communicates_freely(self) -> bool:
        """Whether processes can communicate at every step without a wait for the device."""
        return processes.world_size() == 1 or self.device.type == "cpu"

    def _any_process(self, *flags: bool) -> tuple[bool, bool]:
        if processes.world_size() > 1:
            (sums,) = processes.all_sum(torch.tensor(flags, dtype=torch.float32, device=self.device))
            flags = tuple(flag > 0 for flag in sums.tolist())
        stop, due = flags
        return stop, due
