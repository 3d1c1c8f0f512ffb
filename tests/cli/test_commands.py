"""The command line: every command, its help, and that it stays light."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from faal.cli.notes import print_notes
from faal.config import recipe_names
from faal.engine import processes
from faal.methods import METHODS


def faal(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faal", *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=180, env=os.environ | {"COLUMNS": "200"}
    )


@pytest.mark.medium
@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "train",
        "repair",
        "audit",
        "compare",
        "data",
        "export",
        "report",
        "methods",
        "recipes",
        "zoo",
        "publish",
    ],
)
def test_help_teaches(command: str) -> None:
    done = faal(command, "--help")
    assert done.returncode == 0
    assert f"faal {command}" in done.stdout


@pytest.mark.medium
def test_methods_and_recipes_are_listed() -> None:
    methods, recipes = faal("methods"), faal("recipes")
    assert all(name in methods.stdout for name in METHODS)
    assert recipes.stdout.split() == recipe_names()


def test_a_recipe_shown_is_a_recipe(tmp_path: Path) -> None:
    from faal.config import load_recipe

    (tmp_path / "mine.yaml").write_text(faal("recipes", "cifar10-prn18-faal-trades-awp").stdout)
    assert load_recipe(str(tmp_path / "mine.yaml")) == load_recipe("cifar10-prn18-faal-trades-awp")


@pytest.mark.medium
def test_wrong_input_ends_the_process_with_a_sentence(tmp_path: Path) -> None:
    done = faal("train", "debug", "--data", "digit", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'digits'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_waits_for_no_torch() -> None:
    code = "import sys, faal.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_notes_are_printed_as_they_are_by_the_main_process(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    print_notes("[bold]two[/bold] classes", "one more")
    assert capsys.readouterr() == ("", "[bold]two[/bold] classes\none more\n")
    monkeypatch.setattr(processes, "is_main", lambda: False)
    print_notes("of another process")
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_two_processes_train_audit_and_resume(tmp_path: Path) -> None:
    """`torchrun`, gloo: one run, one folder, one audit; the same command again changes nothing."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "-m",
        "faal",
    ]
    training = ["train", "debug", "--data", "digits", "--epochs", "1", "--out", "run"]
    for arguments in (training, ["audit", "run", "--data", "digits", "--attacks", "pgd2"], training):
        done = subprocess.run(
            [*torchrun, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert done.returncode == 0, done.stderr
    alone = faal("audit", "run", "--data", "digits", "--attacks", "pgd2", "--out", "alone", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    import numpy as np

    one, two = (np.load(tmp_path / folder / "verdicts.npz") for folder in ("alone", "run"))
    assert all(np.array_equal(one[name], two[name]) for name in one.files)
