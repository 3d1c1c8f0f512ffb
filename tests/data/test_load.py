"""The values of `--data`."""

import subprocess
import sys
from pathlib import Path

import pytest

from faal.data import load_data
from faal.errors import InputError


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("digit", "no data set 'digit'; did you mean 'digits'?"),
        ("cifr10:/data/cifar", "did you mean 'cifar10'?"),
        ("cifr10:data", "did you mean 'cifar10'?"),
        ("imagenet", "no data set 'imagenet';"),
        ("", "no data set ''"),
        ("cifar10:", "write cifar10[:DIR]"),
        ("cifar100:", "write cifar100[:DIR]"),
        ("fashion-mnist:", "write fashion-mnist[:DIR]"),
        ("fashion", "did you mean 'fashion-mnist'?"),
        ("idx", "write idx:DIR"),
        ("folder", "write folder:DIR"),
        ("npz:", "write npz:FILE"),
        ("digits:here", "write digits"),
        ("digits:", "write digits"),
    ],
)
def test_a_wrong_specification(spec: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_data(spec)
    assert said in str(caught.value)


def test_digits_at_another_size() -> None:
    data = load_data("digits", size=(16, 12))
    assert data.train is not None
    assert data.train.images.shape == (1, 16, 12)
    with pytest.raises(InputError, match="cannot be resized to 0x8"):
        load_data("digits", size=(0, 8))


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match=f"{tmp_path}/gone.npz"):
        load_data("npz:~/gone.npz")


@pytest.mark.medium
def test_importing_costs_no_scikit_learn() -> None:
    program = "import sys, faal.data; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
