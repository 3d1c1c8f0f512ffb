"""A data set from its source, whole or not at all, and read where it was put."""

import hashlib
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.data.readers.test_cifar import write_cifar10
from tests.helpers.file_server import FileServer, serving
from tests.idx_files import arrays, write

from faal.data import load_data
from faal.data.official import download as download_module
from faal.data.official import fetch as module
from faal.data.official.fetch import fetch
from faal.data.official.sources import SOURCES, OfficialSource
from faal.engine.interrupts import Interrupted
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError

ARCHIVE = "cifar-10-python.tar.gz"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_module, "PAUSE", 0.0)


@pytest.fixture
def mnist(tmp_path: Path) -> FileServer:
    folder = write(tmp_path / "made", arrays(), packed=True)
    server = FileServer({path.name: path.read_bytes() for path in folder.iterdir()})
    shutil.rmtree(folder)
    return server


@pytest.fixture
def cifar(tmp_path: Path) -> FileServer:
    folder = write_cifar10(tmp_path / "made" / "cifar-10-batches-py")
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as tar:
        tar.add(folder, folder.name)
    server = FileServer({ARCHIVE: (tmp_path / ARCHIVE).read_bytes()})
    (tmp_path / ARCHIVE).unlink()
    return server


def unpacked_size(tmp_path: Path) -> int:
    return sum(path.stat().st_size for path in (tmp_path / "made" / "cifar-10-batches-py").iterdir())


def source_of(name: str, server: FileServer, tmp_path: Path) -> OfficialSource:
    source = server.source(SOURCES[name])
    return replace(source, unpacked=unpacked_size(tmp_path)) if source.unpacked is not None else source


def test_the_sources_are_whole() -> None:
    for source in SOURCES.values():
        assert source.address.startswith("https://")
        assert source.address.endswith("/")
        assert source.scheme == "https"
        assert all(len(bytes.fromhex(file.sha256)) == hashlib.sha256().digest_size for file in source.files)
        assert (len(source.files) == 1) == (source.unpacked is not None)
    digests = [file.sha256 for source in SOURCES.values() for file in source.files]
    assert len(set(digests)) == len(digests)


def test_files(tmp_path: Path, mnist: FileServer) -> None:
    root, seen = tmp_path / "root", {}
    mnist.breaks = {"train-images-idx3-ubyte.gz": [20, 50]}
    with serving(mnist):
        source = source_of("mnist", mnist, tmp_path)
        assert fetch(source, root, progress=lambda name, have, size: seen.update({name: (have, size)}))
        assert not fetch(source, root)
    assert seen == {file.name: (file.size, file.size) for file in source.files}
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()) == sorted(
        f"MNIST/raw/{name}" for name in mnist.files
    )
    train = load_data(f"mnist:{root}").train
    assert train is not None
    assert train.n == 6


def test_an_archive(tmp_path: Path, cifar: FileServer) -> None:
    root = tmp_path / "root"
    cifar.breaks = {ARCHIVE: [100, 2000]}
    with serving(cifar):
        source = source_of("cifar10", cifar, tmp_path)
        assert fetch(source, root)
        assert not fetch(source, root)
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert len(cifar.requests[ARCHIVE]) == 3
    test = load_data(f"cifar10:{root}").test
    assert test is not None
    assert test.n == 4


