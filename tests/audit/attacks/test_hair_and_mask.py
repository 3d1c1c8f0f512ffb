"""Images that are a rounding error outside [0, 1], and classes whose logits a network masks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import faal
from faal.config import Recipe
from faal.data.checks import clamped
from faal.errors import InputError
from faal.train.checks import check_net

pytestmark = pytest.mark.medium

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(24) % 3


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


class Source:
    """A store that converts when it is read, as one of resized files."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def fetch(self, index: Tensor) -> Tensor:
        return self.images[index]


def changed(value: float) -> Tensor:
    images = IMAGES.clone()
    images[7, 0, 1, 1] = value
    return images


@pytest.mark.parametrize("value", [1.0000001, -1e-7, 1 + 9e-6, -9e-6])
@pytest.mark.parametrize("form", ["tensor", "array", "store"])
def test_within_rounding_they_are_clamped_with_a_note(value: float, form: str) -> None:
    forms: dict[str, Any] = {"tensor": lambda x: x, "array": Tensor.numpy, "store": Source}
    exact = faal.audit(net(), changed(value).clamp(0, 1), LABELS, attacks="pgd3", epsilon=0.1)
    images = forms[form](changed(value))
    found = faal.audit(net(), images, LABELS, attacks="pgd3", epsilon=0.1, train_images=images)
    assert found.data["fingerprint"] == exact.data["fingerprint"]
    for name, predicted in exact.verdicts.predicted.items():
        assert np.array_equal(found.verdicts.predicted[name], predicted)
    assert any("clamped" in note for note in found.warnings)
    assert not any("clamped" in note for note in exact.warnings)


@pytest.mark.parametrize("value", [1.02, -0.02, 1.0001])
@pytest.mark.parametrize("form", [lambda x: x, Source], ids=["tensor", "store"])
def test_beyond_it_the_advice_is_to_clamp(value: float, form: Any) -> None:
    with pytest.raises(InputError, match="clamp the values"):
        faal.audit(net(), form(changed(value)), LABELS, attacks="clean")


def test_offsets_clamp_them_too() -> None:
    with pytest.warns(UserWarning, match="clamped"):
        found = faal.offsets(net(), changed(1.0000001), LABELS, epsilon=0.1, attack="pgd2")
    torch.testing.assert_close(found, faal.offsets(net(), changed(1.0), LABELS, epsilon=0.1, attack="pgd2"))


def test_nothing_else_is_clamped() -> None:
    for values in (IMAGES, torch.full((2,), float("nan")), torch.tensor([0.0, 2.0])):
        assert clamped(values, "images")[0] is values


class Masked(nn.Module):
    """A network with unused classes."""

    def __init__(self, classes: tuple[int, ...], value: float, of: int = 6, pixels: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.value = nn.Linear(pixels, of), value
        self.register_buffer("mask", torch.tensor([c in classes for c in range(of)]))

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)).masked_fill(self.mask, self.value)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("classes", "named"), [((4,), "class 4 are"), ((3, 5), "class 3, 5 are")])
@pytest.mark.parametrize("attacks", ["clean", "pgd3"])
def test_masked_classes_are_named(classes: tuple[int, ...], named: str, attacks: str) -> None:
    for call in (faal.audit, faal.offsets):
        options = {"attacks": attacks} if call is faal.audit else {"epsilon": 0.1}
        with pytest.raises(InputError, match=named) as caught:
            call(Masked(classes, -torch.inf).eval(), IMAGES, LABELS, **options)
        assert "-1e4" in str(caught.value)
    with pytest.raises(InputError, match=named):
        check_net(Masked(classes, -torch.inf), IMAGES[:2], 6, Recipe())


@pytest.mark.medium
@pytest.mark.usefixtures("_briefly")
def test_the_advice_works() -> None:
    result = faal.audit(
        Masked((3, 5), -1e4).eval(), IMAGES[:8], LABELS[:8], attacks="pgd3,cw3,autoattack", epsilon=0.02
    )
    assert set(result.attacks) >= {"pgd3", "cw3", "autoattack"}


def test_other_values_that_are_not_finite_are_named_as_before() -> None:
    with pytest.raises(InputError, match="NaN or infinite"):
        faal.audit(Masked((3,), torch.nan).eval(), IMAGES, LABELS, attacks="clean")
    with pytest.raises(InputError, match="NaN or infinite"):
        faal.audit(Masked((3,), torch.inf).eval(), IMAGES, LABELS, attacks="clean")
