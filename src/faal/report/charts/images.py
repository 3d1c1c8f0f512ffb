"""Adversarial examples as images inside the page: PNG in data URIs."""

import base64
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faal.report.files.run import ExampleImages

MAX_PIXELS_WIDE = 160
"""Pixels along the longer side; larger images are scaled down. Smaller ones are enlarged without interpolation."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An original, its adversarial example and their difference times `gain`, as data URIs."""

    label: str
    predicted: str
    attack: str
    original: str
    adversarial: str
    difference: str
    gain: int


def pictures(examples: ExampleImages, classes: tuple[str, ...], *, first: str, count: int) -> list[Picture]:
    """The misclassified examples, alternating between the classes.

    Args:
        examples: the stored examples.
        classes: the class names (C,).
        first: the first class, usually the worst.
        count: the largest number of examples.
    """
    misclassified = np.flatnonzero(examples.label != examples.predicted)
    start = classes.index(first) if first in classes else 0
    count_by_class: dict[int, int] = {}
    order: list[tuple[int, int, int]] = []
    for position in misclassified.tolist():
        label = int(examples.label[position])
        count_by_class[label] = count_by_class.get(label, -1) + 1
        order.append((count_by_class[label], (label - start) % len(classes), position))
    return [_picture(examples, classes, position) for _, _, position in sorted(order)[:count]]


def _picture(examples: ExampleImages, classes: tuple[str, ...], position: int) -> Picture:
    original, adversarial = examples.original[position], examples.adversarial[position]
    difference = adversarial.astype(np.int16) - original.astype(np.int16)
    gain = max(1, 127 // max(1, int(np.abs(difference).max())))
    amplified = np.clip(128 + gain * difference, 0, 255).astype(np.uint8)
    return Picture(
        label=classes[int(examples.label[position])],
        predicted=classes[int(examples.predicted[position])],
        attack=examples.attack[position],
        original=data_uri(original),
        adversarial=data_uri(adversarial),
        difference=data_uri(amplified),
        gain=gain,
    )


def data_uri(image: NDArray[np.uint8]) -> str:
    """A (channels, H, W) uint8 image, one channel or three, as `data:image/png;base64,...`."""
    picture = Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, -1)))
    if max(picture.size) > MAX_PIXELS_WIDE:
        picture.thumbnail((MAX_PIXELS_WIDE, MAX_PIXELS_WIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
