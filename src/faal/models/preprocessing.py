"""The preprocessing of Hugging Face's image processors: per pixel, in the form of `--normalize`, and the size.

A processor maps an image u in [0, 1] to (255 f u - o - mean) / std, with the factor f (1/255) and the offset o (0, 1).
EfficientNet's may divide by std twice, and some reverse the channels. The result is one mean and one deviation per
channel and the order of the channels. Steps that are not per pixel, other than resizing, are rejected.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from faal.errors import InputError
from faal.models.normalize import BGR


@dataclass(frozen=True)
class Processor:
    """Differences of a type of processor from the common one.

    Attributes:
        defaults: its additional steps, with their default values.
        fixed: steps whose values in a file are ignored.
    """

    defaults: Mapping[str, bool] = field(default_factory=dict)
    fixed: Mapping[str, bool] = field(default_factory=dict)


SPECIFIC: dict[str, bool] = {"do_flip_channel_order": False, "rescale_offset": False, "include_top": False}
"""Steps of single processors. All other processors ignore them."""

COMMON = (
    *("Beit", "Bit", "CLIP", "ConvNext", "DINOv3ViT", "DPT", "DeiT", "Levit", "MobileNetV1", "MobileNetV2"),
    *("PoolFormer", "Pvt", "Segformer", "Siglip", "TextNet", "ViT"),
)
"""Processors that only rescale, normalise and resize."""

PROCESSORS: dict[str, Processor] = {
    **dict.fromkeys(COMMON, Processor()),
    "Donut": Processor(defaults={"do_thumbnail": True, "do_align_long_axis": False, "do_pad": True}),
    "EfficientNet": Processor(defaults={"include_top": True, "rescale_offset": False}),
    "ImageGPT": Processor(defaults={"do_color_quantize": True}),
    "MobileViT": Processor(defaults={"do_flip_channel_order": True}, fixed={"do_normalize": False}),
    "Perceiver": Processor(fixed={"do_center_crop": False}),  # which precedes its resizing
    "PPLCNet": Processor(fixed={"do_flip_channel_order": True}),
}
"""Name, without `ImageProcessor` -> its differences."""

BY_NETWORK = {
    "donut-swin": "Donut",
    "efficientnet": "EfficientNet",
    "imagegpt": "ImageGPT",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViT",
    "pp_lcnet": "PPLCNet",
}
"""`model_type` -> the processor if the file names none. All other networks have a common one."""

KNOWN = {
    *("do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_flip_channel_order"),
    *("do_convert_rgb", "do_reduce_labels"),
}
"""Steps that are applied here, noted, or without effect on RGB images."""

REMEDY = "set the normalisation of each pixel with --normalize: MEAN:STD, MEAN:STD:bgr or none"


def complete_settings(recorded: Mapping[str, Any], network: str | None, where: str) -> dict[str, Any]:
    """All settings of a processor: those of the file, with the processor's defaults.

    Args:
        recorded: those of the file.
        network: the network's `model_type`, if known.
        where: the network's name in an error.

    Raises:
        InputError: the processor is not known here.
    """
    named = recorded.get("image_processor_type", recorded.get("feature_extractor_type"))
    if named is None:
        type_name, processor = None, PROCESSORS.get(BY_NETWORK.get(network or "", ""))
    else:
        type_name = str(named).removesuffix("Fast").removesuffix("Pil")
        type_name = type_name.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
        processor = PROCESSORS.get(type_name)
        if processor is None:
            raise InputError(f"{where} preprocesses images by a {named}, whose steps are not known here; {REMEDY}")
    if processor is None:  # the file names neither: there are no other steps
        return dict(recorded)
    others = SPECIFIC.keys() - processor.defaults.keys() - processor.fixed.keys()
    return {**processor.defaults, **recorded, **dict.fromkeys(others, False), **processor.fixed}


def normalisation_text(settings: Mapping[str, Any], channels: int, where: str) -> str | None:
    """A processor's normalisation of an image in [0, 1], as `MEAN:STD` or `MEAN:STD:bgr`; None for the identity.

    Args:
        settings: all settings of the processor.
        channels: of the images.
        where: the network's name in an error.

    Raises:
        InputError: a step that is not per pixel, or one whose numbers are missing or invalid.

    Example:
        >>> normalisation_text({"rescale_factor": 2 / 255, "rescale_offset": True, "do_normalize": False}, 3, "hf:a")
        '0.5:0.5'
    """
    for name, value in settings.items():
        if name.startswith("do_") and name not in KNOWN and value:
            raise InputError(f"{where} preprocesses images by {name}, which is not per pixel; {REMEDY}")
    scale, offset = 255.0, 0.0
    if settings.get("do_rescale", True):
        scale *= _numbers(settings.get("rescale_factor", 1 / 255), "rescale_factor", where)[0]
        offset = 1.0 if settings.get("rescale_offset") else 0.0
    mean, std = [0.0], [1.0]
    if settings.get("do_normalize", True):
        mean, std = (_numbers(settings.get(name), name, where) for name in ("image_mean", "image_std"))
    if settings.get("include_top"):
        second = _numbers(settings.get("image_std"), "image_std", where)
        std = [first * other for first, other in _pairs(std, second)]
    if scale <= 0 or min(std) <= 0:
        raise InputError(f"{where} multiplies images by 0 or less (rescale_factor, image_std); {REMEDY}")
    mean, std = [(value + offset) / scale for value in mean], [value / scale for value in std]
    # Nine digits identify a float32.
    text = ":".join(",".join(f"{number:.9g}" for number in values) for values in (mean, std))
    if any(len(values) not in (1, channels) for values in (mean, std)):
        raise InputError(
            f"{where} expects images of {max(len(mean), len(std))} channels, normalised by {text}, and the data has "
            f"{channels}; set their normalisation with --normalize: MEAN:STD or none"
        )
    if not all(0 <= value <= 1 for value in mean):
        raise InputError(
            f"{where} shifts images by {text.partition(':')[0]}, which is not a mean of images in [0, 1] "
            f"(rescale_factor, rescale_offset, image_mean); {REMEDY}"
        )
    reverse = bool(settings.get("do_flip_channel_order")) and channels == 3
    return None if text == "0:1" and not reverse else text + (f":{BGR}" if reverse else "")


@dataclass(frozen=True)
class InputSize:
    """The size to which images are resized: `height` x `width` in pixels, or both None where that is not a fixed size.

    `text` is the size as in the file; with `shorter` it is that of the shorter edge.
    """

    text: str
    height: int | None = None
    width: int | None = None
    shorter: bool = False

    def fits(self, height: int, width: int) -> bool:
        """Whether images of this size are not resized."""
        return min(height, width) == self.height if self.shorter else (height, width) == (self.height, self.width)


def input_size(settings: Mapping[str, Any]) -> InputSize | None:
    """The size to which a processor resizes or crops images; None where it does neither."""
    if settings.get("do_center_crop") and settings.get("crop_size") is not None:
        size, both_edges = settings["crop_size"], True
    elif settings.get("do_resize", True) and settings.get("size") is not None:
        size, both_edges = settings["size"], False
    else:
        return None
    match size:
        case {"height": int(height), "width": int(width)} | [int(height), int(width)]:
            return InputSize(f"{height}x{width}", height, width)
        case int(edge) if both_edges:
            return InputSize(f"{edge}x{edge}", edge, edge)
        case int(edge) | {"shortest_edge": int(edge)}:
            return InputSize(f"{edge} pixels (the shorter edge)", edge, edge, shorter=True)
    return InputSize(json.dumps(size))


def resize_notes(size: InputSize | None, height: int, width: int, where: str) -> list[str]:
    """A note where a network is for images of another size than height x width (pixels)."""
    if size is None or size.fits(height, width):
        return []
    advice = "" if size.height is None else f"; if its weights are too, give --size {size.height},{size.width}"
    return [f"{where} is for images resized to {size.text}; these are {height}x{width} and are not resized{advice}."]


def _numbers(value: object, name: str, where: str) -> list[float]:
    """A setting's numbers; a list of one for a single number. Raises InputError where there are none."""
    values: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not values or any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        raise InputError(
            f"{where} preprocesses images with {name} {json.dumps(value)}, which is not a number; {REMEDY}"
        )
    return [float(v) for v in values]


def _pairs(first: list[float], second: list[float]) -> list[tuple[float, float]]:
    length = max(len(first), len(second))
    return list(zip(*(values * length if len(values) == 1 else values for values in (first, second)), strict=False))
