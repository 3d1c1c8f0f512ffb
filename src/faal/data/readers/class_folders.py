"""List the images in the class folders of one part of a data set; images that would be ignored are an error."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from faal.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""The suffixes of a class's images; hidden files are ignored."""

# Not every format that PIL names: these include PDF, video and HDF5.
OTHER_SUFFIXES = (
    ".tif", ".tiff", ".gif", ".apng", ".avif", ".heic", ".heif", ".jfif", ".jpe", ".jp2", ".jxl",
    ".pbm", ".pgm", ".ppm", ".pnm", ".tga", ".exr", ".dcm", ".dng", ".cr2", ".nef", ".arw",
)  # fmt: skip
"""Suffixes of images that are not read: a class with such images would be evaluated, or trained on, without them."""

LabelledFiles = list[tuple[Path, int]]


def class_names(folder: Path) -> tuple[str, ...]:
    """The class folders' names, sorted, without hidden folders."""
    return tuple(sorted(entry.name for entry in _visible(folder) if _is_folder(entry)))


def class_files(folder: Path, classes: tuple[str, ...], parts: Sequence[Path]) -> LabelledFiles:
    """Every image file with its label, class by class in the order of the names.

    Args:
        folder: the part's folder.
        classes: the names of its class folders.
        parts: the folders of all parts, which have the same classes.

    Raises:
        InputError: a class has no images, or some that would be ignored: in another format, or in a nested folder.
    """
    found = []
    for label, name in enumerate(classes):
        if not (files := _images(folder / name)):
            # Whoever deletes the folder of one part alone is refused for the other's; one class is no data set.
            places = " and ".join(str(part / name) for part in parts)
            drop = f", or delete the class: the folder{'s' * (len(parts) > 1)} {places}" if len(classes) > 2 else ""
            raise InputError(f"{folder / name} contains no {', '.join(SUFFIXES)} images; add images to the class{drop}")
        found += [(file, label) for file in files]
    return found


def common_classes(folders: Sequence[Path]) -> tuple[str, ...]:
    """The class folders' names, which all parts have.

    Raises:
        InputError: they differ.
    """
    names = {folder: class_names(folder) for folder in folders}
    for folder, own in names.items():
        for other, others in names.items():
            lacking = [name for name in others if name not in own]
            if lacking and not own:
                raise InputError(f"{folder} contains no class folders, and {other} does; add them, or delete {folder}")
            if lacking:
                raise InputError(
                    f"the classes under {other} and {folder} differ: {folder} lacks {', '.join(lacking)}; add images "
                    f"of each in a folder of its name, or delete {' and '.join(str(other / name) for name in lacking)}"
                )
    return next(iter(names.values()))


def loose_images(folder: Path) -> int:
    """The number of images next to the class folders, which have no class."""
    return sum(_is_image(entry.name) and not _is_folder(entry) for entry in _visible(folder))


def _images(folder: Path) -> list[Path]:
    """The images of a class, by name. Raises InputError for those that would be left out."""
    entries = list(_visible(folder))
    others = sorted(entry.name for entry in entries if _suffix(entry.name) in OTHER_SUFFIXES)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise InputError(
            f"{folder} contains images that would be left out of the class ({others[0]}{more}): only "
            f"{', '.join(SUFFIXES)} are read; convert them, or move them out of the folder"
        )
    for nested in sorted(entry.path for entry in entries if _is_folder(entry)):
        if (image := _first_within(nested)) is not None:
            raise InputError(
                f"{folder} contains a folder with images that would be left out of the class ({image}): folders within "
                f"a class are not read; move its images into {folder}, or the folder out of it"
            )
    named = sorted((entry for entry in entries if _suffix(entry.name) in SUFFIXES), key=lambda entry: entry.name)
    for entry in named:
        if not _is_file(entry):
            raise InputError(
                f"{entry.path} is not a file but a folder, a broken link, a pipe or a device; replace or delete it"
            )
    return [folder / entry.name for entry in named]


def _visible(folder: Path | str) -> Iterator["os.DirEntry[str]"]:
    """The entries of a folder that are not hidden."""
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder or a link to one; false for cyclic links."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a regular file or a link to one."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _first_within(folder: str) -> str | None:
    """An image at any depth of a folder; links to folders are not followed, since they may form a cycle."""
    pending = [folder]
    while pending:
        folder = pending.pop()
        entries = sorted(_visible(folder), key=lambda entry: entry.name)
        for entry in entries:
            if _is_image(entry.name):
                return entry.path
        pending += [entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]
    return None


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES or _suffix(name) in OTHER_SUFFIXES


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
