"""Validation of images and labels, with messages that include the remedy.

`as_images` and `as_labels` convert and validate one array; `check` validates a data set from any reader.
"""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from faal.arguments import written
from faal.data.dataset import DataSet, Split
from faal.data.images import InMemory
from faal.errors import InputError, first_line
from faal.tensors import dense, valued

CHANNELS = (1, 3)

MAX_CLASSES = 2**15
"""Predictions are stored as int16; a larger label is an identifier rather than a class's number."""

ROUNDING = 1e-5
"""The largest excess over [0, 1] that is clamped as a rounding error: about 1e-7 for a resize in float32, 1e-6 for long
sums. The step between two grey levels is 4e-3."""

OVERSHOOT = 0.25
"""Cubic interpolation may undershoot 0 by this; normalised images have smaller values."""

MAX_NORMALISED = 16.0
"""The largest value expected of a normalised image; larger ones indicate images in [0, 255]."""


def as_tensor(values: object, where: str) -> Tensor:
    """A tensor on the CPU from a tensor, a NumPy array of numbers or nested lists."""
    if isinstance(values, Tensor):
        return valued(where, dense(where, values, "a tensor of numbers")).detach().cpu()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{where} is ragged ({error}); all its rows must have one length") from error
    except (TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"{where} is not an array of numbers ({first_line(error)}); pass one") from error
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{where} contains {array.dtype} instead of numbers; store it as an array of uint8, int64 or float32"
        )
    if array.dtype == np.longdouble and array.dtype != np.double:  # which PyTorch does not have
        array = array.astype(np.double)
    native = array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array.astype(native, copy=False), requirements=["C", "W"]))


def as_images(values: object, where: str) -> InMemory:
    """Images in memory from (N, H, W), (N, H, W, channels) or (N, channels, H, W); 1 channel or 3.

    uint8 is unchanged, floating-point numbers become float32. Where the layout of four dimensions is ambiguous, the
    channels are first.
    """
    array = as_tensor(values, where)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in CHANNELS and array.shape[3] in CHANNELS:
        array = array.permute(0, 3, 1, 2)
    elif array.ndim != 4 or array.shape[1] not in CHANNELS:
        raise InputError(
            f"{where} has shape {tuple(array.shape)}; images must be (N, H, W), (N, H, W, channels) or "
            "(N, channels, H, W) with 1 or 3 channels"
        )
    if array.is_floating_point():
        array = array.float()
    elif array.dtype != torch.uint8:
        kind = str(array.dtype).removeprefix("torch.")
        raise InputError(f"{where} contains {kind}; store images as uint8, or as float32 in [0, 1]")
    return InMemory(array.contiguous())


