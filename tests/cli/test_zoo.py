"""`faal zoo`, `faal publish`, and `zoo:NAME` as a checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.cli.conftest import Faal
from tests.helpers.zoos import CPU, data, trained

from faal.audit import AuditResult
from faal.models import zoo
from faal.study.zoo import publish

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audited run, its data as a file, and a zoo that holds it."""
    folder = tmp_path_factory.mktemp("shelf")
    trained(folder / "run")
    parts = {}
    for name, split in {"train": data().train, "test": data().test}.items():
        assert split is not None
        parts |= {
            f"x_{name}": split.images.fetch(torch.arange(split.n)).numpy(),
            f"y_{name}": split.labels.numpy(),
        }
    np.savez(folder / "toy.npz", **parts, classes=np.array(data().classes))
    return folder


@pytest.mark.medium
def test_published_listed_audited_and_repaired(
    shelf: Path, work: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = f"npz:{shelf / 'toy.npz'}"
    monkeypatch.setattr(zoo, "FOLDER", work / "zoo")
    assert "empty" in faal("zoo").out

    said = faal("publish", shelf / "run", "tiny", "--data", toy, "--source", "made up; CC0")
    assert "0 of 40 clean predictions differ" in said.out
    expected = AuditResult.read(shelf / "run").attacks["all"]
    (row,) = [line for line in faal("zoo").out.splitlines() if line.startswith("tiny")]
    assert f"{100 * expected.average.value:.1f} ({100 * expected.worst.value:.1f})" in row
    assert "faal-at" in row
    card = faal("zoo", "tiny").out
    assert all(
        text in card for text in ("made up; CC0", "small, width 4", "linf 0.1", "Apache-2.0", expected.worst.name)
    )

    assert faal("audit", "zoo:tiny", "--data", toy, "--attacks", "clean,pgd2", "--device", "cpu").status == 0
    (folder,) = (work / "runs").iterdir()
    assert folder.name.startswith("audit-zoo-tiny-")
    again = AuditResult.read(folder)
    assert again.model["path"] == "zoo:tiny"
    assert again.attacks["clean"].average.value == AuditResult.read(shelf / "run").attacks["clean"].average.value

    short = ("--epochs", "1", "--steps", "1", "--batch-size", "16")
    arguments = ("repair", "zoo:tiny", "debug", "--data", toy, "--out", "mended", "--device", "cpu", *short)
    assert faal(*arguments).status == 0
    assert "path: zoo:tiny" in (work / "mended" / "config.yaml").read_text()


def test_the_list_names_the_commands_that_take_its_networks(
    shelf: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf / "run", "tiny", data(), source="-", folder=shelf / "zoo", device=CPU)
    monkeypatch.setattr(zoo, "FOLDER", shelf / "zoo")
    assert "`faal audit` and `faal repair` accept `zoo:NAME`" in faal("zoo").out
    for page in ("README.md", "zoo/README.md"):
        assert "`faal audit` and `faal repair` accept `zoo:NAME`" in (CHECKOUT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [("zoo",), ("zoo", "tiny")])
def test_a_damaged_card(
    arguments: tuple[str, ...],
    shelf: Path,
    work: Path,
    faal: Faal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = publish(shelf / "run", "tiny", data(), source="-", folder=work, device=CPU).card
    place.write_text(json.dumps(json.loads(place.read_text()) | {"audit": {}}))
    monkeypatch.setattr(zoo, "FOLDER", work)
    said = faal(*arguments)
    assert said.status == 2
    assert "lacks audit.n, audit.split, audit.threat" in " ".join(said.err.split())


def test_an_unknown_name(shelf: Path, work: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (("zoo", "tyni"), ("audit", "zoo:tyni", "--data", f"npz:{shelf / 'toy.npz'}")):
        said = faal(*arguments)
        assert said.status == 2
        assert "'tyni'" in said.err
    assert list(work.iterdir()) == []
