"""The choice of the epoch."""

import pytest
import torch

from faal.engine.numerics import Numerics
from faal.errors import InputError
from faal.models import Architecture, build_model
from faal.train.selection import RULES, HeldOutAccuracy, held_out_accuracy
from tests.conftest import toy_split

CPU = Numerics.choose("float32", torch.device("cpu"))


def test_rules() -> None:
    accuracy = HeldOutAccuracy(average=0.5, worst=0.2, classes=[0.2, 0.8])
    assert [RULES[name](accuracy) for name in ("sum", "average", "worst")] == [0.7, 0.5, 0.2]


class Brightness(torch.nn.Module):
    """Class 1 if the mean exceeds a half: an attack within epsilon turns exactly those within epsilon of a half."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 10


def test_accuracy_of_a_network_whose_margin_is_known() -> None:
    from faal.data import InMemory, Split

    means = torch.tensor([0.1, 0.45, 0.3, 0.55, 0.9, 0.62])
    split = Split(InMemory(means[:, None, None, None].expand(-1, 1, 8, 8).clone()), torch.tensor([0, 0, 0, 1, 1, 1]))
    found = held_out_accuracy(Brightness(), split, num_classes=2, attack="cw10", epsilon=0.1, seed=1, numerics=CPU)
    assert found.classes == pytest.approx([2 / 3, 2 / 3])
    assert (found.average, found.worst) == pytest.approx((2 / 3, 2 / 3))


def test_independent_of_the_batch_and_restores_the_mode() -> None:
    net = build_model(Architecture(model="small", num_classes=3, channels=1, width=4), seed=1).train()
    split = toy_split([20, 20, 20])
    found = [
        held_out_accuracy(
            net,
            split,
            num_classes=3,
            attack="pgd5",
            epsilon=0.1,
            seed=1,
            numerics=CPU,
            batch_size=size,
        )
        for size in (60, 7)
    ]
    assert found[0] == found[1]
    assert net.training


def test_an_ensemble_is_no_choice_for_every_epoch() -> None:
    with pytest.raises(InputError, match="select_attack is pgdK or cwK"):
        held_out_accuracy(
            Brightness(), toy_split([2, 2]), num_classes=2, attack="autoattack", epsilon=0.1, seed=1,
            numerics=CPU,
        )  # fmt: skip
