"""What a run tells while it runs: metrics.jsonl, TensorBoard where it is installed, and the line on the terminal.

Steps leave their results on the device. They are read in one transfer every so many steps, which is also where a loss
that is no longer a number is noticed, before any checkpoint is overwritten.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from faal.engine import processes
from faal.engine.progress import progress_bar
from faal.errors import InputError
from faal.step import StepResult
from faal.train.notes import moved_text

VECTORS = {"weights": 5, "clean_weights": 5, "sampling": 8}
"""What a batch's record has of each class, and to how many decimals: the fields of a step's result. `clean_weights` is
left out where they are those of the robust term."""

BOARD = {
    "weights": "largest class weight",
    "clean_weights": "largest class weight, clean term",
    "sampling": "largest class probability",
}
"""What TensorBoard calls them."""


class Log:
    """The log of one run.

    Args:
        out: the run's folder.
        every: steps between two reads of the device.
        title: what the bar is called.
        steps: all steps of the run.
        done: steps done before (a resumed run).
        position: size of metrics.jsonl in bytes at the checkpoint that is resumed from; what came after is cut off.
        quiet: no bar.
    """

    def __init__(self, out: Path, *, every: int, title: str, steps: int, done: int, position: int, quiet: bool) -> None:
        self.every = every
        self.pending: list[tuple[int, int, StepResult]] = []
        self.moved: dict[str, list[float]] = {}
        self.bar = progress_bar()
        self.bar.disable = quiet or not processes.is_main()
        self.task = self.bar.add_task(title, total=steps, completed=done, note="")
        self.file = None
        self.board = None
        if processes.is_main():
            path = out / "metrics.jsonl"
            path.touch()
            if path.stat().st_size > position:
                with open(path, "r+b") as file:
                    file.truncate(position)
            self.file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in __exit__)
            self.board = _tensorboard(out, done)

    @property
    def position(self) -> int:
        """Bytes of metrics.jsonl so far."""
        return self.file.tell() if self.file else 0

    def step(self, epoch: int, step: int, result: StepResult) -> bool:
        """Take one step's result; read the device when enough have come, and say whether that was now."""
        self.pending.append((epoch, step, result))
        full = len(self.pending) >= self.every
        if full:
            self.flush()
        return full

    def flush(self) -> None:
        """Read the pending steps.

        Raises:
            InputError: a loss is not finite.
        """
        if not self.pending:
            return
        losses = torch.stack([result.loss for _, _, result in self.pending])
        accuracies = torch.stack([result.accuracy for _, _, result in self.pending])
        vectors = {
            name: torch.stack(found).tolist()
            for name in VECTORS
            if (found := [v for _, _, result in self.pending if (v := getattr(result, name)) is not None])
        }
        losses, accuracies = processes.all_sum(losses, accuracies)
        share = processes.world_size()
        rows = zip(self.pending, (losses / share).tolist(), (accuracies / share).tolist(), strict=True)
        for row, ((epoch, step, _), loss, accuracy) in enumerate(rows):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss became {loss} in epoch {epoch}, step {step}: training diverged; lower --lr, or look for "
                    "damaged images, and train into another folder (--out)"
                )
            self.moved = {name: [round(v, VECTORS[name]) for v in vector[row]] for name, vector in vectors.items()}
            if self.moved.get("clean_weights") == self.moved["weights"]:
                del self.moved["clean_weights"]
            self._write({"event": "batch", "epoch": epoch, "step": step, "loss": loss, "accuracy": accuracy,
                         **self.moved})  # fmt: skip
        self.bar.update(self.task, advance=len(self.pending), note=f"loss {loss:.3f}{moved_text(self.moved)}")
        self.pending.clear()

    def epoch(self, epoch: int, record: dict[str, Any]) -> None:
        """Write what an epoch came to; where the bar cannot be seen (a log file), say it in a line."""
        self._write({"event": "epoch", "epoch": epoch, **record})
        if not self.bar.disable and not self.bar.console.is_terminal:
            left = self.bar.tasks[self.task].time_remaining
            judged = record.get("select")
            told = f", held out {judged['average']:.1%} (worst class {judged['worst']:.1%})" if judged else ""
            note, spent = self.bar.tasks[self.task].fields["note"], record["seconds"]
            note += moved_text(record)
            self.bar.console.print(
                f"epoch {epoch}: {note}{told}, {spent:.1f} s, {left or 0:.0f} s left",
                markup=False,
                highlight=False,
            )
        if self.board:
            self.board.add_scalar("lr", record["lr"], epoch)
            for name in ("average", "worst"):
                if record.get("select"):
                    self.board.add_scalar(f"select/{name}", record["select"][name], epoch)

    def evaluated(self, number: int, record: dict[str, Any]) -> None:
        """Write what the evaluation of some offsets, from 0, came to."""
        self._write({"event": "offsets", "evaluation": number, **record})
        self.bar.update(self.task, advance=1, note=f"offsets, worst {record['accuracy']['worst']:.1%}")

    def end(self, notes: Sequence[str]) -> None:
        """Write what a reader of the run has to know."""
        self._write({"event": "end", "notes": list(notes)})

    def _write(self, record: dict[str, Any]) -> None:
        if self.file:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
        if self.board and record["event"] == "batch":
            for name, value in (("loss", record["loss"]), ("accuracy", record["accuracy"])):
                self.board.add_scalar(name, value, record["step"])
            for name, title in BOARD.items():
                if name in record:
                    self.board.add_scalar(title, max(record[name]), record["step"])

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        for sink in (self.file, self.board):
            if sink:
                sink.close()


def _tensorboard(out: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out / "tensorboard"), purge_step=done)
