"""Parameter counts against sums worked by hand: BatchNorm of c channels 2c, a k x k convolution k^2 c_in c_out."""

from itertools import pairwise

import pytest
import torch

from faal.models import Architecture, build_model


def count(**fields: object) -> int:
    with torch.device("meta"):  # shapes alone
        model = build_model(Architecture(**fields))
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    return kernel * kernel * inputs * outputs


def norm(channels: int) -> int:
    return 2 * channels


def test_preact_resnet_18() -> None:
    stem = 1_728  # 27 x 64
    stage1 = 2 * (128 + 36_864 + 128 + 36_864)
    stage2 = (128 + 73_728 + 256 + 147_456 + 8_192) + (256 + 147_456 + 256 + 147_456)
    stage3 = (256 + 294_912 + 512 + 589_824 + 32_768) + (512 + 589_824 + 512 + 589_824)
    stage4 = (512 + 1_179_648 + 1_024 + 2_359_296 + 131_072) + (1_024 + 2_359_296 + 1_024 + 2_359_296)
    head = 1_024 + 5_120 + 10  # BatchNorm, linear
    total = stem + stage1 + stage2 + stage3 + stage4 + head
    assert total == 11_172_170  # 11,171,146 in the variant without the last BatchNorm
    assert count(model="prn18", num_classes=10) == total
    assert count(model="prn18", num_classes=100) == total + 90 * 513
    assert count(model="prn18", num_classes=10, channels=1) == total - 2 * 9 * 64


def test_resnet_18() -> None:
    stem = 1_728 + 128
    stage1 = 2 * (36_864 + 128 + 36_864 + 128)
    stage2 = (73_728 + 256 + 147_456 + 256 + 8_192 + 256) + 2 * (147_456 + 256)
    stage3 = (294_912 + 512 + 589_824 + 512 + 32_768 + 512) + 2 * (589_824 + 512)
    stage4 = (1_179_648 + 1_024 + 2_359_296 + 1_024 + 131_072 + 1_024) + 2 * (2_359_296 + 1_024)
    total = stem + stage1 + stage2 + stage3 + stage4 + 5_130
    assert total == 11_173_962
    assert count(model="rn18", num_classes=10) == total


def wide(depth: int, widen: int, classes: int) -> int:
    blocks = (depth - 4) // 6
    widths = [16, 16 * widen, 32 * widen, 64 * widen]
    total = conv(3, 16)
    for inputs, outputs in pairwise(widths):
        total += norm(inputs) + conv(inputs, outputs) + norm(outputs) + conv(outputs, outputs)
        total += conv(inputs, outputs, 1) if inputs != outputs else 0  # only the first stage, when it is not widened
        total += (blocks - 1) * 2 * (norm(outputs) + conv(outputs, outputs))
    return total + norm(widths[-1]) + widths[-1] * classes + classes


@pytest.mark.medium
def test_wide_resnet_34_10() -> None:
    stem = 432  # 27 x 16
    stage1 = (32 + 23_040 + 320 + 230_400 + 2_560) + 4 * 2 * (320 + 230_400)
    stage2 = (320 + 460_800 + 640 + 921_600 + 51_200) + 4 * 2 * (640 + 921_600)
    stage3 = (640 + 1_843_200 + 1_280 + 3_686_400 + 204_800) + 4 * 2 * (1_280 + 3_686_400)
    total = stem + stage1 + stage2 + stage3 + 1_280 + 6_410
    assert total == 46_160_474 == wide(34, 10, 10)
    assert count(model="wrn34-10", num_classes=10) == total


WIDE = [("wrn28-10", 28, 10), ("wrn34-20", 34, 20), ("wrn28-4", 28, 4), ("wrn16-1", 16, 1), ("wrn10-2", 10, 2)]


@pytest.mark.parametrize(("name", "depth", "widen"), WIDE)
def test_wide_resnets_by_name(name: str, depth: int, widen: int) -> None:
    assert count(model=name, num_classes=7) == wide(depth, widen, 7)


def test_width_and_depth_change_a_wide_resnet() -> None:
    assert count(model="wrn34-10", num_classes=10, width=2, depth=16) == wide(16, 2, 10)


def test_width_and_depth_change_a_preact_resnet() -> None:
    one_block_each = (
        conv(3, 8)
        + (norm(8) + conv(8, 8) + norm(8) + conv(8, 8))
        + (norm(8) + conv(8, 16) + norm(16) + conv(16, 16) + 8 * 16)
        + (norm(16) + conv(16, 32) + norm(32) + conv(32, 32) + 16 * 32)
        + (norm(32) + conv(32, 64) + norm(64) + conv(64, 64) + 32 * 64)
        + norm(64)
        + 64 * 5
        + 5
    )
    assert count(model="prn18", num_classes=5, width=8, depth=1) == one_block_each


@pytest.mark.parametrize("name", ["small", "small-gn"])
def test_small(name: str) -> None:
    features = (144 + 32) + (4_608 + 64) + (9_216 + 64)
    head = 32 * 16 * 10 + 10  # one feature per cell of the 4 x 4 grid
    assert count(model=name, num_classes=10, channels=1) == features + head == 19_258