def as_labels(values: object, where: str) -> Tensor:
    """Labels (N,) int64 from integers of any width; a trailing dimension of 1 is dropped."""
    array = as_tensor(values, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.squeeze(1)
    if array.ndim != 1:
        raise InputError(f"{where} has shape {tuple(array.shape)}; labels must be (N,), one class number per image")
    if array.is_floating_point() or array.is_complex() or array.dtype == torch.bool:
        kind = str(array.dtype).removeprefix("torch.")
        raise InputError(f"{where} contains {kind}; labels must be integers, the classes' numbers from 0")
    array = array.long()
    if len(array) and int(array.max()) >= MAX_CLASSES:
        raise InputError(f"{where} has the label {int(array.max())}, out of range; number the classes from 0")
    return array


def check(data: DataSet, where: str) -> DataSet:
    """The data set if it is valid, with rounding errors outside [0, 1] clamped.

    Args:
        data: from any reader.
        where: the beginning of the messages.

    Raises:
        InputError: a part is empty, the classes' names are not distinct text, labels are out of range, or images are
            outside [0, 1] or not finite.
    """
    parts = [(part, split) for part, split in (("training", data.train), ("test", data.test)) if split is not None]
    if not parts:
        raise InputError(f"{where} contains neither training nor test images")
    for part, split in parts:
        if split.n == 0:
            raise InputError(f"{where} contains no {part} images; omit the part, or add images to it")
    for kind, name in (("data set", data.name), *(("class", name) for name in data.classes)):
        written(str(name), f"{where}: the name of the {kind}")
    if data.num_classes < 2:
        raise InputError(
            f"{where} has {_counted(data.num_classes, 'class', 'classes')}; a classifier needs at least two"
        )
    if data.num_classes > MAX_CLASSES:
        raise InputError(f"{where} has {data.num_classes:,} classes, more than the maximum of {MAX_CLASSES:,}")
    if len(set(data.classes)) < data.num_classes:
        twice = next(name for name in data.classes if data.classes.count(name) > 1)
        raise InputError(f"{where} names the class {twice!r} twice; give every class a unique name")
    for part, split in parts:
        _check_split(split, data.num_classes, f"{where} ({part} part)")
    train, train_notes = _in_range(data.train, f"{where} (training part)")
    test, test_notes = _in_range(data.test, f"{where} (test part)")
    return replace(data, train=train, test=test, notes=(*data.notes, *train_notes, *test_notes))


def check_shapes(data: DataSet, where: str) -> None:
    """Raises InputError where training and test images differ in shape."""
    if data.train is not None and data.test is not None and data.train.images.shape != data.test.images.shape:
        raise InputError(
            f"{where} has training images of {_shape(data.train)} and test images of {_shape(data.test)}; "
            "give both the same channels, and one size with --size H,W"
        )


def clamped(pixels: Tensor, where: str) -> tuple[Tensor, tuple[str, ...]]:
    """Floating-point images with rounding errors outside [0, 1] clamped, and a note about it.

    Images with values further outside, or NaN, are returned unchanged; a later check rejects them.

    Args:
        pixels: images of any shape.
        where: the beginning of the note.
    """
    beyond = rounded_beyond(pixels)
    return (pixels.clamp(0, 1), (clamped_note(beyond, where),)) if beyond else (pixels, ())


def rounded_beyond(pixels: Tensor) -> float:
    """How far images are outside [0, 1] where that is by rounding; 0 for those within, further outside, or NaN."""
    if pixels.numel() == 0:
        return 0.0
    low, high = (float(bound) for bound in pixels.aminmax())
    # Comparisons with NaN are false.
    return max(-low, high - 1, 0.0) if low >= -ROUNDING and high <= 1 + ROUNDING else 0.0


def clamped_note(beyond: float, where: str) -> str:
    """The note on images that were clamped; `where` begins it."""
    return f"{where} has values up to {beyond:.1g} outside [0, 1], by rounding; they were clamped."


def into_range(low: float, high: float) -> str:
    """The remedy for images with values from `low` to `high`, of which one is outside [0, 1]."""
    if high > MAX_NORMALISED:
        return "divide by 255" + (", and clamp the values" if low < 0 or high > 255 else "")
    if low < -OVERSHOOT:
        return "undo the normalisation, which must be part of the model"
    return "divide by 255" if high > 2 else "clamp the values"


def other_channels(channels: int) -> str:
    """The remedy where a network does not accept images with that many channels, 1 or 3."""
    return "--rgb gives gray images three equal channels" if channels == 1 else "save the images in gray"


def if_gray(channels: int) -> str:
    """The end of a message about a network that does not accept the images, if they may be gray by mistake."""
    return f"; if it is for colour, {other_channels(channels)}" if channels == 1 else ""


def other_classes(data: DataSet) -> str:
    """The remedy where a network has another number of classes than the data."""
    if data.counted:
        return (
            "the number of classes is the highest label plus 1: if more classes exist, list all in the array `classes`"
        )
    return "name the data that it was trained for with --data"


def _check_split(split: Split, num_classes: int, where: str) -> None:
    lowest, highest = int(split.labels.min()), int(split.labels.max())
    if lowest < 0 or highest >= num_classes:
        wrong = lowest if lowest < 0 else highest
        raise InputError(
            f"{where} has the label {wrong}, out of range: {num_classes} classes are numbered 0 to {num_classes - 1}"
        )


def _in_range(split: Split | None, where: str) -> tuple[Split | None, tuple[str, ...]]:
    """The split with its images in [0, 1], and notes of changes; images that are not `InMemory` are not checked."""
    if split is None or not isinstance(split.images, InMemory) or not split.images.pixels.is_floating_point():
        return split, ()
    pixels, notes = clamped(split.images.pixels, where)
    if notes:
        split = replace(split, images=InMemory(pixels, split.images.device))
    low, high = (float(bound) for bound in pixels.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{where} has images with NaN or infinite values; correct or remove these images")
    if low < 0 or high > 1:
        raise InputError(
            f"{where} has images from {low:g} to {high:g}; they must be in [0, 1]: {into_range(low, high)}"
        )
    return split, notes


def _shape(split: Split) -> str:
    channels, height, width = split.images.shape
    return f"{height}x{width} with {_counted(channels, 'channel', 'channels')}"


def _counted(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"
