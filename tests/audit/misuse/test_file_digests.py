import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.audit.misuse.test_train_test_overlap import CLASSES, audited

from faal.audit.misuse import file_digests as module
from faal.audit.misuse import train_test_overlap as check
from faal.audit.misuse.train_test_overlap import train_test_overlap
from faal.data.images import OnDisk
from faal.engine import processes
from faal.errors import InputError

SHAPE = (1, 4, 4)


@pytest.fixture(autouse=True)
def _few_files_are_many(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(check, "MIN_FILES", 20)
    monkeypatch.setattr(check, "CHUNK", 7)
    monkeypatch.setattr(module, "SETTLED", 0)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places of the files that are decoded, in order."""
    places: list[int] = []
    real = OnDisk.read

    def read(store: OnDisk, index: torch.Tensor) -> torch.Tensor:
        places.extend(index.tolist())
        return real(store, index)

    monkeypatch.setattr(OnDisk, "read", read)
    return places


def grey(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, SHAPE[1:], dtype=np.uint8)
    Image.fromarray(pixels).save(path, compress_level=0)  # all of one size


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Thirty training images; the test images have the seeds 20 to 39."""
    paths = [tmp_path / f"{seed:02d}.png" for seed in range(30)]
    for seed, path in enumerate(paths):
        grey(path, seed)
    return paths


TEST = torch.from_numpy(
    np.stack([np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8) for seed in range(20, 40)])
)


def leaked(files: list[Path], shape: tuple[int, int, int] = SHAPE) -> int:
    found: int = train_test_overlap(audited(TEST), OnDisk(files, shape), CLASSES).values["leaked"]
    return found


def tables(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "faal" / "digests").glob("*"))


def test_unchanged_files_are_decoded_once(files: list[Path], decoded: list[int], tmp_path: Path) -> None:
    assert leaked(files) == 10
    assert sorted(decoded) == list(range(30))
    written = [path.read_bytes() for path in tables(tmp_path)]
    assert len(written) == 1
    decoded.clear()
    assert leaked(files) == 10
    assert decoded == []
    assert [path.read_bytes() for path in tables(tmp_path)] == written


def _other_pixels(path: Path) -> None:
    grey(path, 39)


def _other_pixels_at_the_same_time(path: Path) -> None:
    """As a copy that keeps the time of the content has: that of the entry is new."""
    before = path.stat()
    grey(path, 39)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _another_file_in_its_place(path: Path) -> None:
    grey(path.with_name("other.png"), 39)
    os.replace(path.with_name("other.png"), path)


@pytest.mark.parametrize("change", [_other_pixels, _other_pixels_at_the_same_time, _another_file_in_its_place])
def test_a_changed_file_is_noticed(
    change: Callable[[Path], None], files: list[Path], decoded: list[int], tmp_path: Path
) -> None:
    leaked(files)
    decoded.clear()
    time.sleep(0.05)  # longer than the resolution of the times
    change(files[3])
    assert leaked(files) == 11
    assert decoded == [3]
    assert len(tables(tmp_path)) == 1


def test_files_are_added_and_removed(files: list[Path], decoded: list[int], tmp_path: Path) -> None:
    leaked(files)
    decoded.clear()
    grey(tmp_path / "30.png", 30)
    assert leaked([tmp_path / "30.png", *files[:25]]) == 6
    assert decoded == [0]
    decoded.clear()
    assert leaked(files) == 10
    assert sorted(decoded) == list(range(25, 30))


def test_another_size_or_decoder_has_digests_of_its_own(
    files: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    leaked(files)
    decoded.clear()
    subject = audited(torch.zeros(3, 1, 2, 2, dtype=torch.uint8))
    train_test_overlap(subject, OnDisk(files, (1, 2, 2)), CLASSES)
    assert len(decoded) == 30
    decoded.clear()
    monkeypatch.setattr(module.PIL, "__version__", "0.0")
    assert leaked(files) == 10
    assert len(decoded) == 30


def test_a_file_that_was_just_changed_is_read_again(
    files: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SETTLED", 10**12)
    for _ in range(2):
        decoded.clear()
        assert leaked(files) == 10
        assert len(decoded) == 30


def test_few_files_leave_nothing_in_the_cache(files: list[Path], tmp_path: Path) -> None:
    assert leaked(files[11:]) == 10
    assert tables(tmp_path) == []


@pytest.mark.parametrize("damage", [b"", b"text", None, np.zeros((4, 3), np.uint8), np.zeros((4, 24)), np.zeros(24)])
def test_a_damaged_cache_is_written_again(
    damage: bytes | np.ndarray | None, files: list[Path], decoded: list[int], tmp_path: Path
) -> None:
    leaked(files)
    (table,) = tables(tmp_path)
    whole = table.read_bytes()
    if isinstance(damage, np.ndarray):
        with table.open("wb") as file:
            np.save(file, damage)
    else:
        table.write_bytes(whole[:200] if damage is None else damage)
    decoded.clear()
    assert leaked(files) == 10
    assert len(decoded) == 30
    assert table.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert leaked(files) == 10


def test_a_file_that_is_gone_is_an_error_as_before(files: list[Path]) -> None:
    files[4].unlink()
    with pytest.raises(InputError, match=r"training images: .*04\.png"):
        leaked(files)


def test_processes_keep_what_all_have_computed(
    files: list[Path], decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[list[object]] = []
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    for rank in (1, 0):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        monkeypatch.setattr(processes, "is_main", lambda rank=rank: rank == 0)
        calls: list[object] = []
        sent.append(calls)

        def gather(item: object, rank: int = rank, calls: list[object] = calls) -> list[object]:
            calls.append(item)
            return [item] if rank else [item, sent[0][len(calls) - 1]]

        monkeypatch.setattr(processes, "gather_objects", gather)
        found = leaked(files)
    assert found == 10
    assert sorted(decoded) == list(range(30))
