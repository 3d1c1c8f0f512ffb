"""A data set from the value of `--data`."""

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from faal.data.checks import check, check_shapes
from faal.data.dataset import DataSet, Split
from faal.data.images import COLOURED, InMemory
from faal.data.readers.arrays import read_npz
from faal.data.readers.cifar import read_cifar
from faal.data.readers.digits import digits
from faal.data.readers.folder import read_folder
from faal.data.readers.idx import KNOWN, read_idx, read_known
from faal.data.readers.image_files import TOO_LARGE, is_too_large
from faal.data.readers.shifted import read_corrupted, read_new_test, split_corrupted, split_new_test
from faal.data.readers.user import importable, read_function
from faal.errors import InputError, permitted, unknown

FORMS = {
    "digits": "digits",
    "cifar10": "cifar10[:DIR]",
    "cifar100": "cifar100[:DIR]",
    "cifar10.1": "cifar10.1:DIR[:v4]",
    "cifar10-c": "cifar10-c:DIR:CORRUPTION:SEVERITY",
    **{name: f"{name}[:DIR]" for name in KNOWN},
    "idx": "idx:DIR",
    "folder": "folder:DIR",
    "npz": "npz:FILE",
}
"""Data set -> the form of its specification after `--data`."""


@permitted()
def load_data(spec: str, *, size: tuple[int, int] | None = None, rgb: bool = False) -> DataSet:
    """A data set by its specification.

    Args:
        spec: `digits`; `cifar10` or `cifar100`, from the default folders or, with `:DIR`, from the unpacked official
            download (for Python or binary) or its parent folder; `cifar10.1:DIR` or
            `cifar10-c:DIR:CORRUPTION:SEVERITY`, test sets for CIFAR-10 (see `shifted.py`); `fashion-mnist`, `mnist` or
            `kmnist`, from the default folders or, with `:DIR`, from a folder; `idx:DIR`, a folder of files in MNIST's
            format (see `idx/folder.py`); `folder:DIR` with DIR/train/CLASS/* and DIR/test/CLASS/*; `npz:FILE` with
            arrays `x_train`, `y_train`, `x_test`, `y_test`, or `images`, `labels` (see `arrays.py`);
            `module:function`, a function that returns a DataSet or a dict of such arrays.
        size: (H, W) to resize every image to, bilinear with antialiasing; None leaves the sizes unchanged.
        rgb: whether to give gray images three equal channels, for a network that requires them.

    Returns:
        The data set, checked; fetched images are in [0, 1].

    Raises:
        InputError: there is no such data set, or its images or labels are not valid.
    """
    if size is not None and min(size) < 1:
        raise InputError(f"images cannot be resized to {size[0]}x{size[1]}; give a height and a width of at least 1")
    if size is not None and is_too_large(*size):
        raise InputError(f"images cannot be resized to {size[0]}x{size[1]}: these are {TOO_LARGE}; give a smaller size")
    data = check(_read(spec, size, rgb), spec)
    if rgb:
        data = _in_rgb(data, spec)
    if size is not None:
        data = replace(_resized(data, size, spec), sized=True)
    check_shapes(data, spec)
    return data


def validation_split(spec: str, data: DataSet, *, size: tuple[int, int] | None = None, rgb: bool = False) -> Split:
    """The images of another data set of the same classes, to choose a network on: its test images, else all it has.

    Args:
        spec: as for `load_data`.
        data: the data set that the network is for.
        size: as for `load_data`.
        rgb: as for `load_data`.

    Raises:
        InputError: as for `load_data`; other classes or another shape than those of `data`; `data` has groups.
    """
    other = load_data(spec, size=size, rgb=rgb)
    split, own = other.test or other.train, data.train or data.test
    assert split is not None
    assert own is not None
    if data.groups is not data.classes:
        raise InputError("--validation has no groups: leave out --groups, or choose on withheld images")
    if list(other.classes) != list(data.classes):
        raise InputError(
            f"--validation {spec} has the classes {', '.join(other.classes[:5])} and {data.name} has "
            f"{', '.join(data.classes[:5])}; give images of the same classes, in the same order"
        )
    if split.images.shape != own.images.shape:
        raise InputError(
            f"--validation {spec} has images of shape {tuple(split.images.shape)}, {data.name} of "
            f"{tuple(own.images.shape)}; give images of one size"
        )
    return split


def _read(spec: str, size: tuple[int, int] | None, rgb: bool) -> DataSet:
    name, colon, argument = spec.partition(":")
    if name not in FORMS:
        named = argument.isidentifier() and all(part.isidentifier() for part in name.split("."))
        if named and (importable(name) or not get_close_matches(name, FORMS)):
            return read_function(name, argument)
        raise unknown("data set", name, FORMS, see="`faal train --help`")
    optional = f"{name}[" in FORMS[name]
    if (bool(argument) != (":" in FORMS[name]) and not optional) or (colon and not argument):
        raise InputError(f"{spec!r} is not a data set; write {FORMS[name]}")
    path = Path(argument).expanduser()
    match name:
        case "digits":
            return digits()
        case "folder":
            return read_folder(path, size, rgb)
        case "npz":
            return read_npz(path)
        case "idx":
            return read_idx(path)
        case _ if name in KNOWN:
            return read_known(name, path if argument else None)
        case "cifar10.1":
            return read_new_test(str(path))
        case "cifar10-c":
            return read_corrupted(str(path))
        case _:
            return read_cifar(name, path if argument else None)


def named_path(spec: str) -> Path | None:
    """The folder or file that a specification names; None where it names none."""
    name, _, argument = spec.partition(":")
    if name not in FORMS or not argument:
        return None
    path = Path(argument).expanduser()
    match name:
        case "cifar10.1":
            return split_new_test(str(path))[0]
        case "cifar10-c":
            return split_corrupted(str(path))[0]
        case _:
            return path


def _in_rgb(data: DataSet, spec: str) -> DataSet:
    def coloured(split: Split | None) -> Split | None:
        if split is None or split.images.shape[0] == 3:
            return split
        if not isinstance(split.images, InMemory):
            raise InputError(f"the images of {spec} cannot be given three channels; make it return RGB images")
        return replace(split, images=split.images.in_rgb())

    train, test = coloured(data.train), coloured(data.test)
    same = train is data.train and test is data.test
    return data if same else replace(data, train=train, test=test, notes=(*data.notes, COLOURED))


def _resized(data: DataSet, size: tuple[int, int], spec: str) -> DataSet:
    def at_size(split: Split | None) -> Split | None:
        if split is None or split.images.shape[1:] == size:
            return split
        if not isinstance(split.images, InMemory):
            raise InputError(
                f"the images of {spec} cannot be resized to {size[0]}x{size[1]}; make it return images of that size"
            )
        return replace(split, images=split.images.resized(*size))

    return replace(data, train=at_size(data.train), test=at_size(data.test))
