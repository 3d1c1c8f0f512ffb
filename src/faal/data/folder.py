"""A folder of image files: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png; JPEG, WebP and BMP as well."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from PIL import Image

from faal.data.dataset import DataSet, Split
from faal.data.images import FORMATS, RESIDENT_LIMIT, Images, InMemory, OnDisk, threads, unreadable
from faal.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
GRAY = ("1", "L", "LA")
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

Files = list[tuple[Path, int]]


def read_folder(path: Path, size: tuple[int, int] | None, rgb: bool = False) -> DataSet:
    """A data set from class folders; a class is named by its folder, and classes are numbered in the names' order.

    Args:
        path: holds `train`, `test` or both, each with one folder per class.
        size: (H, W) to resize to; without it all images must have one size.
        rgb: three channels even if all images are gray.

    Images are gray (one channel) if all files of both parts are, RGB otherwise, and a note says so where both kinds
    occur. So does one of what is passed over: images of other formats, and those in folders within a class's. A part of
    at most `RESIDENT_LIMIT` bytes is decoded at once; a larger one stays on disk and is decoded batch by batch.
    """
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; folder:DIR needs DIR/train/CLASS and DIR/test/CLASS")
    folders = {part: path / part for part in ("train", "test") if (path / part).is_dir()}
    if not folders:
        raise InputError(f"{path} holds neither a folder train nor a folder test; put the class folders into these")
    names = {part: _class_names(folder) for part, folder in folders.items()}
    if len(names) == 2 and names["train"] != names["test"]:
        odd = sorted(set(names["train"]) ^ set(names["test"]))
        raise InputError(
            f"the classes under {path}/train and {path}/test differ in {', '.join(odd)}; make them the same"
        )
    classes = next(iter(names.values()))
    files = {part: _files(folder, classes) for part, folder in folders.items()}
    every = [file for part in files.values() for file, _ in part]
    shape, notes = _common_shape(every, path, size, rgb)
    splits = {part: _split(part_files, shape, path) for part, part_files in files.items()}
    return DataSet(
        path.resolve().name, classes, splits.get("train"), splits.get("test"), (*_passed_over(folders, classes), *notes)
    )


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:  # bytes of another encoding, which no file of results could hold
            raise InputError(f"the class folder {name!a} in {folder} is not named in UTF-8; rename it") from None
    return tuple(names)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}); look at its permissions") from None


def _files(folder: Path, classes: tuple[str, ...]) -> Files:
    """Every image file with its label, class by class in the order of the names."""
    files: Files = []
    for label, name in enumerate(classes):
        entries = _entries(folder / name)
        images = sorted(file for file in entries if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
        if not images:
            others = _listed(file.suffix.lower() for file in entries if file.suffix.lower() in _other_formats())
            what = f"but {others}; convert them to PNG" if others else "; fill the class or delete its folder"
            raise InputError(f"{folder / name} holds no {', '.join(SUFFIXES)} images{' ' * bool(others)}{what}")
        files += [(file, label) for file in images]
    return files


def _passed_over(folders: dict[str, Path], classes: tuple[str, ...]) -> list[str]:
    """That there are images which are not read, in a sentence."""
    homes = [folder / name for folder in folders.values() for name in classes]
    others = [
        entry
        for home in homes
        for entry in _entries(home)
        if entry.suffix.lower() not in SUFFIXES and not entry.name.startswith(".")
    ]
    formats = _listed(entry.suffix.lower() for entry in others if entry.suffix.lower() in _other_formats())
    known = {*SUFFIXES, *_other_formats()}
    within = [entry for entry in others if entry.is_dir() and any(e.suffix.lower() in known for e in _entries(entry))]
    found = [f"{formats} files"] * bool(formats)
    if within:
        found.append(f"the images in {len(within)} {'folder' if len(within) == 1 else 'folders'} such as {within[0]}")
    told = f"Not read: {' and '.join(found)}; only {', '.join(SUFFIXES)} files directly in a class's folder are."
    return [told] if found else []


def _listed(suffixes: Iterable[str]) -> str:
    """`12 .tif and 3 .gif`; empty for none."""
    return " and ".join(f"{count} {suffix}" for suffix, count in sorted(Counter(suffixes).items()))


@cache
def _other_formats() -> frozenset[str]:
    """The endings of image files that are not read."""
    Image.init()
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset({*endings, ".heic", ".avif"} - set(SUFFIXES))


def _split(files: Files, shape: tuple[int, int, int], path: Path) -> Split:
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    return Split(_store(files, shape), labels, files=tuple(file.relative_to(path).as_posix() for file, _ in files))


def _store(files: Files, shape: tuple[int, int, int]) -> Images:
    store = OnDisk([file for file, _ in files], shape)
    if len(files) * shape[0] * shape[1] * shape[2] > RESIDENT_LIMIT:
        return store
    return InMemory(store.read(torch.arange(len(files))))


def _common_shape(
    files: list[Path], path: Path, size: tuple[int, int] | None, rgb: bool
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """(channels, H, W) of all files, from their headers alone; and what is odd about them."""
    headers = list(threads().map(_header, files))
    gray = sum(mode in GRAY for mode, _ in headers)
    mixed = 0 < gray < len(files) and not rgb
    note = f"{gray} of {len(files)} images under {path} are gray; like the others they get three channels, all alike."
    if size is None:
        size = headers[0][1] if headers else (0, 0)
        for file, (_, other) in zip(files, headers, strict=True):
            if other != size:
                raise InputError(
                    f"images under {path} differ in size: {files[0]} has {size[0]}x{size[1]} and {file} has "
                    f"{other[0]}x{other[1]}; give --size H,W to resize them"
                )
    return (1 if gray == len(files) and not rgb else 3, *size), (note,) if mixed else ()


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    """An image file's mode and (H, W), without decoding it."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            mode, (width, height) = image.mode, image.size
    except Exception as error:  # as many kinds as there are ways to damage a header
        raise unreadable(path, error) from error
    if mode in DEEP:
        raise InputError(f"{path} has more than 8 bits per pixel, which would be cut off; convert it to 8 bits")
    return mode, (height, width)
