"""Names that are not in a table, and folders that cannot be written, before the work whose results would be lost."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from faal.audit import audit, audit_share
from faal.audit.settings import AuditContext, AuditSettings
from faal.errors import InputError, one_of, refuse_unwritable
from faal.report import page as report_page
from faal.report import write_report
from faal.study import demo as study_demo
from faal.study.curve import curve
from faal.study.reproduce import run as reproduce_run

SUBJECT: tuple[Any, ...] = (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(4, 1, 2, 2), torch.arange(4) % 2)


def test_a_known_name_is_returned_and_another_refused_with_the_nearest() -> None:
    assert one_of("norm", "l2", ("linf", "l2")) == "l2"
    assert one_of("norm", "l2", {"linf": 1, "l2": 2}) == "l2"
    with pytest.raises(InputError, match=r"^there is no norm 'linff'; did you mean 'linf'\? linf, l2$"):
        one_of("norm", "linff", iter(("linf", "l2")))


def test_a_folder_that_is_there_or_could_be_made_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / "a" / "b", Path("a/b"), Path("."), Path("..")):
        refuse_unwritable(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("way", ["file", "file/run", "file/run/deeper", "link"])
def test_a_file_in_place_of_a_folder_is_named(tmp_path: Path, way: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputError, match=rf"{way} cannot be written \(.*{way[:4]} "):
        refuse_unwritable(tmp_path / way)


def test_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(InputError, match=r"run cannot be written \(Permission denied\)"):
        refuse_unwritable(tmp_path / "run")


@pytest.mark.parametrize("command", ["audit", "share", "curve", "demo", "theorem1", "report"])
def test_a_command_refuses_before_its_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """All of their work would fail here if it began."""
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "run"
    net = SUBJECT[0]
    monkeypatch.setattr(net, "forward", None)
    monkeypatch.setattr(study_demo, "side_by_side", None)
    monkeypatch.setattr(reproduce_run, "theorem1", None)
    monkeypatch.setattr(report_page, "runs_page", None)
    calls = {
        "audit": lambda: audit(*SUBJECT, out=out),
        "share": lambda: audit_share(*SUBJECT, rank=0, world_size=1, out=out),
        "curve": lambda: curve(*SUBJECT, AuditSettings.of(), AuditContext(out=out), epsilons=[0.1, 0.2]),
        "demo": lambda: study_demo.demo(out, seeds=[1], device=torch.device("cpu")),
        "theorem1": lambda: reproduce_run.reproduce("theorem1", scale="tiny", out=out, device=torch.device("cpu")),
        "report": lambda: write_report([tmp_path], out=out / "page.html"),
    }
    with pytest.raises(InputError, match=r"file/run.* cannot be written"):
        calls[command]()
