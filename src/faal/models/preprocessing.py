"""What Hugging Face's image processors do to images before a network: per pixel, as `--normalize` says it, or in size.

A processor maps an image u in [0, 1] to (255 f u - o - mean) / std, with the factor f (1/255) and the offset o (0, 1).
EfficientNet's may divide by std once more, and some reverse the channels. All of that is one mean and one deviation per
channel and the order of the channels. What is not per pixel, other than the size, cannot be applied and is refused.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faal.errors import InputError
from faal.models.normalize import BLUE_FIRST


@dataclass(frozen=True)
class Processor:
    """How one kind of processor differs from the common one.

    Attributes:
        defaults: its own steps, with the values that hold where a file does not say.
        fixed: what it does whatever a file says.
    """

    defaults: Mapping[str, bool] = field(default_factory=dict)
    fixed: Mapping[str, bool] = field(default_factory=dict)


OWN: dict[str, bool] = {"do_flip_channel_order": False, "rescale_offset": False, "include_top": False}
"""Steps of single processors. All others ignore them, even where a file names them."""

COMMON = (
    *("Beit", "Bit", "CLIP", "ConvNext", "DINOv3ViT", "DPT", "DeiT", "Levit", "MobileNetV1", "MobileNetV2"),
    *("PoolFormer", "Pvt", "Segformer", "Siglip", "TextNet", "ViT"),
)
"""Processors that rescale and normalise, and do nothing else but change the size."""

PROCESSORS: dict[str, Processor] = {
    **dict.fromkeys(COMMON, Processor()),
    "Donut": Processor(defaults={"do_thumbnail": True, "do_align_long_axis": False, "do_pad": True}),
    "EfficientNet": Processor(defaults={"include_top": True, "rescale_offset": False}),
    "ImageGPT": Processor(defaults={"do_color_quantize": True}),
    "MobileViT": Processor(defaults={"do_flip_channel_order": True}, fixed={"do_normalize": False}),
    "Perceiver": Processor(fixed={"do_center_crop": False}),  # which comes before its change of size
    "PPLCNet": Processor(fixed={"do_flip_channel_order": True}),
}
"""Name, without `ImageProcessor` -> how it differs."""

BY_NETWORK = {
    "donut-swin": "Donut",
    "efficientnet": "EfficientNet",
    "imagegpt": "ImageGPT",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViT",
    "pp_lcnet": "PPLCNet",
}
"""The processor where the file names none, by `model_type`. That of every network not listed here is a common one."""

KNOWN = {
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"),
    *("do_convert_rgb", "do_reduce_labels"),
}
"""Steps that are applied here, or named, or do nothing to images in colour."""

OTHERWISE = "say with --normalize what is done to each pixel, MEAN:STD, MEAN:STD:bgr or none"


def settings_of(told: Mapping[str, Any], network: str | None, where: str) -> dict[str, Any]:
    """A processor's settings in full: those of the file, with its own defaults.

    Args:
        told: what the file says.
        network: the network's `model_type`, if known.
        where: what to call the network in an error.

    Raises:
        InputError: its steps are not known here.
    """
    named = told.get("image_processor_type", told.get("feature_extractor_type"))
    if named is None:
        kind, processor = None, PROCESSORS.get(BY_NETWORK.get(network or "", ""))
    else:
        kind = str(named).removesuffix("Fast").removesuffix("Pil")
        kind = kind.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
        processor = PROCESSORS.get(kind)
        if processor is None:
            raise InputError(
                f"{where} has its images prepared by a {named}, whose steps are not known here; {OTHERWISE}"
            )
    if processor is None:  # a file that names neither: it means the steps that it has
        return dict(told)
    others = OWN.keys() - processor.defaults.keys() - processor.fixed.keys()
    return {**processor.defaults, **told, **dict.fromkeys(others, False), **processor.fixed}


def per_pixel(settings: Mapping[str, Any], channels: int, where: str) -> str | None:
    """What is done to every pixel of an image in [0, 1], as `MEAN:STD` or `MEAN:STD:bgr`; None for nothing.

    Args:
        settings: those of the processor, in full.
        channels: of the images.
        where: what to call the network in an error.

    Raises:
        InputError: a step that is not per pixel, or one whose numbers are missing or of no use.

    Example:
        >>> per_pixel({"rescale_factor": 2 / 255, "rescale_offset": True, "do_normalize": False}, 3, "hf:a")
        '0.5:0.5'
    """
    for name, value in settings.items():
        if name.startswith("do_") and name not in KNOWN and value:
            raise InputError(f"{where} has its images changed by {name}, which is not per pixel; {OTHERWISE}")
    scale, offset = 255.0, 0.0
    if settings.get("do_rescale", True):
        scale *= _numbers(settings.get("rescale_factor", 1 / 255), "rescale_factor", where)[0]
        offset = 1.0 if settings.get("rescale_offset") else 0.0
    mean, std = [0.0], [1.0]
    if settings.get("do_normalize", True):
        mean, std = (_numbers(settings.get(name), name, where) for name in ("image_mean", "image_std"))
    if settings.get("include_top"):
        second = _numbers(settings.get("image_std"), "image_std", where)
        std = [first * again for first, again in _pairs(std, second)]
    if scale <= 0 or min(std) <= 0:
        raise InputError(f"{where} has its images multiplied by 0 or less (rescale_factor, image_std); {OTHERWISE}")
    mean, std = [(value + offset) / scale for value in mean], [value / scale for value in std]
    # Nine digits tell one float32 from the next.
    text = ":".join(",".join(f"{number:.9g}" for number in values) for values in (mean, std))
    if any(len(values) not in (1, channels) for values in (mean, std)):
        raise InputError(
            f"{where} expects images of {max(len(mean), len(std))} channels, normalised by {text}, and the data has "
            f"{channels}; say with --normalize what these are normalised by, MEAN:STD or none"
        )
    if not all(0 <= value <= 1 for value in mean):
        raise InputError(
            f"{where} has its images shifted by {text.partition(':')[0]}, which is no mean of images in [0, 1] "
            f"(rescale_factor, rescale_offset, image_mean); {OTHERWISE}"
        )
    reverse = bool(settings.get("do_flip_channel_order")) and channels == 3
    return None if text == "0:1" and not reverse else text + (f":{BLUE_FIRST}" if reverse else "")


@dataclass(frozen=True)
class Size:
    """The size that images get before a network: `height` x `width`, or both None where that is no fixed size.

    `words` says it as the file does; with `shorter` it is that of the shorter edge alone.
    """

    words: str
    height: int | None = None
    width: int | None = None
    shorter: bool = False

    def fits(self, height: int, width: int) -> bool:
        """Whether images of this size are left as they are."""
        return min(height, width) == self.height if self.shorter else (height, width) == (self.height, self.width)


def size_of(settings: Mapping[str, Any]) -> Size | None:
    """The size at the end of a processor's steps; None where it leaves images as they are, or has no steps."""
    if settings.get("do_center_crop") and settings.get("crop_size") is not None:
        told, exact = settings["crop_size"], True
    elif settings.get("do_resize", True) and settings.get("size") is not None:
        told, exact = settings["size"], False
    else:
        return None
    match told:
        case {"height": int(height), "width": int(width)} | [int(height), int(width)]:
            return Size(f"{height}x{width}", height, width)
        case int(edge) if exact:
            return Size(f"{edge}x{edge}", edge, edge)
        case int(edge) | {"shortest_edge": int(edge)}:
            return Size(f"{edge} pixels (the shorter edge)", edge, edge, shorter=True)
    return Size(json.dumps(told))


def about_size(size: Size | None, height: int, width: int, where: str) -> list[str]:
    """That a network is described for images of another size than height x width, in a sentence."""
    if size is None or size.fits(height, width):
        return []
    alike = "" if size.height is None else f"; if its weights are, --size {size.height},{size.width} makes them alike"
    return [f"{where} is for images resized to {size.words}; these are {height}x{width} and stay so{alike}."]


def _numbers(value: object, name: str, where: str) -> list[float]:
    """A setting's numbers; a list of one for a single number. Raises InputError where there are none."""
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not values or any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        raise InputError(
            f"{where} has its images prepared with {name} {json.dumps(value)}, which is no number; {OTHERWISE}"
        )
    return [float(v) for v in values]


def _pairs(first: list[float], second: list[float]) -> list[tuple[float, float]]:
    length = max(len(first), len(second))
    return list(zip(*(values * length if len(values) == 1 else values for values in (first, second)), strict=False))
