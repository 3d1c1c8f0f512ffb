"""Bad input to the page: one sentence, and no file is written or lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faal.errors import InputError
from faal.report import write_report

Write = Callable[..., dict[str, Any]]


def test_bad_input(tmp_path: Path, run_folder: Write, demo_folder: Write) -> None:
    run_folder(tmp_path / "a")
    run_folder(tmp_path / "b", classes=list("abcdefghij"))
    run_folder(tmp_path / "c", attacks=("square",))
    demo_folder(tmp_path / "demo")
    (tmp_path / "file").write_text("")
    a, b, c, demo = (tmp_path / name for name in ("a", "b", "c", "demo"))
    cases: list[tuple[list[Path], dict[str, Any], str]] = [
        ([], {}, "nothing to report"),
        ([a], {"names": ["x", "y"]}, "2 names were given for 1 folders"),
        ([a, b], {}, "different classes"),
        ([a, c], {}, "have no attack in common"),
        ([a, demo], {}, "is a demo's folder; name only this folder"),
        ([a], {"out": tmp_path / "file" / "page.html"}, "cannot be written"),
        ([tmp_path / "nowhere"], {}, "there is no folder"),
    ]
    for folders, options, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            write_report(folders, **options)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.medium
def test_a_page_that_cannot_be_written_completely_leaves_the_old_one(
    tmp_path: Path, run_folder: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder(tmp_path / "a")
    page = write_report([tmp_path / "a"])
    before = page.read_bytes()

    def full(path: Path, text: str, **_: object) -> None:
        path.write_bytes(text.encode()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(InputError, match="cannot be written"):
        write_report([tmp_path / "a"])
    assert page.read_bytes() == before
    assert not list((tmp_path / "a").glob("*.part"))


@pytest.mark.parametrize("name", ["audit.json", "metrics.jsonl", "best.pt"])
def test_a_file_that_is_no_page_is_not_overwritten(name: str, tmp_path: Path, run_folder: Write) -> None:
    run_folder(tmp_path / "a")
    path = tmp_path / "a" / name
    if not path.exists():
        path.write_bytes(b"weights")
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf"{name} exists, is not a report, and is not overwritten"):
        write_report([tmp_path / "a"], out=path)
    assert path.read_bytes() == before
