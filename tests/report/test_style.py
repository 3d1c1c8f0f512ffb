"""The style sheet's colours: contrast by WCAG 2 in both schemes, and the contrast of the series in grey."""

import re
from pathlib import Path

import pytest

from faal.report.charts import svg

STYLE = (Path(svg.__file__).parents[1] / "style.css").read_text(encoding="utf-8")
TEXT, SHAPES = ("ink", "muted", "accent", "alarm"), tuple(f"series-{i}" for i in range(len(svg.SERIES)))


def colours(scheme: str) -> dict[str, str]:
    """The variables of a scheme."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root {(.*?)}", STYLE, re.S)[:2]
    )
    return light if scheme == "light" else light | dark


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_shapes_have_contrast(scheme: str) -> None:
    found = colours(scheme)
    for ground in ("paper", "card"):
        assert {name for name in TEXT if contrast(found[name], found[ground]) < 4.5} == set()
        assert {name for name in SHAPES if contrast(found[name], found[ground]) < 3} == set()
    assert contrast(found["alarm"], found["alarm-paper"]) >= 4.5
    assert contrast(found["ink"], found["alarm-paper"]) >= 4.5


def test_the_light_scheme_is_the_figures() -> None:
    found = colours("light")
    assert tuple(found[name] for name in SHAPES) == svg.SERIES
    assert (found["ink"], found["muted"], found["rule"]) == (svg.INK, svg.MUTED, svg.RULE)


def test_before_and_after_differ_in_grey() -> None:
    before, after = (contrast(svg.series_colour(i, 2), "#ffffff") for i in range(2))
    assert after / before > 1.5
