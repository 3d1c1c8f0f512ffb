"""docs/data.md: its examples run as written, with the results that it states."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faal.data import load_data, read_groups
from faal.data.dataset import Split
from faal.data.readers.class_folders import SUFFIXES

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
ARCHIVE, FUNCTION, IDX = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
(GROUPS,) = re.findall(r"^```csv\n(.*?)^```", PAGE, flags=re.M | re.S)


@pytest.fixture(autouse=True)
def _desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of gray images, a function's module and its arrays, and the groups, under the page's names."""
    rng = np.random.default_rng(0)
    for name in ("cup", "mug"):
        (tmp_path / "DIR" / "test" / name).mkdir(parents=True)
        for number in range(2):
            image = Image.fromarray(rng.integers(0, 256, (6, 6), dtype=np.uint8))
            image.save(tmp_path / "DIR" / "test" / name / f"{number}.png")
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (4, 6, 6), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", np.array([0, 1, 1, 0]))
    (tmp_path / "mydata.py").write_text(FUNCTION, encoding="utf-8")
    (tmp_path / "groups.csv").write_text(GROUPS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mydata", raising=False)


def part_of(spec: str) -> Split:
    """The test part of the value on the page of `--data`."""
    assert f"`--data {spec}`" in PAGE
    split = load_data(spec).test
    assert split is not None
    return split


def test_gray_images_in_rgb() -> None:
    assert part_of("folder:DIR").images.shape == (1, 6, 6)
    coloured = load_data("folder:DIR", rgb=True).test
    assert coloured is not None
    assert coloured.images.shape == (3, 6, 6)


def test_the_archive() -> None:
    exec(ARCHIVE, {})
    assert part_of("npz:parts.npz").counts(4).tolist() == [6, 7, 7, 0]
    data = load_data("npz:parts.npz")
    assert data.train is not None
    assert (data.train.n, data.classes) == (40, ("bolt", "nut", "pin", "washer"))


def test_the_function() -> None:
    assert len(FUNCTION.splitlines()) <= 8
    assert part_of("mydata:parts").labels.tolist() == [0, 1, 1, 0]
    assert load_data("mydata:parts").classes == ("whole", "broken")


def test_files_in_mnists_format() -> None:
    exec(IDX, {})
    assert "`--data idx:DIR`" in PAGE
    data = load_data("idx:.")
    assert data.train is None
    assert data.test is not None
    assert (data.test.counts(10).tolist(), data.test.images.shape) == ([6] * 10, (1, 28, 28))
    assert load_data("mnist:.").classes == tuple("0123456789")


def test_the_groups() -> None:
    camera, site = read_groups("groups.csv", part_of("folder:DIR"))
    assert (camera.names, camera.index.tolist()) == (("A", "B"), [0, 1, 0, 1])
    assert (site.names, site.index.tolist()) == (("north", "south"), [0, 0, 1, 1])


def test_the_suffixes_are_those_that_are_read() -> None:
    assert f"({', '.join(f'`{suffix}`' for suffix in SUFFIXES)})" in PAGE
