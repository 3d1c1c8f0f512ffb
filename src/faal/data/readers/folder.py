"""A folder of image files: DIR/train/CLASS/*.png, DIR/test/CLASS/*.png; JPEG, WebP and BMP as well."""

from collections.abc import Callable
from pathlib import Path

import torch

from faal.data.dataset import DataSet, Split
from faal.data.images import COLOURED, RESIDENT_LIMIT, Images, InMemory, OnDisk
from faal.data.readers.class_folders import LabelledFiles, class_files, common_classes, loose_images
from faal.data.readers.image_files import Header, is_opaque, read_header, threads
from faal.errors import InputError

MAX_AS_STORED = 2**20
"""Pixels of an image up to which it is read at its stored size if no size is given."""


def read_folder(path: Path, size: tuple[int, int] | None, rgb: bool = False) -> DataSet:
    """A data set from class folders; a class is named by its folder, and classes are numbered in the names' order.

    Images are gray (one channel) if all files of both parts are, RGB otherwise, with a note where both occur.
    Notes also list content of the files that is not read: transparency, orientation tags, further frames, the profile
    of CMYK. A part of at most `RESIDENT_LIMIT` bytes is decoded when it is read, a larger one batch by batch.

    Args:
        path: contains `train`, `test` or both, each with one folder per class.
        size: (H, W) to resize to; without it all images must have one size.
        rgb: three channels even if all images are gray.

    Raises:
        InputError: there are no such folders, the parts' classes differ, images differ in size or are too large, or a
            class has images that would be ignored (`class_files`).
    """
    if not path.is_dir():
        raise InputError(f"there is no folder {path}; folder:DIR needs DIR/train/CLASS and DIR/test/CLASS")
    folders = {part: path / part for part in ("train", "test") if (path / part).is_dir()}
    if not folders:
        raise InputError(f"{path} contains neither a folder train nor a folder test; put the class folders into these")
    parts = list(folders.values())
    classes = common_classes(parts)
    files = {part: class_files(folder, classes, parts) for part, folder in folders.items()}
    shape, notes = _common_shape([file for part in files.values() for file, _ in part], path, size, rgb)
    notes += tuple(
        f"Images directly in {folder} have no class and were ignored: {count}."
        for folder in folders.values()
        if (count := loose_images(folder))
    )
    splits = {part: _split(part_files, shape, path) for part, part_files in files.items()}
    return DataSet(path.resolve().name, classes, splits.get("train"), splits.get("test"), notes)


def _split(files: LabelledFiles, shape: tuple[int, int, int], path: Path) -> Split:
    labels = torch.tensor([label for _, label in files], dtype=torch.int64)
    return Split(_store(files, shape), labels, files=tuple(file.relative_to(path).as_posix() for file, _ in files))


def _store(files: LabelledFiles, shape: tuple[int, int, int]) -> Images:
    on_disk = OnDisk([file for file, _ in files], shape)
    if len(files) * shape[0] * shape[1] * shape[2] > RESIDENT_LIMIT:
        return on_disk
    return InMemory(on_disk.read(torch.arange(len(files))))


def _common_shape(
    files: list[Path], path: Path, size: tuple[int, int] | None, rgb: bool
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """(channels, H, W) of all files, from their headers, and the notes on them."""
    headers = list(threads().map(read_header, files))
    gray = sum(header.gray for header in headers)
    mixed, coloured = 0 < gray < len(files), gray == len(files) and rgb
    note = f"{gray} of {len(files)} images under {path} are gray; they were converted to three equal channels."
    if size is None:
        size = headers[0].size if headers else (0, 0)
        for file, header in zip(files, headers, strict=True):
            if (other := header.size) != size:
                raise InputError(
                    f"images under {path} differ in size: {files[0]} has {size[0]}x{size[1]} and {file} has "
                    f"{other[0]}x{other[1]}; give --size H,W to resize them"
                )
        if size[0] * size[1] > MAX_AS_STORED:
            raise InputError(
                f"images under {path} have {size[0]}x{size[1]} pixels, more than {MAX_AS_STORED:,}, and a batch of "
                "them requires gigabytes; set --size H,W to resize them, or to confirm this size"
            )
    notes = (note,) * mixed + (COLOURED,) * coloured + _left_out(files, headers, path)
    return (1 if gray == len(files) and not rgb else 3, *size), notes


def _left_out(files: list[Path], headers: list[Header], path: Path) -> tuple[str, ...]:
    """Notes on content of the files that is not read, one sentence for each kind.

    Files with an alpha channel are decoded until one is not opaque; dropping opaque alpha loses nothing.
    """

    def files_with(condition: Callable[[Header], bool]) -> list[Path]:
        return [file for file, header in zip(files, headers, strict=True) if condition(header)]

    alpha = files_with(lambda header: header.alpha)
    opaque = zip(alpha, threads().map(is_opaque, alpha), strict=True)
    transparent = next((file for file, all_opaque in opaque if not all_opaque), None)
    rotated = files_with(lambda header: header.rotated)
    multi_frame = files_with(lambda header: header.frames > 1)
    cmyk = files_with(lambda header: header.cmyk)
    kinds = (
        (
            alpha if transparent is not None else [],
            f"have an alpha channel, which is dropped (for example {transparent} is not opaque): the stored colours "
            "are used, also where pixels are transparent; flatten the images onto a background if their content is in "
            "alpha.",
        ),
        (rotated, "have an orientation tag (for example {}), which is not applied: pixels are used as stored."),
        (multi_frame, "contain several frames (for example {}), of which the first is read."),
        (cmyk, "are in CMYK (for example {}) and were converted to RGB without their colour profile."),
    )
    return tuple(
        f"{len(found)} of {len(files)} images under {path} " + text.replace("{}", str(found[0]))
        for found, text in kinds
        if found
    )
