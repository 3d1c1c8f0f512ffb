"""The elements that the template prints: tables, tiles, charts and sections, with their text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from faal.report import wording
from faal.report.charts import svg
from faal.report.charts.images import Picture
from faal.report.files.run import IntervalEstimate


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell: its text, a smaller note below it, the number by which it is sorted (default: its text), and its
    width."""

    text: str
    note: str = ""
    sort: float | None = None
    numeric: bool = True
    columns: int = 1


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with row headings in its first column; `foot` rows remain at the bottom when it is sorted."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    foot: Sequence[Sequence[Cell]] = ()
    sortable: bool = True


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart in one width, or in two: selected by the width of the screen."""

    caption: str
    wide: str
    narrow: str = ""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A value on a tile, with its interval as text and as a strip (low end, length and value, in percent)."""

    label: str
    value: str
    interval: str
    strip: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class Tile:
    """The main results of one model; `colour` is the number of its series."""

    name: str
    colour: int
    measures: Sequence[Measure]


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A cell of a confusion matrix: its printed percent, the opacity of its tint, and whether it is on the diagonal."""

    text: str
    tint: float
    count: int
    right: bool


@dataclass(frozen=True, kw_only=True)
class Heat:
    """A confusion matrix: a class name and its cells per row."""

    caption: str
    classes: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell]]]

    @property
    def tall(self) -> bool:
        """Whether the names of the columns are printed vertically."""
        return max(map(len, self.classes)) > 3


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: a heading, sentences, and any of the other elements.

    `collapsed` tables and `files` open on a click, as does a `closed` section.
    """

    heading: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    heats: Sequence[Heat] = ()
    pictures: Sequence[tuple[str, Sequence[Picture]]] = ()
    collapsed: Sequence[Table] = ()
    files: Sequence[tuple[str, str]] = ()
    closed: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """The data of the template."""

    title: str
    headline: str
    lead: Sequence[str]
    warnings: Sequence[str]
    tiles_note: str
    tiles: Sequence[Tile]
    sections: Sequence[Section]


def drawn(caption: str, draw: Callable[[float], Figure], *, name: str, title: str, description: str) -> Chart:
    """A chart in the width of the page and of a phone. `draw` takes the width in inches; `name` prefixes its ids."""
    wide, narrow = (
        svg.svg(draw(width), name=f"{name}-{size}", title=title, description=description)
        for size, width in (("wide", svg.WIDE), ("narrow", svg.NARROW))
    )
    return Chart(caption=caption, wide=wide, narrow=narrow)


def text_cell(text: str) -> Cell:
    """A cell of text."""
    return Cell(text=text, numeric=False)


def count_cell(count: int) -> Cell:
    """A cell with a whole number."""
    return Cell(text=f"{count:,}", sort=count)


def estimate_cell(estimate: IntervalEstimate, prefix: str = "") -> Cell:
    """An accuracy in percent with its interval below it."""
    note = wording.interval(estimate)
    return Cell(text=wording.percent(estimate.value), note=f"{prefix}{note}", sort=_sortable(estimate.value))


def percent_cell(value: float) -> Cell:
    """A fraction in percent."""
    return Cell(text=wording.percent(value), sort=_sortable(value))


def points_cell(difference: float) -> Cell:
    """A difference in percentage points."""
    return Cell(text=wording.points(difference), sort=_sortable(difference))


def measure(label: str, estimate: IntervalEstimate, unit: str = "%") -> Measure:
    """A value of a tile, in percent or in points."""
    interval = wording.interval(estimate)
    strip = None
    if interval:
        low, high = max(0.0, 100 * estimate.low), min(100.0, 100 * estimate.high)
        strip = (round(low, 2), round(high - low, 2), round(100 * estimate.value, 2))
    value = f"{wording.percent(estimate.value)}{wording.NBSP}{unit}"
    return Measure(label=label, value=value, interval=interval, strip=strip)


def _sortable(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 9)
