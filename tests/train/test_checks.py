"""What is rejected before a run writes anything."""

import dataclasses

import pytest
import torch
from tests.conftest import toy_data

from faal.config import Recipe
from faal.data import grouping
from faal.errors import InputError
from faal.models import Architecture, build_model
from faal.train.checks import check_attack, check_groups, check_net


@pytest.mark.parametrize(
    ("method", "settings"),
    [("trades", {}), ("bat", {}), ("mart", {"attack_loss": "kl"}), ("faal-trades", {"attack_loss": "alternate"})],
)
def test_the_divergence_has_no_gradient_at_the_images(method: str, settings: dict[str, str]) -> None:
    recipe = Recipe(method=method, attack_start="zero").replace(settings, source="test")
    with pytest.raises(InputError, match=f"attack of {method} .*attack_start"):
        check_attack(recipe)
    check_attack(recipe.replace({"attack_start": "own"}, source="test"))


def test_other_losses_may_begin_there() -> None:
    for method in ("pgd-at", "mart", "standard"):
        check_attack(Recipe(method=method, attack_start="zero"))
    check_attack(Recipe(method="trades", attack_start="zero", attack_loss="ce"))


def test_a_misspelt_method_is_an_error_with_groups_too() -> None:
    data = toy_data([4, 4])
    groups = grouping("site", ["a", "b"] * 4)
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, grouping=groups))
    with pytest.raises(InputError, match="did you mean 'pgd-at'"):
        check_groups(data, "pdg-at")
    with pytest.raises(InputError, match="cfa-at weights classes only"):
        check_groups(data, "cfa-at")
    assert torch.equal(data.train.groups, groups.index)


@pytest.mark.parametrize("method", ["standard", "pgd-at", "faal-trades"])
def test_the_check_of_a_network_leaves_its_state(method: str) -> None:
    net = build_model(Architecture(model="small", num_classes=3, channels=1, width=4), seed=1).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    check_net(net, torch.rand(2, 1, 8, 8), 3, Recipe(method=method))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
