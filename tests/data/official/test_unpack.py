"""Archives: the official layout, and everything else that a tar may hold."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from faal.data.official import unpack as module
from faal.data.official.unpack import unpack
from faal.errors import InputError


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size, found.mode = kind, target, len(content), 0o4777
    return found, content


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w:gz") as tar:
        for member, content in entries:
            tar.addfile(member, io.BytesIO(content))
    return whole.getvalue()


FOLDER = entry("cifar", kind=tarfile.DIRTYPE)
GOOD = (FOLDER, entry("cifar/meta", b"names"), entry("cifar/file.txt~"), entry("cifar/train", b"0123456789"))
SIZE = 15


def test_the_official_layout(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(packed(*GOOD))
    unpack(tmp_path / "a.tar.gz", tmp_path / "cifar", size=SIZE)
    found = {path.name: path.read_bytes() for path in (tmp_path / "cifar").iterdir()}
    assert found == {"meta": b"names", "file.txt~": b"", "train": b"0123456789"}
    assert all(path.stat().st_mode & 0o7111 == 0 for path in (tmp_path / "cifar").iterdir())


def large_header() -> bytes:
    """An archive whose extended header alone unpacks to more than the data set has."""
    whole = io.BytesIO()
    with tarfile.open(
        fileobj=whole, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 10**6}
    ) as tar:
        tar.addfile(*[GOOD[1][0], io.BytesIO(GOOD[1][1])])
    return whole.getvalue()


HARMFUL: dict[str, Callable[[], bytes]] = {
    "absolute": lambda: packed(FOLDER, entry("/cifar/meta", b"x")),
    "climbing": lambda: packed(FOLDER, entry("cifar/../../evil", b"x")),
    "climbing within": lambda: packed(FOLDER, entry("cifar/..", b"x")),
    "beside the folder": lambda: packed(FOLDER, entry("evil", b"x")),
    "another folder": lambda: packed(entry("other/meta", b"x")),
    "a folder within": lambda: packed(FOLDER, entry("cifar/deep", kind=tarfile.DIRTYPE)),
    "deeper": lambda: packed(FOLDER, entry("cifar/deep/meta", b"x")),
    "hidden": lambda: packed(FOLDER, entry("cifar/.bashrc", b"x")),
    "of another system": lambda: packed(FOLDER, entry("cifar/..\\evil", b"x"), entry("cifar/C:evil", b"x")),
    "a symbolic link": lambda: packed(FOLDER, entry("cifar/meta", kind=tarfile.SYMTYPE, target="/etc/passwd")),
    "a link, then a file through it": lambda: packed(
        entry("cifar", kind=tarfile.SYMTYPE, target="/tmp"), entry("cifar/meta", b"x")
    ),
    "a hard link": lambda: packed(*GOOD, entry("cifar/more", kind=tarfile.LNKTYPE, target="cifar/meta")),
    "a device": lambda: packed(FOLDER, entry("cifar/meta", kind=tarfile.CHRTYPE)),
    "a pipe": lambda: packed(FOLDER, entry("cifar/meta", kind=tarfile.FIFOTYPE)),
    "a file twice": lambda: packed(*GOOD, entry("cifar/meta")),
    "a byte more": lambda: packed(*GOOD, entry("cifar/more", b"x")),
    "a byte less": lambda: packed(*GOOD[:-1]),
    "a large file": lambda: packed(*GOOD, entry("cifar/more", bytes(10**6))),
    "a large header": large_header,
    "cut short": lambda: packed(*GOOD)[:-20],
    "no gzip": lambda: b"text",
    "no tar": lambda: gzip.compress(b"text" * 1000),
    "empty": lambda: b"",
}


@pytest.mark.parametrize("case", HARMFUL)
def test_what_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEADERS", 20_000)
    place = tmp_path / "here"
    place.mkdir()
    (place / "a.tar.gz").write_bytes(HARMFUL[case]())
    with pytest.raises(InputError) as caught:
        unpack(place / "a.tar.gz", place / "cifar", size=SIZE)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here"]
    assert sum(path.lstat().st_size for path in (place / "cifar").iterdir()) <= SIZE
    assert not [path for path in (place / "cifar").iterdir() if path.is_symlink() or not path.is_file()]
