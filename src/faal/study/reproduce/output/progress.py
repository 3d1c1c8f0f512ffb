"""What is told while a table is filled: a bar, a line for everything that is done, and the tables again."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from faal.engine.progress import progress_bar
from faal.study.reproduce.output import write
from faal.study.reproduce.output.figures import draw
from faal.study.reproduce.plan import Item
from faal.study.reproduce.results import read_record, records_of
from faal.study.reproduce.rows import Record
from faal.study.reproduce.workers.job import Study


class Watch:
    """Looks at the folder, which others fill too.

    Args:
        study: what the work has in common.
        items: the plan.
        classes: the names of the classes.
    """

    def __init__(self, study: Study, items: Sequence[Item], classes: Sequence[str]) -> None:
        self.study, self.items, self.classes = study, items, classes
        self.done = {item.name for item in items if item.makes.exists()}
        self.bar = progress_bar()
        self.task = self.bar.add_task(study.table.name, total=len(items), completed=len(self.done), note="")

    def __enter__(self) -> Self:
        self.bar.start()
        if self.done:
            self._say(f"{len(self.done)} of {len(self.items)} steps were done before")
        self.write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def look(self) -> None:
        """Tell what has come since the last look."""
        come = [item for item in self.items if item.name not in self.done and item.makes.exists()]
        for item in sorted(come, key=lambda item: item.judges):
            self.done.add(item.name)
            label = f"{item.run.row.label.removeprefix('+ ')} ({self.study.table.name}/{item.run.row.name})"
            what = in_short(read_record(item.makes)) if item.judges else "trained"
            self.bar.update(self.task, completed=len(self.done), note=item.run.row.name)
            self._say(f"{len(self.done)} of {len(self.items)}: {label}, seed {item.run.seed}: {what}")
        if any(item.judges for item in come):
            self.write()

    def write(self) -> None:
        """The table, or the figure, from all records that are there."""
        study = self.study
        records = records_of(study.out, study.table)
        seeds = max([study.seeds, *(record.seed for record in records)])
        write.write_all(study.out, study.table, records, scale=study.scale.name, protocol=study.protocol, seeds=seeds)
        draw(study.out, study.table, records, self.classes)

    def _say(self, line: str) -> None:
        self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


def in_short(record: Record) -> str:
    """A record in a line: average (worst class) in per cent."""
    figures = [
        f"{name} {100 * found['average']:.1f} ({100 * found['worst']:.1f})" for name, found in record.attacks.items()
    ]
    return ", ".join(figures)
