"""The command in a stranger's folder, whose modules bear the names of those that the program imports."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import faal

# `python -m` imports these before any code of this program runs; a folder `faal` is taken for the program itself.
BEFORE = {"importlib", "warnings", "contextlib", "collections", "keyword", "operator", "reprlib", "functools", "types"}
NAMES = {*sys.stdlib_module_names, *metadata.packages_distributions(), "timm", "transformers", "triton", "cupy"}
LEAVES = "open({!r}, 'w').close()\nraise ImportError('a module of the current folder')\n"

MODULE = [sys.executable, "-m", "faal"]
TORCHRUN = [
    sys.executable, "-P", "-m", "torch.distributed.run", "--nproc-per-node", "1", "--standalone", "-m", "faal",
]  # fmt: skip
TRAIN = ["train", "debug", "--data", "digits", "--epochs", "1", "--steps", "1", "--device", "cpu", "--out", "../run"]
AUDIT = ["audit", "../run", "--data", "digits", "--limit", "10", "--attacks", "clean,pgd1,autoattack"]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return kept | {"PYTHONPATH": str(Path(faal.__file__).parents[1])}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One module for each name, that leaves a file behind."""
    here = tmp_path / "theirs"
    here.mkdir()
    for name in NAMES - BEFORE - {"faal"}:
        if name.isidentifier():
            (here / f"{name}.py").write_text(LEAVES.format(str(tmp_path / f"{name}.imported")))
    return here


@pytest.mark.slow
def test_no_module_is_taken_from_there(folder: Path) -> None:
    for command in ([*MODULE, *TRAIN], [*MODULE, *AUDIT], [*TORCHRUN, "methods"]):
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=300)
        assert [path.name for path in folder.parent.glob("*.imported")] == []
        assert done.returncode == 0, done.stderr


@pytest.mark.medium
def test_nor_by_the_processes_that_the_command_starts(folder: Path) -> None:
    """Python would put the current folder first for those that are spawned."""
    code = (
        "import sys; del sys.path[0]; sys.argv = ['faal', 'zoo']\n"
        "from faal.cli import app\n"
        "from faal.study.jobs import Job, side_by_side\n"
        "try: app.main()\n"
        "except SystemExit: pass\n"
        "side_by_side([Job(title='-', function=print, arguments=())], title='-')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert [path.name for path in folder.parent.glob("*.imported")] == []
    assert done.returncode == 0, done.stderr


INSTALLED = ("torch", "yaml", "numpy", "safetensors", "cyclopts", "rich")
SCRIPT = "import sys\nfrom faal.cli.app import main\nsys.exit(main())\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with modules that bear the names of installed packages (torch, yaml), and the command as a script."""
    here = tmp_path / "theirs"
    here.mkdir()
    for name in INSTALLED:
        (here / f"{name}.py").write_text(LEAVES.format(str(tmp_path / f"{name}.imported")))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "faal").write_text(SCRIPT)
    return here


@pytest.mark.medium
@pytest.mark.parametrize(("start", "path"), [("module", "{source}:"), ("script", ":{source}")])
def test_an_empty_entry_of_the_python_path(installed: Path, start: str, path: str) -> None:
    """Python takes the current folder for it, ahead of all that is installed."""
    command = MODULE if start == "module" else [sys.executable, str(installed.parent / "bin" / "faal")]
    env = environment()
    env["PYTHONPATH"] = path.format(source=env["PYTHONPATH"]).replace(":", os.pathsep)
    arguments = ["export", "zoo:prn18w16-pgd-at", "../net.safetensors"]  # imports PyTorch and PyYAML
    done = subprocess.run([*command, *arguments], cwd=installed, env=env, capture_output=True, text=True, timeout=120)
    assert [path.name for path in installed.parent.glob("*.imported")] == []
    assert done.returncode == 0, done.stderr


def after_import(name: str, path: str, folder: Path) -> list[str]:
    """Path and PYTHONPATH of a program of this name, once it has imported this one."""
    program = folder.parent / "bin" / name
    program.write_text("import faal, os, sys\nprint(*sys.path, os.environ['PYTHONPATH'], sep='\\n')\n")
    env = environment() | {"PYTHONPATH": os.pathsep.join([str(Path(faal.__file__).parents[1]), path])}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()


def test_only_an_empty_entry_moves_and_only_for_the_command(installed: Path) -> None:
    here = str(installed)
    *path, variable = after_import("faal", "", installed)
    assert path[-1] == here
    assert here not in path[:-1]
    assert variable == str(Path(faal.__file__).parents[1])  # for the processes that it starts
    for name, given in (("faal", here), ("faal", f"{os.pathsep}{here}"), ("faal", f".{os.pathsep}"), ("other", "")):
        *path, _ = after_import(name, given, installed)
        assert here in path[:3], (name, given)


def test_a_module_of_somebody_else_keeps_its_folder(tmp_path: Path) -> None:
    """Only `python -m faal` is ours to change."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("import faal\n")
    (tmp_path / "theirs" / "__main__.py").write_text("import beside\n")
    (tmp_path / "beside.py").write_text("print('found')\n")
    done = subprocess.run(
        [sys.executable, "-m", "theirs"], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "found\n"


@pytest.mark.medium
def test_a_copy_in_the_current_folder_runs(tmp_path: Path) -> None:
    (tmp_path / "faal").symlink_to(Path(faal.__file__).parent)
    env = {name: value for name, value in environment().items() if name != "PYTHONPATH"}
    done = subprocess.run([*MODULE, "zoo"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
