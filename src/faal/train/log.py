"""The log of a run: metrics.jsonl, TensorBoard where it is installed, and the progress bar.

The results of several steps are read from the device in one transfer. A loss that is not finite is then detected,
before any checkpoint is overwritten.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

import torch
from rich.console import Console
from torch import Tensor

from faal.engine import processes
from faal.engine.progress import progress_bar
from faal.errors import InputError
from faal.step import StepResult
from faal.train.notes import vectors_text

VECTORS = {"weights": 5, "clean_weights": 5, "sampling": 8}
"""The class-wise fields of a step's result that are logged, and their decimals. `clean_weights` is omitted where it
equals the weights of the robust term."""

FLUSH = 2
"""Seconds between writes of TensorBoard's file."""

TENSORBOARD_NAMES = {
    "weights": "largest class weight",
    "clean_weights": "largest class weight, clean term",
    "sampling": "largest class probability",
}
"""Their names in TensorBoard."""


MANY = 200
"""From this number of classes on, vectors are logged as means with the epoch instead of with every batch: with a
thousand classes a batch would take 8 kB."""


class EpochMeans:
    """The means of class-wise vectors over the steps of an epoch so far.

    Args:
        state: the state of an earlier instance, to continue it.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.steps: int = state.get("steps", 0)
        self.sums: dict[str, Tensor] = dict(state.get("sums", {}))

    def add(self, vectors: Mapping[str, Sequence[float]]) -> None:
        """Add the vectors of a step; without `clean_weights` the clean term has those of the robust one."""
        self.steps += 1
        for name, values in {"clean_weights": vectors["weights"], **vectors}.items():
            added = torch.tensor(values, dtype=torch.float64)
            self.sums[name] = self.sums[name] + added if name in self.sums else added

    def state_dict(self) -> dict[str, Any]:
        """Empty before the first step."""
        return {"steps": self.steps, "sums": self.sums} if self.steps else {}

    def rounded(self) -> dict[str, list[float]]:
        """The means, rounded as in the log."""
        return _rounded({name: sums / self.steps for name, sums in self.sums.items()})


class Log:
    """The log of one run.

    Args:
        out: the run's folder.
        every: steps between two reads of the device.
        title: the title of the progress bar.
        steps: all steps of the run.
        done: finished steps (of a resumed run).
        position: size of metrics.jsonl in bytes at the checkpoint that is resumed from; the rest is truncated.
        means: the state of the means over the epoch at that checkpoint.
        quiet: no progress bar.
    """

    def __init__(
        self,
        out: Path,
        *,
        every: int,
        title: str,
        steps: int,
        done: int,
        position: int,
        means: Mapping[str, Any],
        quiet: bool,
    ) -> None:
        self.every = every
        self.means = EpochMeans(means)
        self.pending: list[tuple[int, int, StepResult]] = []
        self.vectors: dict[str, list[float]] = {}
        self.bar = progress_bar()
        self.bar.disable = quiet or not processes.is_main()
        self.task = self.bar.add_task(title, total=steps, completed=done, note="")
        self.file = None
        self.tensorboard = None
        if processes.is_main():
            self.file = _continued(out / "metrics.jsonl", position, self.bar.console)
            self.tensorboard = _tensorboard(out, done)

    @property
    def position(self) -> int:
        """Bytes of metrics.jsonl so far."""
        return self.file.tell() if self.file else 0

    def step(self, epoch: int, step: int, result: StepResult) -> bool:
        """Add one step's result; read all from the device every `every` steps. Returns whether they were read."""
        self.pending.append((epoch, step, result))
        reads = len(self.pending) >= self.every
        if reads:
            self.flush()
        return reads

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
            name: torch.stack(found).cpu()
            for name in VECTORS
            if (found := [v for _, _, result in self.pending if (v := getattr(result, name)) is not None])
        }
        losses, accuracies = processes.all_sum(losses, accuracies)
        processes_count = processes.world_size()
        rows = zip(
            self.pending, (losses / processes_count).tolist(), (accuracies / processes_count).tolist(), strict=True
        )
        for row, ((epoch, step, _), loss, accuracy) in enumerate(rows):
            if not math.isfinite(loss):
                raise InputError(
                    f"the loss became {loss} in epoch {epoch}, step {step}: training diverged; lower --lr, or check "
                    "for damaged images, and train into another folder (--out)"
                )
            self.vectors = _rounded({name: vector[row] for name, vector in vectors.items()})
            record = {"event": "batch", "epoch": epoch, "step": step, "loss": loss, "accuracy": accuracy}
            if len(self.vectors["weights"]) < MANY:
                record |= self.vectors
            else:
                self.means.add(self.vectors)
            self._write(record)
        self.bar.update(self.task, advance=len(self.pending), note=f"loss {loss:.3f}{vectors_text(self.vectors)}")
        self.pending.clear()

    def epoch(self, epoch: int, record: dict[str, Any]) -> None:
        """Write the record of an epoch; where the output is not a terminal (a log file), print it as a line."""
        self._write({"event": "epoch", "epoch": epoch, **record, **self.means.rounded()})
        self.means = EpochMeans({})
        if not self.bar.disable and not self.bar.console.is_terminal:
            remaining = self.bar.tasks[self.task].time_remaining
            select = record.get("select")
            held_out = f", held out {select['average']:.1%} (worst class {select['worst']:.1%})" if select else ""
            note, seconds = self.bar.tasks[self.task].fields["note"], record["seconds"]
            note += vectors_text(record)
            self.bar.console.print(
                f"epoch {epoch}: {note}{held_out}, {seconds:.1f} s, {remaining or 0:.0f} s left",
                markup=False,
                highlight=False,
            )
        if self.tensorboard:
            self.tensorboard.add_scalar("lr", record["lr"], epoch)
            for name in ("average", "worst"):
                if record.get("select"):
                    self.tensorboard.add_scalar(f"select/{name}", record["select"][name], epoch)

    def evaluated(self, number: int, record: dict[str, Any]) -> None:
        """Write the record of the evaluation of some offsets, numbered from 0."""
        self._write({"event": "offsets", "evaluation": number, **record})
        self.bar.update(self.task, advance=1, note=f"offsets, worst {record['accuracy']['worst']:.1%}")

    def end(self, notes: Sequence[str]) -> None:
        """Write the notes on the run."""
        self._write({"event": "end", "notes": list(notes)})

    def _write(self, record: dict[str, Any]) -> None:
        if self.file:
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()
        if self.tensorboard and record["event"] == "batch":
            for name, value in (("loss", record["loss"]), ("accuracy", record["accuracy"])):
                self.tensorboard.add_scalar(name, value, record["step"])
            for name, title in TENSORBOARD_NAMES.items():
                if name in self.vectors:
                    self.tensorboard.add_scalar(title, max(self.vectors[name]), record["step"])

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        for output in (self.file, self.tensorboard):
            if output:
                output.close()


def _continued(path: Path, position: int, console: Console) -> TextIO:
    """The log, opened after its first `position` bytes; a note on the console if it has fewer.

    Raises:
        InputError: it cannot be written.
    """
    try:
        path.touch()
        if (size := path.stat().st_size) > position:
            with open(path, "r+b") as file:
                file.truncate(position)
        log = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed by the caller)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); choose another folder with --out"
        ) from None
    if size < position:
        note = f"{path} is shorter than when the run was saved: some steps are missing in it. The network is unchanged."
        console.print(note, markup=False, highlight=False, soft_wrap=True)
    return log


def _rounded(vectors: Mapping[str, Tensor]) -> dict[str, list[float]]:
    """Vectors as in the log: `clean_weights` is omitted where it equals the weights of the robust term."""
    found = {name: [round(value, VECTORS[name]) for value in vector.tolist()] for name, vector in vectors.items()}
    if found.get("clean_weights") == found.get("weights"):
        found.pop("clean_weights", None)
    return found


def _tensorboard(out: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # An interrupt within a write can lose the notification of the writer thread; closing then waits for its next flush,
    # by default two minutes.
    return SummaryWriter(str(out / "tensorboard"), purge_step=done, flush_secs=FLUSH)
