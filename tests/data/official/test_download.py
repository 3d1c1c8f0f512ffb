"""One file from a server that breaks off, sends something else, or ignores Range requests."""

from pathlib import Path

import numpy as np
import pytest
from tests.helpers.file_server import FileServer, official, serving

from faal.data.official import download as module
from faal.data.official.download import TRIES, UnreachableError, download
from faal.errors import InputError

CONTENT = np.random.default_rng(0).bytes(300_000)
FILE = official("file.gz", CONTENT)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.0)


def fetched(server: FileServer, path: Path) -> list[str]:
    """Download the file; returns the sentences about connections that broke off."""
    said: list[str] = []
    with serving(server):
        download(FILE, f"{server.address}file.gz", path, scheme="http", say=said.append)
    assert path.read_bytes() == CONTENT
    return said


def test_two_breaks_are_continued(tmp_path: Path) -> None:
    server = FileServer({"file.gz": CONTENT}, breaks={"file.gz": [100_000, 250_000]})
    said = fetched(server, tmp_path / "file.gz")
    assert server.requests["file.gz"] == [None, "bytes=100000-", "bytes=250000-"]
    assert ["100,000" in said[0], "250,000" in said[1], len(said)] == [True, True, 2]


def test_a_later_call_continues(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(CONTENT[:1234])
    server = FileServer({"file.gz": CONTENT})
    assert fetched(server, tmp_path / "file.gz") == []
    assert server.requests["file.gz"] == ["bytes=1234-"]
    assert fetched(FileServer({}), tmp_path / "file.gz") == []  # all of it is there: no request


def test_without_range_requests_it_begins_again(tmp_path: Path) -> None:
    server = FileServer({"file.gz": CONTENT}, breaks={"file.gz": [100_000, 200_000]}, ranges=False)
    assert ["restarting" in said for said in fetched(server, tmp_path / "file.gz")] == [False, True] * 2
    assert len(server.requests["file.gz"]) == 3


def test_a_partial_file_longer_than_the_whole_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(CONTENT + b"more")
    assert fetched(FileServer({"file.gz": CONTENT}), tmp_path / "file.gz") == []


def test_a_server_that_sends_nothing_new_is_given_up(tmp_path: Path) -> None:
    server = FileServer({"file.gz": CONTENT}, breaks={"file.gz": [100_000] * 9})
    with serving(server), pytest.raises(UnreachableError, match="closed the connection"):
        download(FILE, f"{server.address}file.gz", tmp_path / "file.gz", scheme="http")
    assert len(server.requests["file.gz"]) == 1 + TRIES
    assert (tmp_path / "file.gz").read_bytes() == CONTENT[:100_000]


@pytest.mark.parametrize(("status", "requests"), [(403, 1), (404, 1), (429, TRIES), (503, TRIES)])
def test_only_statuses_that_may_pass_are_tried_again(tmp_path: Path, status: int, requests: int) -> None:
    server = FileServer({"file.gz": CONTENT}, status={"file.gz": status})
    with serving(server), pytest.raises(UnreachableError, match=str(status)):
        download(FILE, f"{server.address}file.gz", tmp_path / "file.gz", scheme="http")
    assert len(server.requests["file.gz"]) == requests
    assert list(tmp_path.iterdir()) == []


def test_no_server(tmp_path: Path) -> None:
    with serving(FileServer({})) as server:
        pass
    with pytest.raises(UnreachableError, match="refused"):
        download(FILE, f"{server.address}file.gz", tmp_path / "file.gz", scheme="http")


OTHER = {
    "other content": (CONTENT[::-1], True, "SHA-256"),
    "shorter": (CONTENT[:-1], True, "299,999 bytes"),
    "longer": (CONTENT + b"x", True, "300,001 bytes"),
    "longer, of no stated length": (CONTENT + b"x" * 10**6, False, "as file.gz instead"),
    "a page": (b"<html>sign in</html>", True, "20 bytes"),
}


@pytest.mark.parametrize("begun", [0, 10])
@pytest.mark.parametrize("case", OTHER)
def test_another_file_is_refused(tmp_path: Path, case: str, begun: int) -> None:
    content, states_length, said = OTHER[case]
    path = tmp_path / "file.gz"
    if begun:
        path.write_bytes(CONTENT[:begun])
    server = FileServer({"file.gz": content}, states_length=states_length)
    with serving(server), pytest.raises(InputError, match=said) as caught:
        download(FILE, f"{server.address}file.gz", path, scheme="http")
    assert "\n" not in str(caught.value)
    assert not path.exists() or path.read_bytes() == CONTENT[:begun]


def test_after_another_content_the_next_call_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"x" * 1000)
    with serving(FileServer({"file.gz": CONTENT})) as server, pytest.raises(InputError, match="SHA-256"):
        download(FILE, f"{server.address}file.gz", tmp_path / "file.gz", scheme="http")
    assert fetched(FileServer({"file.gz": CONTENT}), tmp_path / "file.gz") == []


def test_https_alone(tmp_path: Path) -> None:
    """Neither the address nor a redirection may have another scheme."""
    with serving(FileServer({"file.gz": CONTENT})) as server:
        with pytest.raises(UnreachableError, match="not https"):
            download(FILE, f"{server.address}file.gz", tmp_path / "file.gz")
        assert not server.requests
    for elsewhere in ("https://127.0.0.1:9/file.gz", "file:///etc/hostname"):
        with (
            serving(FileServer({"file.gz": CONTENT}, redirect=elsewhere)) as server,
            pytest.raises(UnreachableError, match=r"which is not http|not allowed"),
        ):
            download(FILE, f"{server.address}file.gz", tmp_path / "file.gz", scheme="http")
    assert list(tmp_path.iterdir()) == []
