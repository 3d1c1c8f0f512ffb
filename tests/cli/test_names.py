"""The names of checkpoints, runs' folders and recipes, and that a name is no identity."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Faal, arrays, network

from faal.cli.options import short_name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/tau0.5", "tau0.5"),
        ("runs/tau0.5/", "tau0.5"),
        ("runs/tau0.5/best.pt", "best"),
        ("nets/tau0.5.safetensors", "tau0.5"),
        ("nets/net-1.5", "net-1.5"),
        ("zoo:prn18w16-pgd-at", "zoo:prn18w16-pgd-at"),
        ("digits-small-pgd-at", "digits-small-pgd-at"),
        ("my/tau0.5.yaml", "tau0.5"),
    ],
)
def test_a_name_is_the_last_part_without_a_files_suffix(path: str, name: str) -> None:
    assert short_name(path) == short_name(Path(path)) == name


def test_dot_and_double_dot_have_the_folders_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tau0.5.pt" / "in").mkdir(parents=True)  # a folder, whatever its suffix
    monkeypatch.chdir(tmp_path / "tau0.5.pt")
    assert short_name(".") == short_name(tmp_path / "tau0.5.pt") == short_name("in/..") == "tau0.5.pt"


@pytest.mark.medium
def test_a_run_is_the_same_under_another_name(work: Path, faal: Faal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed, copied, audited as `.`, and its data renamed."""
    arrays(work)
    network(work, classes=3)
    run = work / "tau0.5"
    run.mkdir()
    (work / "net.pt").rename(run / "best.pt")

    def audited(folder: str, data: str = "npz:data.npz", attacks: str = "pgd1") -> str:
        said = faal("audit", folder, "--data", data, "--attacks", attacks, "--epsilon", "0.1")
        assert said.status == 0, said.err
        return json.loads((Path(folder) / "audit.json").read_text())["model"]["name"]

    assert audited("tau0.5") == "tau0.5"
    shutil.copytree(run, work / "copy")
    assert audited("copy", attacks="pgd1,pgd2") == "copy"
    assert set(json.loads((work / "copy" / "audit.json").read_text())["attacks"]) == {"clean", "pgd1", "pgd2", "all"}
    (work / "data.npz").rename(work / "renamed.npz")
    assert audited("copy", data="npz:renamed.npz") == "copy"
    monkeypatch.chdir(run)
    assert audited(".", data=f"npz:{work / 'renamed.npz'}") == "tau0.5"
    assert os.path.samefile(".", run)
