"""The current folder on the path: last, and only during the import."""

import sys
from pathlib import Path

import pytest

from faal.errors import InputError
from faal.named import current_folder, import_function


@pytest.fixture(autouse=True)
def _installed(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No current folder on the path, as under the command `faal`."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(work))])


def test_it_is_last_and_afterwards_removed(work: Path) -> None:
    before = [*sys.path]
    with current_folder(), current_folder():
        assert sys.path == [*before, str(work)]
    assert sys.path == before
    with pytest.raises(ZeroDivisionError), current_folder():
        _ = 1 / 0
    assert sys.path == before


@pytest.mark.parametrize("entry", ["", "the folder"])
def test_a_path_that_has_it_is_unchanged(work: Path, entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [entry and str(work), *sys.path])
    before = [*sys.path]
    with current_folder():
        assert sys.path == before
    assert sys.path == before


@pytest.mark.parametrize("file", ["yaml.py", "yaml/__init__.py"])
def test_a_name_that_an_installed_module_has_too(work: Path, file: str) -> None:
    (work / file).parent.mkdir(exist_ok=True)
    (work / file).write_text("open('imported', 'w')\ndef safe_load(): pass\n")
    with pytest.raises(InputError, match="yaml:safe_load is ambiguous"):
        import_function("yaml:safe_load")
    assert not (work / "imported").exists()


def test_an_installed_module_needs_no_folder() -> None:
    assert import_function("json:loads") is not None
