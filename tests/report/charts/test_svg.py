import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.texmanager import TexManager

from faal.errors import InputError
from faal.report.charts import panels, scatter, svg

HOSTILE = ["<script>alert(1)</script>", 'a" onload="x', "$x^2$", "& ' <b>"]


def bars(count: int, classes: int) -> list[svg.Bars]:
    value = np.linspace(0.2, 0.9, classes)
    return [
        svg.Bars(name=f"model {i}", value=value, low=value - 0.1, high=value + 0.05, average=0.6, clean=value + 0.04)
        for i in range(count)
    ]


def drawings() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    return {
        "bars": svg.class_bars(HOSTILE, bars(2, 4)),
        "slopes": svg.slopes(["a", "b", "c"], [("worst", rng.random((5, 3))), ("average", rng.random((5, 3)))]),
        "frontier": scatter.frontier(HOSTILE, rng.random((4, 2))),
        "panels": panels.class_panels(HOSTILE, bars(3, 4)),
        "profiles": panels.profiles(bars(3, 40)),
        "curves": svg.curves(np.arange(5.0), [("x", rng.random(5)), ("y", np.array([1, np.nan, 2, 3, 4]))], label="y"),
        "weights": svg.weights_map(HOSTILE, np.arange(30), rng.random((4, 10))),
    }


@pytest.mark.medium
@pytest.mark.parametrize("kind", ["bars", "slopes", "frontier", "panels", "profiles", "curves", "weights"])
def test_svg_is_named_themed_and_deterministic(kind: str) -> None:
    first, second = (
        svg.svg(drawings()[kind], name="one", title="A <title>", description="What & why") for _ in range(2)
    )
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root if element.get("id")}
    assert [named[i] for i in (root.get("aria-labelledby") or "").split()] == ["A <title>", "What & why"]
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(i.startswith("one-") for i in ids)
    assert len(set(ids)) == len(ids)
    used = set(re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", first))
    assert {a or b for a, b in used} <= set(ids)
    assert "http" not in first
    assert "<script" not in first
    assert "<style" not in first
    assert "font-family" not in first
    for colour in svg.VARIABLES:
        assert colour not in first
    assert not any("onload" in element.attrib for element in root.iter())


def test_names_are_printed_unchanged() -> None:
    drawing = svg.svg(svg.class_bars(HOSTILE, bars(1, 4)), name="one", title="t", description="d")
    texts = {unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawing)}
    assert {svg.short(name) for name in HOSTILE} <= texts


@pytest.mark.medium
def test_no_settings_of_the_current_folder_have_latex_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """matplotlib reads a `matplotlibrc` of the current folder, which can name a preamble that LaTeX would execute."""
    monkeypatch.setattr(TexManager, "make_dvi", lambda *_: pytest.fail("LaTeX was called"))
    with matplotlib.rc_context({"text.usetex": True}):
        for drawing in drawings().values():
            svg.svg(drawing, name="one", title="t", description="d")


@pytest.mark.medium
def test_two_drawings_share_no_id() -> None:
    found = [
        set(re.findall(r'id="([^"]+)"', svg.svg(figure, name=name, title="t", description="d")))
        for name, figure in (("one", drawings()["bars"]), ("two", drawings()["bars"]))
    ]
    assert found[0]
    assert not found[0] & found[1]


def test_bars_show_the_figures() -> None:
    models = bars(2, 4)
    axes = svg.class_bars(list("abcd"), models).axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    np.testing.assert_allclose(widths, 100 * np.concatenate([model.value for model in models]))
    whiskers = np.concatenate([c.get_segments() for c in axes.collections])[:, :, 0]
    expected = 100 * np.concatenate([np.stack([model.low, model.high], axis=1) for model in models])
    np.testing.assert_allclose(whiskers, expected)


def test_first_is_grey_and_last_is_blue() -> None:
    for count in (2, 3, 5, 9):
        colours = [svg.series_colour(i, count) for i in range(count)]
        assert colours[0] == svg.SERIES[0]
        assert colours[-1] == svg.SERIES[1]
        assert svg.SERIES[1] not in colours[:-1]
        assert all(a != b for a, b in pairwise(colours))
    assert svg.series_colour(0, 1) == svg.SERIES[1]


@pytest.mark.medium
@pytest.mark.parametrize(("ending", "start"), [(".pdf", b"%PDF"), (".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_save_for_papers(tmp_path: Path, ending: str, start: bytes) -> None:
    paths = [tmp_path / f"{name}{ending}" for name in "ab"]
    for path in paths:
        svg.save(drawings()["bars"], path)
    assert paths[0].read_bytes().startswith(start)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_save_refuses_other_endings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in '\.bmp'"):
        svg.save(drawings()["bars"], tmp_path / "a.bmp")
