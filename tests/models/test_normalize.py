"""Normalisation inside the model."""

import pytest
import torch
from torch import nn

from faal.errors import InputError
from faal.models import Architecture, Normalized, build_model, parse_normalize


def test_normalises_each_channel() -> None:
    model = Normalized(nn.Identity(), (0.5, 0.25), (0.5, 2.0))
    images = torch.tensor([0.0, 1.0, 0.75, 0.25]).view(1, 2, 1, 2)
    expected = torch.tensor([-1.0, 1.0, 0.25, 0.0]).view(1, 2, 1, 2)
    assert torch.equal(model(images), expected)


def test_gradients_are_with_respect_to_the_image_in_0_1() -> None:
    images = torch.rand(1, 1, 2, 2, requires_grad=True)
    Normalized(nn.Identity(), (0.3,), (0.25,))(images).sum().backward()
    assert torch.equal(images.grad, torch.full_like(images, 4.0))


def test_channels_in_reverse_are_normalised_in_their_own_order() -> None:
    model = Normalized(nn.Identity(), (0.5, 0.25, 0.0), (0.5, 1.0, 2.0), reverse=True)
    images = torch.tensor([1.0, 0.75, 0.5]).view(1, 3, 1, 1)
    assert torch.equal(model(images), torch.tensor([0.25, 0.5, 1.0]).view(1, 3, 1, 1))


def test_a_network_that_takes_blue_first() -> None:
    images = torch.rand(2, 3, 8, 8)
    plain, reverse = (
        build_model(Architecture(model="small", num_classes=3, normalize=text), seed=0).eval()
        for text in ("0.5:0.25", "0.5:0.25:bgr")
    )
    assert torch.equal(reverse(images), plain(images.flip(1)))
    assert not torch.equal(reverse(images), plain(images))


def test_mean_and_deviation_are_in_the_state_dict_and_not_trained() -> None:
    model = Normalized(nn.Linear(2, 2), (0.5,), (0.25,))
    assert set(model.state_dict()) == {"mean", "std", "net.weight", "net.bias"}
    assert {name for name, _ in model.named_parameters()} == {"net.weight", "net.bias"}


@pytest.mark.parametrize(
    ("text", "channels", "expected"),
    [
        ("none", 3, None),
        ("0.5:0.25", 1, ((0.5,), (0.25,))),
        ("0.5:0.25", 3, ((0.5,) * 3, (0.25,) * 3)),
        ("0.4,0.5,0.6:0.1,0.2,0.3", 3, ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))),
        ("0.4,0.5,0.6:1", 3, ((0.4, 0.5, 0.6), (1.0,) * 3)),
        ("cifar10", 3, ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))),
        ("0.4,0.5,0.6:1:bgr", 3, ((0.4, 0.5, 0.6), (1.0,) * 3)),
        ("cifar100", 3, ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))),
    ],
)
def test_parse(text: str, channels: int, expected: object) -> None:
    assert parse_normalize(text, channels) == expected


@pytest.mark.parametrize(
    ("text", "channels", "message"),
    [
        ("cifar", 3, "normalize is none, cifar10, cifar100 or MEAN:STD"),
        ("0.5", 3, "MEAN:STD"),
        ("0.5:0.25:1", 3, "MEAN:STD"),
        ("0.5:0.25:rgb", 3, "MEAN:STD"),
        ("0.5:0.25:bgr", 1, "reverses red, green and blue"),
        ("half:0.25", 3, "MEAN:STD"),
        (":", 3, "MEAN:STD"),
        ("0.5,0.5:0.25", 3, "has 2 numbers for images of 3 channels"),
        ("cifar10", 1, "has 3 numbers for images of 1 channel$"),
        ("125.3:63.0", 3, "divide numbers for images in \\[0, 255\\] by 255"),
        ("0.5:0", 3, "every deviation above 0"),
        ("0.5:-0.25", 3, "every deviation above 0"),
        ("0.5:inf", 3, "every deviation above 0"),
        ("nan:0.5", 3, "every mean is in \\[0, 1\\]"),
    ],
)
def test_refused(text: str, channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_normalize(text, channels)
