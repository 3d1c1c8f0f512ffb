"""The page in a real browser: system Chromium, driven by Playwright.

Skipped where there is no Chromium; FAAL_REQUIRE_BROWSER=1 makes that a failure.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faal.report import write_report

sync_api = pytest.importorskip("playwright.sync_api")

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
    """Opens a page file; in the end nothing was said on the console and nothing asked from the network."""
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


def test_quiet_and_offline(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, offline=True)
    assert tab.locator("h1").inner_text().startswith("Repaired, the weakest class under attack")
    sizes = tab.evaluate("[...document.images].map((image) => image.naturalWidth)")
    assert sizes
    assert min(sizes) > 0


def test_sorting(opened: Callable[..., Any], tmp_path: Path, run_folder: Write) -> None:
    audit = run_folder(tmp_path / "base")
    tab = opened(write_report([tmp_path / "base"]))
    table = tab.locator("table.sortable").nth(1)
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


@pytest.mark.parametrize("width", [320, 390, 700, 1280])
def test_the_page_never_scrolls_sideways(opened: Callable[..., Any], demo_page: Path, width: int) -> None:
    tab = opened(demo_page, viewport={"width": width, "height": 800})
    tab.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert set(tab.evaluate(DRAWINGS_SHOWN)) == {1}


DRAWINGS_SHOWN = """[...document.querySelectorAll("figure.chart")].map(
  (figure) => [...figure.querySelectorAll("svg")].filter((drawing) => drawing.checkVisibility()).length
)"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(opened: Callable[..., Any], demo_page: Path, scheme: str) -> None:
    tab = opened(demo_page, color_scheme=scheme)
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


def test_print_opens_what_is_folded(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, viewport={"width": 700, "height": 900}, color_scheme="dark")
    closed = tab.locator("details").first.bounding_box()["height"]
    tab.emulate_media(media="print")
    assert tab.locator("details").first.bounding_box()["height"] > 2 * closed
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_without_script_the_tables_stand(opened: Callable[..., Any], demo_page: Path) -> None:
    tab = opened(demo_page, java_script_enabled=False)
    assert tab.locator("thead button").count() == 0
    assert tab.locator("tbody tr").count() > 30
