"""The normalisation of image processors, against their own arithmetic; and the steps that are noted or rejected."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from faal.errors import InputError
from faal.models.normalize import Normalized, parse_normalize, reverses_channels
from faal.models.preprocessing import complete_settings, input_size, normalisation_text, resize_notes

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
BYTES = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(0)).double()


def by_the_library(
    *,
    factor: float = 1 / 255,
    offset: float = 0,
    mean: list[float] | None = None,
    std: list[float] | None = None,
    again: bool = False,
    reverse: bool = False,
) -> Tensor:
    """Rescale, normalise, divide by the deviation again, reverse: step by step, from bytes, in float64."""
    pixels = BYTES * factor - offset
    if mean is not None:
        pixels = (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    if again:
        pixels = pixels / torch.tensor(std).view(-1, 1, 1)
    return pixels[:, [2, 1, 0]] if reverse else pixels


def applied(settings: dict[str, Any], network: str | None = None) -> Tensor:
    text = normalisation_text(complete_settings(settings, network, "hf:a"), 3, "hf:a") or "none"
    images, statistics = (BYTES / 255).float(), parse_normalize(text, 3)
    if statistics is None:
        return images
    return Normalized(nn.Identity(), *statistics, reverse=reverses_channels(text))(images)


BOTH = {"image_mean": MEAN, "image_std": STD}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image_processor_type": "CLIPImageProcessor", **BOTH}, {"mean": MEAN, "std": STD}),
        ({"feature_extractor_type": "ViTFeatureExtractor", **BOTH}, {"mean": MEAN, "std": STD}),
        ({"image_processor_type": "ViTImageProcessorFast", "do_normalize": False, **BOTH}, {}),
        ({"image_processor_type": "ViTImageProcessor", "do_normalize": None, **BOTH}, {}),
        (
            {"image_processor_type": "BitImageProcessor", "rescale_factor": 1 / 127.5, **BOTH},
            {"factor": 1 / 127.5, "mean": MEAN, "std": STD},
        ),
        (
            {"image_processor_type": "BitImageProcessor", "do_rescale": False, "image_mean": 120.5, "image_std": 60.5},
            {"factor": 1, "mean": [120.5], "std": [60.5]},
        ),
        ({"image_processor_type": "BitImageProcessor", "do_rescale": False, "do_normalize": False}, {"factor": 1}),
        (
            {"image_processor_type": "EfficientNetImageProcessor", "include_top": True, **BOTH},
            {"mean": MEAN, "std": STD, "again": True},
        ),
        ({"image_processor_type": "EfficientNetImageProcessor", **BOTH}, {"mean": MEAN, "std": STD, "again": True}),
        (
            {
                "image_processor_type": "EfficientNetImageProcessor",
                "rescale_factor": 2 / 255,
                "rescale_offset": True,
                "do_normalize": False,
                "include_top": False,
            },
            {"factor": 2 / 255, "offset": 1},
        ),
        ({"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": True}, {"reverse": True}),
        ({"image_processor_type": "MobileViTImageProcessor"}, {"reverse": True}),
        ({"image_processor_type": "MobileViTImageProcessor", "do_flip_channel_order": False, **BOTH}, {}),
        ({"image_processor_type": "PPLCNetImageProcessor", **BOTH}, {"mean": MEAN, "std": STD, "reverse": True}),
        # Steps of other processors are ignored.
        (
            {
                "image_processor_type": "ConvNextImageProcessor",
                "include_top": True,
                "rescale_offset": True,
                "do_flip_channel_order": True,
                **BOTH,
            },
            {"mean": MEAN, "std": STD},
        ),
        # Labels of segmentation, and a conversion of images already in colour.
        (
            {"image_processor_type": "BeitImageProcessor", "do_reduce_labels": True, "do_convert_rgb": True, **BOTH},
            {"mean": MEAN, "std": STD},
        ),
    ],
)
def test_each_pixel_is_normalised_as_by_the_processor(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    torch.testing.assert_close(applied(settings).double(), by_the_library(**expected), rtol=2e-6, atol=2e-6)


def test_without_a_named_processor_the_network_decides() -> None:
    expected = by_the_library(reverse=True)
    torch.testing.assert_close(applied({"do_normalize": False}, "mobilevitv2").double(), expected, rtol=2e-6, atol=2e-6)
    expected = by_the_library(mean=MEAN, std=STD)
    torch.testing.assert_close(applied(BOTH, "vit").double(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        ({"image_processor_type": "ImageGPTImageProcessor"}, "do_color_quantize"),
        ({"image_processor_type": "DonutImageProcessor", **BOTH}, "do_thumbnail"),
        ({"image_processor_type": "ViTImageProcessor", "do_grayscale": True, **BOTH}, "do_grayscale"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True, **BOTH}, "do_pad"),
        ({"image_processor_type": "SomebodysImageProcessor", **BOTH}, "SomebodysImageProcessor"),
        ({"image_processor_type": "ViTImageProcessor"}, "image_mean"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": MEAN, "image_std": "half"}, "image_std"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": MEAN, "image_std": 0.0}, "image_std"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": True, **BOTH}, "rescale_factor"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [120.0], "image_std": [60.0]}, "image_mean"),
    ],
)
def test_a_step_that_cannot_be_applied_is_named(settings: dict[str, Any], step: str) -> None:
    with pytest.raises(InputError, match=rf"{step}.*--normalize") as caught:
        applied(settings)
    assert "\n" not in str(caught.value)


CROP = {"do_center_crop": True, "crop_size": {"height": 224, "width": 240}, "size": {"shortest_edge": 256}}


@pytest.mark.parametrize(
    ("settings", "fitting", "named"),
    [
        ({"do_resize": True, "size": {"shortest_edge": 224}}, [(224, 224), (224, 300)], "--size 224,224"),
        ({"do_resize": True, "size": {"height": 16, "width": 20}}, [(16, 20)], "16x20"),
        ({"size": 224}, [(224, 224)], "224"),
        (CROP, [(224, 240)], "--size 224,240"),
        ({**CROP, "crop_size": 224}, [(224, 224)], "--size 224,224"),
        ({**CROP, "do_center_crop": False}, [(256, 256)], "256"),
        ({"do_resize": True, "size": {"longest_edge": 480}}, [], "longest_edge"),
    ],
)
def test_another_size_is_named(settings: dict[str, Any], fitting: list[tuple[int, int]], named: str) -> None:
    size = input_size(settings)
    assert [resize_notes(size, *shape, "hf:a") for shape in fitting] == [[]] * len(fitting)
    (sentence,) = resize_notes(size, 32, 32, "hf:a")
    assert named in sentence
    assert "32x32" in sentence


@pytest.mark.parametrize("settings", [{}, {"do_resize": False, "size": 224}])
def test_no_size_is_named_where_images_are_not_resized(settings: dict[str, Any]) -> None:
    assert resize_notes(input_size(settings), 32, 32, "hf:a") == []
