"""Progress of a reproduction: a progress bar, a line per finished item, and the tables, which are rewritten."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from faal.engine.progress import progress_bar
from faal.study.reproduce.output import write
from faal.study.reproduce.output.figures import draw_figure
from faal.study.reproduce.plan import WorkItem
from faal.study.reproduce.results import read_record, records_of
from faal.study.reproduce.rows import Record
from faal.study.reproduce.workers.job import WorkContext


class ProgressReporter:
    """Reports the items that are finished, by this or another process, and rewrites the tables.

    Args:
        context: settings shared by all items.
        items: the plan.
        classes: names of the C classes.
    """

    def __init__(self, context: WorkContext, items: Sequence[WorkItem], classes: Sequence[str]) -> None:
        self.context, self.items, self.classes = context, items, classes
        self.done = {item.name for item in items if item.output.exists()}
        self.bar = progress_bar()
        self.task = self.bar.add_task(context.table.name, total=len(items), completed=len(self.done), note="")

    def __enter__(self) -> Self:
        self.bar.start()
        if self.done:
            self._print(f"{len(self.done)} of {len(self.items)} steps were already finished")
        self.write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self) -> None:
        """Report the items that were finished since the last call."""
        finished = [item for item in self.items if item.name not in self.done and item.output.exists()]
        for item in sorted(finished, key=lambda item: item.is_audit):
            self.done.add(item.name)
            label = f"{item.run.row.label.removeprefix('+ ')} ({self.context.table.name}/{item.run.row.name})"
            outcome = summary(read_record(item.output)) if item.is_audit else "trained"
            self.bar.update(self.task, completed=len(self.done), note=item.run.row.name)
            self._print(f"{len(self.done)} of {len(self.items)}: {label}, seed {item.run.seed}: {outcome}")
        if any(item.is_audit for item in finished):
            self.write()

    def write(self) -> None:
        """Write the table, or the figure, from all records in the folder."""
        context = self.context
        records = records_of(context.out, context.table)
        seeds = max([context.seeds, *(record.seed for record in records)])
        write.write_table(
            context.out, context.table, records, scale=context.scale.name, protocol=context.protocol, seeds=seeds
        )
        draw_figure(context.out, context.table, records, self.classes)

    def _print(self, line: str) -> None:
        self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def summary(record: Record) -> str:
    """A record as one line: average (worst class) in per cent."""
    accuracies = [
        f"{name} {100 * found['average']:.1f} ({100 * found['worst']:.1f})" for name, found in record.attacks.items()
    ]
    return ", ".join(accuracies)
