"""`faal data`: the transcript on the page, and what other commands find afterwards."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Faal
from tests.helpers.file_server import FileServer, serving
from tests.idx_files import arrays, write

from faal.data import load_data
from faal.data.official import download
from faal.data.official.sources import SOURCES

PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture(autouse=True)
def cache(work: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(download, "PAUSE", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(work / "cache"))
    return work / "cache" / "faal"


def test_the_transcript_on_the_page(faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of the official sizes, of random content, from a server that breaks off twice in the largest one."""
    source = SOURCES["fashion-mnist"]
    rng = np.random.default_rng(0)
    server = FileServer({file.name: rng.bytes(file.size) for file in source.files})
    server.breaks = {source.files[0].name: [9_000_000, 17_500_000]}
    with serving(server):
        monkeypatch.setitem(SOURCES, "fashion-mnist", server.source(source))
        done = faal("data", "fashion-mnist", "--to", "data")
    assert done.status == 0
    assert server.requests[source.files[0].name] == [None, "bytes=9000000-", "bytes=17500000-"]
    lines = [
        line.rstrip() for line in (done.err + done.out).replace(server.address, "http://127.0.0.1:8000/").splitlines()
    ]
    shown = "\n".join(re.sub(r"\d:\d\d:\d\d", "0:00:00", line) for line in lines if line)
    assert f"```text\n$ faal data fashion-mnist --to data\n{shown}\n```" in PAGE.read_text(encoding="utf-8")


def test_a_data_set_that_other_commands_find(
    faal: Faal, work: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is there the message names the command; afterwards it is read without a folder."""
    before = faal("train", "debug", "--data", "mnist")
    assert before.status == 2
    assert "faal data mnist" in before.err
    made = write(work / "made", arrays(), packed=True)
    server = FileServer({path.name: path.read_bytes() for path in made.iterdir()})
    with serving(server):
        monkeypatch.setitem(SOURCES, "mnist", server.source(SOURCES["mnist"]))
        first, second = faal("data", "mnist"), faal("data", "mnist")
    assert (first.status, second.status) == (0, 0)
    assert "--data mnist\n" in first.out
    assert "already" in second.out
    assert (cache / "mnist" / "MNIST" / "raw").is_dir()
    train = load_data("mnist").train
    assert train is not None
    assert train.n == 6


def test_without_a_network(faal: Faal, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FileServer({})) as server:
        pass
    files = {file.name: b"x" for file in SOURCES["cifar10"].files}
    monkeypatch.setitem(SOURCES, "cifar10", FileServer(files, address=server.address).source(SOURCES["cifar10"]))
    done = faal("data", "cifar10", "--to", work / "data")
    assert done.status == 2
    assert f"put cifar-10-python.tar.gz from {server.address} into {work / 'data'}" in done.err
    assert not (work / "data").exists()


def test_names(faal: Faal) -> None:
    assert all(name in faal("data").out for name in SOURCES)
    wrong = faal("data", "cifar")
    assert wrong.status == 2
    assert "cifar10" in wrong.err


def test_the_help_imports_no_torch() -> None:
    code = "import sys, faal.cli.app; faal.cli.app.app(['data', '--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True).returncode == 0
