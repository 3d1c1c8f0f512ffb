import numpy as np
import pytest
import torch
from torch import nn

from faal.audit.checks import (
    are_probabilities,
    check_gradient,
    check_labels,
    check_model,
    class_names,
    pixels_of,
    training_settings,
)
from faal.config import Recipe
from faal.errors import InputError


def test_the_model_is_a_module_in_float32() -> None:
    check_model(nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"needs a torch\.nn\.Module"):
        check_model(lambda images: images)  # type: ignore[arg-type]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        with pytest.raises(InputError, match=rf"weight is {str(dtype)[6:]};.*model\.float\(\)"):
            check_model(nn.Linear(2, 2).to(dtype))
    unfloatable = nn.Linear(2, 2)
    unfloatable.shifts = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
    check_model(unfloatable)


def test_names_of_classes() -> None:
    assert class_names(None) is None
    assert class_names([3, "b"]) == ("3", "b")  # type: ignore[list-item]
    for wrong, message in (
        (["a", "b", "a"], "names 'a' twice"),
        ("abc", "classes is a list, such as .*, not 'abc'"),
        (3, "a list"),
    ):
        with pytest.raises(InputError, match=message):
            class_names(wrong)  # type: ignore[arg-type]


def test_settings_of_the_training() -> None:
    assert training_settings(None) == {}
    assert training_settings({"epsilon": "8/255", "select": None}) == {"epsilon": 8 / 255}
    whole = {**Recipe().plain(), "chosen_on_test": False}
    assert training_settings(whole).items() <= whole.items()
    for wrong, message in (
        ({"selekt": "last"}, "did you mean 'select'"),
        ({"norm": "Linf"}, "no norm 'Linf'; did you mean 'linf'"),
        ({"epsilon": "far"}, "epsilon is a number"),
        (8 / 255, "trained is a float; it is a mapping"),
    ):
        with pytest.raises(InputError, match=message):
            training_settings(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [None, "images.npy", list(torch.zeros(2, 1, 4, 4)), [[0.5], [0.5, 0.5]]])
def test_images_that_are_no_array(images: object) -> None:
    with pytest.raises(InputError, match=r"images is a \w+ .*torch\.stack"):
        pixels_of(images, "images")


def test_labels() -> None:
    labels = torch.tensor([0, 3, 1])
    check_labels(labels, 3, 4)
    check_labels(labels, 3, None)
    with pytest.raises(InputError, match="sample 1 has the label 3"):
        check_labels(labels, 3, 3)
    with pytest.raises(InputError, match="sample 77 has the label 3"):
        check_labels(labels, 3, 3, torch.tensor([5, 77, 80]))
    with pytest.raises(InputError, match="sample 0 has the label -1"):
        check_labels(labels - 1, 3, None)
    with pytest.raises(InputError, match="5 images and 3 labels"):
        check_labels(labels, 5, 4)
    with pytest.raises(InputError, match="no images"):
        check_labels(labels[:0], 0, 4)


def test_probabilities_are_distinguished_from_logits() -> None:
    logits = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    assert are_probabilities(logits.softmax(dim=1))
    assert not are_probabilities(logits)
    assert not are_probabilities(logits.sigmoid())
    assert not are_probabilities(logits.log_softmax(dim=1))


def test_an_output_detached_from_the_images_has_no_gradient() -> None:
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).requires_grad_(False)
    check_gradient(net, images)

    class Cut(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = net(images.detach())
            return logits

    with pytest.raises(InputError, match="no gradient"):
        check_gradient(Cut(), images)


def test_flipped_channels_are_an_array() -> None:
    images = np.random.default_rng(0).random((2, 3, 4, 4), dtype=np.float32)
    assert torch.equal(pixels_of(images[:, ::-1], "images"), torch.from_numpy(images).flip(1))
