"""CIFAR-10.1 and CIFAR-10-C, from files of the official layout."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from faal.data import load_data
from faal.data.dataset import Split
from faal.data.load import named_path
from faal.data.readers.shifted import CIFAR10, PER_SEVERITY, SEVERITIES, VERSIONS
from faal.errors import InputError

ALL = SEVERITIES * PER_SEVERITY


def write_new_test(folder: Path, version: str) -> np.ndarray:
    """The two files of a version of CIFAR-10.1; returns the images."""
    folder.mkdir(parents=True, exist_ok=True)
    count = VERSIONS[version]
    images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    np.save(folder / f"cifar10.1_{version}_data.npy", images)
    np.save(folder / f"cifar10.1_{version}_labels.npy", (np.arange(count) % 10).astype(np.int32))
    return images


def write_corrupted(folder: Path, *names: str) -> Path:
    """Files of CIFAR-10-C with few blocks on the disk: the last image of each severity has its number everywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        file = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.uint8, shape=(ALL, 32, 32, 3))
        for severity in range(1, SEVERITIES + 1):
            file[severity * PER_SEVERITY - 1] = 10 * number + severity
            file[(severity - 1) * PER_SEVERITY, 0, 1, 2] = severity
    np.save(folder / "labels.npy", np.tile(np.arange(PER_SEVERITY) % 10, SEVERITIES).astype(np.uint8))
    return folder


def part_of(spec: str) -> Split:
    data = load_data(spec)
    assert (data.train, data.classes, data.counted) == (None, CIFAR10, False)
    assert data.test is not None
    assert data.test.images.shape == (3, 32, 32)
    return data.test


def test_the_new_test_set(tmp_path: Path) -> None:
    """v6, its authors' recommendation, unless another is named; from the folder, or the repository that has it."""
    images = {version: write_new_test(tmp_path / "datasets", version) for version in VERSIONS}
    for spec, version in (
        (f"cifar10.1:{tmp_path}", "v6"),
        (f"cifar10.1:{tmp_path / 'datasets'}", "v6"),
        (f"cifar10.1:{tmp_path}:v4", "v4"),
    ):
        assert load_data(spec).name == f"cifar10.1-{version}"
        test = part_of(spec)
        assert test.labels.tolist() == [k % 10 for k in range(VERSIONS[version])]
        pixels = test.images.read(torch.arange(test.n)).numpy()
        assert np.array_equal(pixels, images[version].transpose(0, 3, 1, 2))


def test_corruptions_and_severities(tmp_path: Path) -> None:
    folder = write_corrupted(tmp_path / "CIFAR-10-C", "fog", "glass_blur")
    for number, name in enumerate(("fog", "glass_blur")):
        for severity in (1, 3, 5):
            test = part_of(f"cifar10-c:{tmp_path}:{name}:{severity}")
            assert test.n == PER_SEVERITY
            assert test.labels[:12].tolist() == [*range(10), 0, 1]
            first, last = test.images.read(torch.tensor([0, PER_SEVERITY - 1]))
            assert last.unique().tolist() == [10 * number + severity]
            assert first.nonzero().tolist() == [[2, 0, 1]]
    assert load_data(f"cifar10-c:{folder}:fog:2").name == "cifar10-c-fog-2"


def test_the_folder_that_is_named() -> None:
    """Commands that write check this folder."""
    assert named_path("cifar10-c:DIR:fog:3") == named_path("cifar10.1:DIR:v4") == named_path("cifar10:DIR")
    assert named_path("cifar10.1:DIR") == Path("DIR")
    assert named_path("cifar10-c:some:DIR:fog:3") == Path("some:DIR")
    assert named_path("cifar10") is named_path("mine:function") is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cifar10-c:{}", "fog"),
        ("cifar10-c:{}:fog", "labels.npy"),
        ("cifar10-c:{}:fgo:3", "did you mean 'fog'"),
        ("cifar10-c:{}:labels:3", "fog"),
        ("cifar10-c:{}:fog:0", "1 to 5"),
        ("cifar10-c:{}:fog:6", "1 to 5"),
        ("cifar10-c:{}:fog:high", "1 to 5"),
        ("cifar10-c:{}/gone:fog:1", "labels.npy"),
        ("cifar10.1:{}", "cifar10.1_v6_data.npy"),
        ("cifar10.1:{}:v5", "cifar10.1_v6_data.npy"),
        ("cifar10.1", "write cifar10.1:DIR"),
        ("cifar10-c", "write cifar10-c:DIR:CORRUPTION:SEVERITY"),
    ],
)
def test_what_is_not_there(tmp_path: Path, spec: str, said: str) -> None:
    write_corrupted(tmp_path, "fog")
    with pytest.raises(InputError) as caught:
        load_data(spec.format(tmp_path))
    assert said in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


DAMAGE = {
    "pickle": lambda: np.array([Evil()] * 2000, dtype=object),
    "one image fewer": lambda: np.zeros((1999, 32, 32, 3), np.uint8),
    "channels first": lambda: np.zeros((2000, 3, 32, 32), np.uint8),
    "floating point": lambda: np.zeros((2000, 32, 32, 3), np.float16),
    "labels": lambda: np.zeros(2000, np.int32),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_another_array_is_refused(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_new_test(tmp_path, "v6")
    np.save(tmp_path / "cifar10.1_v6_data.npy", DAMAGE[case](), allow_pickle=True)
    with pytest.raises(InputError, match=r"cifar10\.1_v6_data\.npy") as caught:
        load_data(f"cifar10.1:{tmp_path}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("keep", [0, 5, 60, 1000, -1])
@pytest.mark.parametrize("part", ["data", "labels"])
def test_a_truncated_file_is_refused(tmp_path: Path, part: str, keep: int) -> None:
    write_new_test(tmp_path, "v6")
    path = tmp_path / f"cifar10.1_v6_{part}.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=path.name):
        load_data(f"cifar10.1:{tmp_path}")


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    write_new_test(tmp_path, "v6")
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.full(2000, 10))
    with pytest.raises(InputError, match="label 10"):
        load_data(f"cifar10.1:{tmp_path}")
