"""The recorded environment of a result."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import faal
from faal.engine import environment as module
from faal.engine.environment import environment

CPU = torch.device("cpu")


def test_versions_machine_and_processes() -> None:
    recorded = environment(CPU)
    assert recorded["packages"]["torch"] == torch.__version__
    assert recorded["packages"]["faal"] == faal.__version__
    assert None not in recorded["packages"].values()
    assert (recorded["device"], recorded["processes"]) == ("cpu", 1)
    assert recorded["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(recorded)) == recorded


def test_the_command_has_no_path_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/faal", "train", "debug", "--seed", "1"])
    assert environment(CPU)["command"] == "faal train debug --seed 1"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert environment(CPU)["commit"] is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_another_project_is_not_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    installed = tmp_path / ".venv" / "environment.py"
    installed.parent.mkdir()
    installed.write_text("")
    git("init")
    git("commit", "--allow-empty", "--message", "other")
    monkeypatch.setattr(module, "__file__", str(installed))
    assert environment(CPU)["commit"] is None
    git("add", ".venv")
    git("commit", "--message", "own")
    assert environment(CPU)["commit"] == git("rev-parse", "--short=12", "HEAD")


def test_without_procfs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert isinstance(environment(CPU)["processor"], str)
