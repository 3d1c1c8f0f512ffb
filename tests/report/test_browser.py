"""The page in a real browser: system Chromium, driven by Playwright.

Skipped where there is no Chromium; FAAL_REQUIRE_BROWSER=1 makes that a failure.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from faal.report import write_report

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.medium

Write = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("FAAL_REQUIRE_BROWSER") == "1":
            pytest.fail("FAAL_REQUIRE_BROWSER is set, but there is no chromium in PATH")
        pytest.skip("there is no chromium in PATH")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page file; at the end the console is empty and nothing was requested from the network."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def open_page(path: Path, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: troubles.append(f"console: {message.text}"))
        tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        tab.on(
            "request",
            lambda request: (
                None
                if request.url.startswith("data:") or request.url == path.as_uri()
                else troubles.append(f"request: {request.url}")
            ),
        )
        tab.goto(path.as_uri())
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory: pytest.TempPathFactory, demo_folder: Write) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo_folder(folder, classes=["a rather long class name", *"bcdefghij"])
    return write_report([folder])


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, demo_page: Path, run_folder: Write, curve_folder: Write
) -> dict[str, Path]:
    """One page of every kind."""
    folder = tmp_path_factory.mktemp("runs")
    for i in range(14):
        run_folder(folder / "many" / f"a-method-of-long-name-{i}" / "seed-1", seed=i, lowest=0.1 + 0.02 * i, epochs=0)
    for name in ("base", "repaired"):
        run_folder(folder / name, warnings=["class “8” has 24 images"])
    run_folder(folder / "hundred", classes=[f"a class called {i}" for i in range(100)], per_class=12)
    curve_folder(folder / "base" / "curve-linf")
    return {
        "demo": demo_page,
        "one": write_report([folder / "base"]),
        "both": write_report([folder / "base", folder / "repaired"]),
        "many": write_report([folder / "many"]),
        "hundred": write_report([folder / "hundred"]),
    }


KINDS = ["demo", "one", "both", "many", "hundred"]


def test_quiet_and_offline(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, offline=True)
    assert tab.locator("h1").inner_text().startswith("With the repair, ")
    sizes = tab.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert sizes
    assert min(sizes) > 0


def test_sorting(opened: Callable[..., Any], tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base")
    tab = opened(write_report([tmp_path / "base"]))
    table = tab.locator("table.sortable").nth(2)
    head = table.locator("thead th").last
    names = table.locator("tbody th")
    accuracies = {entry["name"]: entry["value"] for entry in audit["attacks"]["all"]["classes"]}
    assert names.all_inner_texts() == list(accuracies)
    head.locator("button").click()
    rising = [accuracies[name] for name in names.all_inner_texts()]
    assert rising == sorted(accuracies.values())
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").press("Enter")
    assert [accuracies[name] for name in names.all_inner_texts()] == rising[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    table.locator("thead th").first.locator("button").click()
    assert names.all_inner_texts() == list(accuracies)
    assert head.get_attribute("aria-sort") is None


def test_every_column_sorts_by_keyboard(opened: Callable[..., Any], pages: dict[str, Path]) -> None:
    tab = opened(pages["many"])
    table = tab.locator("table.sortable").first
    buttons = table.locator("thead button")
    assert buttons.count() == len(table.locator("thead th").all()) == 8
    for column in range(buttons.count()):
        for key, order in (("Enter", "ascending"), ("Space", "descending")):
            buttons.nth(column).focus()
            tab.keyboard.press(key)
            assert table.locator("thead th").nth(column).get_attribute("aria-sort") == order
            assert table.locator("[aria-sort]").count() == 1
            cells = tab.evaluate(COLUMN, column)
            rising = sorted(cells, key=lambda cell: cell if isinstance(cell, float | int) else int(cell.split("-")[5]))
            assert cells == (rising if order == "ascending" else rising[::-1])
    assert "buttons that sort it" in table.locator("caption").inner_text()


COLUMN = """(column) => [...document.querySelector("table.sortable").tBodies[0].rows].map((row) => {
  const cell = row.cells[column];
  return cell.dataset.sort === undefined ? cell.textContent.replace("/", "-") : Number(cell.dataset.sort);
})"""


def test_cells_without_a_number_stay_last(opened: Callable[..., Any], tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path, per_class=[40, 40, 0] + [40] * 7)
    tab = opened(write_report([tmp_path]))
    table = tab.locator("table.sortable").nth(2)
    for _ in range(2):
        table.locator("thead button").last.click()
        assert table.locator("tbody th").last.inner_text() == "2"


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_never_scrolls_sideways(opened: Callable[..., Any], pages: dict[str, Path], kind: str) -> None:
    tab = opened(pages[kind])
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for width in (320, 360, 700, 1280):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert set(tab.evaluate(DRAWINGS_SHOWN)) == {1}


@pytest.mark.parametrize("kind", KINDS)
def test_print_cuts_nothing_off(opened: Callable[..., Any], pages: dict[str, Path], kind: str) -> None:
    """A4 between margins of 12 mm, as Chromium lays it out: 703 CSS pixels."""
    tab = opened(pages[kind], viewport={"width": 703, "height": 1000}, color_scheme="dark")
    tab.emulate_media(media="print")
    beyond = "(all) => all.map((e) => e.getBoundingClientRect().right)"
    assert max(tab.locator("table, svg, img, h1, p").evaluate_all(beyond)) <= 703.5
    assert tab.evaluate("document.documentElement.scrollWidth") <= 703


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_accessible(opened: Callable[..., Any], pages: dict[str, Path], kind: str) -> None:
    tab = opened(pages[kind])
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tab.evaluate(BARE) == []


BARE = """() => [
  ...[...document.querySelectorAll("table")].filter((t) => !t.caption?.textContent.trim()),
  ...document.querySelectorAll("th:not([scope])"),
  ...document.querySelectorAll("img:not([alt])"),
  ...[...document.querySelectorAll("svg")].filter((s) => s.getAttribute("role") !== "img"
    || s.getAttribute("aria-labelledby").split(" ").some((id) => !document.getElementById(id).textContent.trim())),
  ...[...document.querySelectorAll("figure.chart")].filter((f) => !f.closest("section").querySelector("table")),
].map((element) => element.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("kind", ["one", "many"])
def test_drawings_follow_the_scheme(opened: Callable[..., Any], pages: dict[str, Path], kind: str) -> None:
    tab = opened(pages[kind])
    paints = {}
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        paints[scheme] = tab.evaluate(PAINT)
    assert len(paints["light"]) > 50
    assert not [a for a, b in zip(paints["light"], paints["dark"], strict=True) if a == b]


PAINT = """[...document.querySelectorAll("svg:not(:has(image)) :is(text, path[style])")]
  .filter((e) => e.checkVisibility()).map((e) => {
  const { fill, stroke } = getComputedStyle(e);
  return `${fill} ${stroke}`;
}).filter((paint) => paint !== "none none")"""


DRAWINGS_SHOWN = """[...document.querySelectorAll("figure.chart")].map(
  (figure) => [...figure.querySelectorAll("svg")].filter((drawing) => drawing.checkVisibility()).length
)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["demo", "many"])
def test_text_has_contrast(opened: Callable[..., Any], pages: dict[str, Path], kind: str, scheme: str) -> None:
    tab = opened(pages[kind], color_scheme=scheme)
    ratios = tab.evaluate(CONTRASTS)
    assert len(ratios) > 100
    assert min(ratios) >= 4.5


CONTRASTS = """() => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [...n.slice(0, 3), n[3] ?? 1]; };
  const over = (top, under) => top.slice(0, 3).map((c, i) => c * top[3] + under[i] * (1 - top[3]));
  const ground = (node) => {
    if (!node) return [255, 255, 255];
    const colour = parse(getComputedStyle(node).backgroundColor);
    return colour[3] === 1 ? colour : over(colour, ground(node.parentElement));
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const nodes = [...document.querySelectorAll("h1, h2, p, li, td, th, small, figcaption, summary, svg text")];
  return nodes.filter((n) => n.checkVisibility() && n.textContent.trim()).map((n) => {
    const style = getComputedStyle(n);
    const [a, b] = [light(parse(n.closest("svg") ? style.fill : style.color)), light(ground(n))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
}"""


def test_print_opens_folded_parts(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, viewport={"width": 700, "height": 900}, color_scheme="dark")
    closed = tab.locator("details").first.bounding_box()["height"]
    tab.emulate_media(media="print")
    assert tab.locator("details").first.bounding_box()["height"] > 2 * closed
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_script_the_tables_are_complete(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, java_script_enabled=False)
    assert tab.locator("thead button").count() == 0
    assert tab.locator("tbody tr").count() > 30
