import base64
import io

import numpy as np
import pytest
from PIL import Image

from faal.report.charts.images import MAX_PIXELS_WIDE, data_uri, pictures
from faal.report.files.run import ExampleImages


def decoded(uri: str) -> Image.Image:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("channels", [1, 3])
def test_data_uri_keeps_every_pixel(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (channels, 8, 5), dtype=np.uint8)
    found = np.asarray(decoded(data_uri(image)))
    np.testing.assert_array_equal(found, image[0] if channels == 1 else image.transpose(1, 2, 0))


def test_large_images_are_scaled_down() -> None:
    assert decoded(data_uri(np.zeros((3, 400, 200), dtype=np.uint8))).size == (MAX_PIXELS_WIDE // 2, MAX_PIXELS_WIDE)


def examples(label: list[int], predicted: list[int]) -> ExampleImages:
    original = np.full((len(label), 1, 4, 4), 100, dtype=np.uint8)
    adversarial = original.copy()
    adversarial[:, :, 0, 0] += 8
    adversarial[:, :, 0, 1] -= 8
    return ExampleImages(
        original=original,
        adversarial=adversarial,
        label=np.array(label),
        predicted=np.array(predicted),
        attack=("pgd20",) * len(label),
    )


def test_classes_take_turns_from_the_worst_one_on() -> None:
    found = pictures(examples([0, 0, 0, 1, 2, 2], [1, 1, 1, 0, 2, 0]), ("a", "b", "c"), first="b", count=4)
    assert [(picture.label, picture.predicted) for picture in found] == [("b", "a"), ("c", "a"), ("a", "b"), ("a", "b")]


def test_difference_is_amplified_about_grey() -> None:
    (picture,) = pictures(examples([0], [1]), ("a", "b"), first="a", count=4)
    difference = np.asarray(decoded(picture.difference))
    assert picture.gain == 15
    assert difference[0, :3].tolist() == [128 + 120, 128 - 120, 128]
