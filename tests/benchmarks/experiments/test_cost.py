"""The prices: networks against counts by hand, methods against their formulas, a run against its own forwards."""

from pathlib import Path

import pytest
import torch
from benchmarks.speed import cost
from benchmarks.speed.cost import audit_forwards, forward_operations, training_forwards
from tests.conftest import toy_data
from torch import Tensor, nn

from faal.config import Recipe, load_recipe, recipe_names
from faal.errors import InputError
from faal.methods import METHODS
from faal.models import Architecture, build_model
from faal.train.loop import train


def test_a_forward_by_hand() -> None:
    """The small net of depth 3: three 3 x 3 convolutions, each after the first at half the size, and a linear layer."""
    found = forward_operations(Architecture(model="small", num_classes=10, channels=1, width=4), 8)
    net = build_model(Architecture(model="small", num_classes=10, channels=1, width=4)).eval()
    by_hand = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal by_hand
        if isinstance(module, nn.Conv2d):
            by_hand += 2 * output.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]
        elif isinstance(module, nn.Linear):
            by_hand += 2 * output.numel() * module.in_features

    for module in net.modules():
        module.register_forward_hook(count)
    net(torch.zeros(1, 1, 8, 8))
    assert found == by_hand > 0


@pytest.mark.parametrize(("model", "billions"), [("prn18", 1.111), ("wrn34-10", 13.32)])
def test_the_papers_networks(model: str, billions: float) -> None:
    found = forward_operations(Architecture(model=model, num_classes=10), 32)
    assert found / 1e9 == pytest.approx(billions, rel=0.03)


@pytest.mark.parametrize(
    ("name", "forwards"),
    [
        ("standard", 3),
        ("pgd-at", 23),
        ("faal-at", 23),
        ("trades", 27),
        ("mart", 26),
        ("at-awp", 26),
        ("trades-awp", 33),
        ("bat", 31),
    ],
)
def test_forwards_an_image_and_epoch(name: str, forwards: int) -> None:
    recipe = Recipe(method=name, epochs=4, hold_out="none")
    assert training_forwards(recipe, 1000, 10) == 4 * 1000 * forwards


def test_what_evaluations_cost() -> None:
    """A twenty-fifth is withheld to choose on, under CW-10; FRL evaluates on another, under PGD-20."""
    chosen = training_forwards(Recipe(method="pgd-at", epochs=1), 1000, 10)
    assert chosen == 960 * 23 + 40 * 22
    steered = training_forwards(Recipe(method="frl-rw", epochs=1), 1000, 10)
    assert steered == 920 * 27 + 40 * 22 + 40 * 42
    assert training_forwards(Recipe(method="csr", epochs=1, hold_out="none"), 1000, 10) == 1000 * (27 + 22)
    gated = Recipe(method="pgd-at", average="gated", epochs=4)  # lr falls at half and at three quarters
    assert training_forwards(gated, 1000, 10) == 4 * (920 * 23 + 40 * 22) + 2 * 40 * 22


@pytest.mark.parametrize(
    ("name", "loss", "forwards"),
    [
        ("trades", "own", 27),
        ("trades", "alternate", 26.5),
        ("trades", "cw", 26),
        ("pgd-at", "alternate", 23),
        ("pgd-at", "kl", 24),
    ],
)
def test_an_attack_on_the_kl_needs_the_clean_logits(name: str, loss: str, forwards: float) -> None:
    """Every other batch where it alternates with the margin."""
    recipe = Recipe(method=name, epochs=4, hold_out="none", attack_loss=loss)
    assert training_forwards(recipe, 1000, 10) == 4 * 1000 * forwards


def test_perturbed_weights_cost_from_where_they_begin() -> None:
    late = Recipe(method="at-awp", epochs=4, hold_out="none").replace({"awp_gamma": "0:0,1/2:0.005"}, source="test")
    assert training_forwards(late, 1000, 10) == 2000 * 23 + 2000 * 26


def test_the_standard_ensemble_on_prn18_is_about_55_peta() -> None:
    forwards = audit_forwards("clean,autoattack", 10_000, 10)
    assert forwards * 1.111e9 / 1e15 == pytest.approx(55, rel=0.03)
    assert audit_forwards("autoattack", 10_000, 100) == forwards  # nine targets at the most
    assert audit_forwards("autoattack", 10_000, 3) < forwards


def test_gradient_attacks() -> None:
    assert audit_forwards("clean", 100, 10) == 100
    assert audit_forwards(["clean", "pgd20", "cw20"], 100, 10) == pytest.approx(100 * (1 + 2 * 0.85 * 41))
    assert audit_forwards("pgd20x5", 100, 10) > 4 * audit_forwards("pgd20", 100, 10)
    with pytest.raises(InputError, match="no attack 'pgb20'"):
        audit_forwards("pgb20", 100, 10)


def test_blends_cost_an_evaluation_each() -> None:
    assert cost.frontier_forwards(Recipe(select_attack="cw10"), 1000) == 5 * 40 * 22


@pytest.mark.medium
def test_every_method_has_a_price() -> None:
    assert {load_recipe(name).method for name in recipe_names()} == set(METHODS)
    for name in METHODS:
        assert training_forwards(Recipe(method=name, epochs=2), 1000, 10) > 0


@pytest.mark.medium
@pytest.mark.parametrize("name", ["pgd-at", "trades-awp", "mart", "bat", "frl-rw", "faal-at"])
def test_a_run_calls_its_network_as_often(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that went through the network in a run, against the price without its gradients."""
    recipe = recipe.replace({"method": name, "epochs": 1, "select_attack": "cw2"}, source="test")
    data = toy_data([500] * 2)
    architecture = Architecture(model="small", num_classes=2, channels=1, width=4)
    net = build_model(architecture, seed=1)
    evaluated = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal evaluated
        evaluated += len(inputs[0])

    net.register_forward_pre_hook(count)
    train(net, architecture, data, recipe, out=tmp_path, seed=1, device=torch.device("cpu"), quiet=True)
    monkeypatch.setattr(cost, "STEP", 1)
    monkeypatch.setattr(cost, "VIEW", 1)
    # A few images more are shown before the run, to see that the network fits the data, and a batch at the end of the
    # epoch, to check that its logits are finite.
    price = training_forwards(recipe, 1000, 2)
    assert price <= evaluated <= price + 10 + recipe.batch_size
