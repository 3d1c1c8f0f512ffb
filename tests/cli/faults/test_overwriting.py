"""No command overwrites what it reads, or a network that it did not make."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Faal, arrays, network

from faal.engine.writers.lock import folder_lock
from faal.models import Architecture, build_model

SHORT = ("--epochs", "1", "--device", "cpu")


@pytest.fixture
def desk(work: Path) -> Path:
    """Data of three classes and an untrained network for it; a folder `out` for a test's own."""
    arrays(work)
    network(work, classes=3)
    (work / "out").mkdir()
    return work


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder: Path, faal: Faal, *words: str) -> str:
    """The sentence of a command that changes nothing."""
    before = content(folder)
    said = faal(*words)
    assert said.status == 2, said.out
    assert content(folder) == before
    return said.err.splitlines()[-1]


@pytest.mark.parametrize("form", ["checkpoint", "foreign"])
@pytest.mark.parametrize("command", ["repair", "repair --method offsets", "train", "repair of another"])
def test_a_folder_with_a_best_pt_alone(form: str, command: str, desk: Path, faal: Faal) -> None:
    """As one downloads it."""
    best, foreign = desk / "out" / "best.pt", ("--model", "small", "--width", "4")
    if form == "checkpoint":
        best.write_bytes((desk / "net.pt").read_bytes())
    else:
        architecture = Architecture(model="small", num_classes=3, channels=1, width=4)
        torch.save(build_model(architecture, seed=2).state_dict(), best)
    what, *more = command.split(" ", 1)
    base = () if what == "train" else ("net.pt",) if more == ["of another"] else ("out",)
    extra = foreign if form == "foreign" and base == ("out",) else ()
    settings = more[0].split() if more and more[0].startswith("--") else []
    said = refused(
        desk, faal, what, *base, "debug", "--data", "npz:data.npz", "--out", "out", *settings, *extra, *SHORT
    )
    assert "out contains a best.pt" in said
    assert said.endswith("choose another folder with --out, or move it")


@pytest.mark.parametrize("name", ["verdicts.npz", "examples.npz"])
def test_an_audits_data_in_the_place_of_its_files(name: str, desk: Path, faal: Faal) -> None:
    """Also by way of a link."""
    (desk / "data.npz").rename(desk / "out" / name)
    (desk / "link.npz").symlink_to(desk / "out" / name)
    for data in (f"npz:out/{name}", "npz:link.npz"):
        said = refused(desk, faal, "audit", "net.pt", "--data", data, "--out", "out", "--attacks", "clean")
        assert said == f"faal: out/{name} is read, and would be overwritten; choose another folder with --out"


@pytest.mark.parametrize("spec", ["out/report.html", "out/report.html:camera"])
def test_an_audits_groups_in_the_place_of_its_files(spec: str, desk: Path, faal: Faal) -> None:
    (desk / "out" / "report.html").write_text("camera\n" + "A\n" * 5 + "B\n" * 4)
    said = refused(
        desk, faal, "audit", "net.pt", "--data", "npz:data.npz", "--groups", spec, "--out", "out", "--attacks", "clean"
    )
    assert "out/report.html is read" in said


@pytest.mark.parametrize("out", ["pets", "pets/test", "pets/train/results"])
@pytest.mark.parametrize("command", ["train debug", "repair net.pt debug", "audit net.pt"])
def test_the_folders_of_the_data(out: str, command: str, desk: Path, faal: Faal) -> None:
    """A folder of results would be a class of the data from then on."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in "012":
            (desk / "pets" / part / name).mkdir(parents=True)
            for number in range(4):
                image = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
                image.save(desk / "pets" / part / name / f"{number}.png")
    short = SHORT if command != "audit net.pt" else ("--attacks", "clean")
    said = refused(desk, faal, *command.split(), "--data", "folder:pets", "--out", out, *short)
    assert said == f"faal: {out} is a folder of the data; choose another one with --out"


def test_readers_take_no_lock(desk: Path, faal: Faal) -> None:
    """Nor do they wait for one, and a new page replaces the one before."""
    audit = ("audit", "net.pt", "--data", "npz:data.npz", "--attacks", "pgd1", "--epsilon", "0.1", "--out", "out")
    assert faal(*audit).status == 0

    def hold() -> None:
        with folder_lock(desk / "out"):
            held.set()
            done.wait(60)

    held, done = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        holder = threads.submit(hold)
        assert held.wait(60)
        try:
            assert faal("report", "out").status == 0
            assert faal("compare", "a=out", "b=out").status == 0
            assert faal("audit", "net.pt", "--data", "npz:data.npz", "--out", "out").status == 2
            assert (desk / "out" / ".lock").exists()
        finally:
            done.set()
        holder.result()