def test_an_archive_that_was_brought(tmp_path: Path, cifar: FileServer) -> None:
    """Without a network: the archive in the folder is checked and unpacked, and stays."""
    root = tmp_path / "root"
    root.mkdir()
    source = source_of("cifar10", cifar, tmp_path)
    (root / ARCHIVE).write_bytes(cifar.files[ARCHIVE][:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256"):
        fetch(source, root)
    (root / ARCHIVE).write_bytes(cifar.files[ARCHIVE])
    assert fetch(source, root)
    assert sorted(path.name for path in root.iterdir()) == ["cifar-10-batches-py", ARCHIVE]
    assert not cifar.requests


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_without_a_network_nothing_is_left_and_the_sentence_names_files_and_folder(
    tmp_path: Path, mnist: FileServer, cifar: FileServer, name: str
) -> None:
    server, root = {"mnist": mnist, "cifar10": cifar}[name], tmp_path / "root"
    with serving(server):
        source = source_of(name, server, tmp_path)
    with pytest.raises(InputError) as caught:
        fetch(source, root)
    said = str(caught.value)
    assert all(file.name in said for file in source.files)
    assert str(root) in said
    assert "\n" not in said
    assert not root.exists()


def test_half_of_it_is_no_data_set_and_is_continued(tmp_path: Path, mnist: FileServer) -> None:
    root, images = tmp_path / "root", "t10k-images-idx3-ubyte.gz"
    mnist.status = {images: 503}
    with serving(mnist):
        source = source_of("mnist", mnist, tmp_path)
        with pytest.raises(InputError, match=r"503.*the same command continues"):
            fetch(source, root)
        assert not (root / "MNIST" / "raw").exists()
        with pytest.raises(InputError, match="no MNIST in"):
            load_data(f"mnist:{root}")
        mnist.status.clear()
        assert fetch(source, root)
    assert len(mnist.requests["train-images-idx3-ubyte.gz"]) == 1
    assert [path.name for path in (root / "MNIST").iterdir()] == ["raw"]


def test_an_interrupt_keeps_what_has_come(tmp_path: Path, mnist: FileServer) -> None:
    root, images = tmp_path / "root", "train-images-idx3-ubyte.gz"
    mnist.breaks = {images: [40]}

    def interrupted(name: str, have: int, size: int) -> None:
        raise KeyboardInterrupt

    with serving(mnist):
        source = source_of("mnist", mnist, tmp_path)
        with pytest.raises(Interrupted, match=r"raw\.part"):
            fetch(source, root, progress=interrupted)
        assert not (root / "MNIST" / "raw").exists()
        assert fetch(source, root)
    assert mnist.requests[images] == [None, "bytes=40-"]


def test_another_content_leaves_no_folder(tmp_path: Path, mnist: FileServer) -> None:
    root, labels = tmp_path / "root", "train-labels-idx1-ubyte.gz"
    with serving(mnist):
        source = source_of("mnist", mnist, tmp_path)
        mnist.files = {**mnist.files, labels: mnist.files[labels][::-1]}
        with pytest.raises(InputError, match=f"{labels} was received with the SHA-256"):
            fetch(source, root)
    assert not (root / "MNIST" / "raw").exists()
    assert labels not in {path.name for path in root.rglob("*")}


def test_a_harmful_archive_leaves_no_folder(tmp_path: Path, cifar: FileServer) -> None:
    with tarfile.open(tmp_path / ARCHIVE, "w:gz") as tar:
        tar.add(tmp_path / "made" / "cifar-10-batches-py" / "test_batch", "cifar-10-batches-py/../../../evil")
    cifar.files = {ARCHIVE: (tmp_path / ARCHIVE).read_bytes()}
    with serving(cifar), pytest.raises(InputError, match="evil"):
        fetch(source_of("cifar10", cifar, tmp_path), tmp_path / "root")
    assert not (tmp_path / "root" / "cifar-10-batches-py").exists()
    assert not list(tmp_path.rglob("evil"))


def test_what_is_there_is_not_overwritten(tmp_path: Path, mnist: FileServer, cifar: FileServer) -> None:
    (tmp_path / "root" / "cifar-10-batches-py").mkdir(parents=True)
    own = tmp_path / "root" / "cifar-10-batches-py" / "own"
    own.write_text("own")
    with pytest.raises(InputError, match="contains 3 bytes"):
        fetch(source_of("cifar10", cifar, tmp_path), tmp_path / "root")
    raw = tmp_path / "root" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    source = source_of("mnist", mnist, tmp_path)
    with pytest.raises(InputError, match="lacks"):
        fetch(source, tmp_path / "root")
    for name in mnist.files:
        (raw / name).write_bytes(b"own")
    with pytest.raises(InputError, match="3 bytes instead of"):
        fetch(source, tmp_path / "root")
    assert own.read_text() == "own"
    assert {path.read_bytes() for path in raw.iterdir()} == {b"own"}


def test_one_command_at_a_time(tmp_path: Path, mnist: FileServer) -> None:
    from threading import Thread

    source, caught = source_of("mnist", mnist, tmp_path), []

    def other() -> None:
        try:
            fetch(source, tmp_path / "root")
        except InputError as error:
            caught.append(str(error))

    with folder_lock(tmp_path / "root" / "MNIST" / "raw.part"):
        thread = Thread(target=other)
        thread.start()
        thread.join()
    assert ["--to" in said for said in caught] == [True]


def test_the_space_is_checked_first(tmp_path: Path, cifar: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    source, usage = source_of("cifar10", cifar, tmp_path), shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=source.size))
    with serving(cifar), pytest.raises(InputError, match="MB"):
        fetch(source, tmp_path / "root")
    assert not cifar.requests
    assert not (tmp_path / "root").exists()
