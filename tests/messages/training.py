"""Recipes, methods and the start of a training: what is refused, and in which words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tests.conftest import toy_data
from torch import Tensor, nn

from faal.config import Recipe, load_recipe
from faal.intermediate.rules.faal import FAAL
from faal.methods import method
from faal.models import Architecture
from faal.train.checks import check_attack, check_data, check_method, check_net

COLOUR = Architecture(model="small", num_classes=2, channels=3)
NET = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


class Even(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError(f"{images.shape[-1]} is odd")


def recipe(**settings: Any) -> Recipe:
    return Recipe().replace(settings, source="mine.yaml")


def read(**files: str) -> Recipe:
    for name, content in files.items():
        Path(f"{name}.yaml").write_text(content)
    return load_recipe("mine.yaml")


REFUSALS: dict[str, Callable[[], object]] = {
    "there is no recipe 'cifar10-prn18-faal-tradse'; did you mean 'cifar10-prn18-faal-trades'? `faal recipes` lists "
    "them all": lambda: load_recipe("cifar10-prn18-faal-tradse"),
    "there is no recipe file mine.yaml; `faal recipes` lists the shipped ones": read,
    "the recipe mine.yaml is its own base; remove one `base:` of mine.yaml, b.yaml": (
        lambda: read(mine="base: ./b", b="base: ./mine")
    ),
    "mine.yaml: norm l2 needs its own step_size; those of its base are for linf": (
        lambda: read(mine="{base: debug, norm: l2, epsilon: 0.5}")
    ),
    "there is no setting (mine.yaml) 'epsilom'; did you mean 'epsilon'? `faal recipes --settings` lists them all": (
        lambda: recipe(epsilom=0.1)
    ),
    "mine.yaml: epsilon 8 is larger than the full range of images in [0, 1]; did you mean 8/255?": (
        lambda: recipe(epsilon=8)
    ),
    "mine.yaml: epochs is a whole number, not 'many'": lambda: recipe(epochs="many"),
    "mine.yaml: epochs is at least 1, not 0": lambda: recipe(epochs=0),
    "mine.yaml: crop is between 0 and 64, not 65": lambda: recipe(crop=65),
    "mine.yaml: average is one of none, step, epoch, gated, not 'ema'": lambda: recipe(average="ema"),
    "mine.yaml: nesterov needs a momentum above 0; set one, or nesterov to false": (
        lambda: recipe(momentum=0.0, nesterov=True)
    ),
    "mine.yaml: select_attack is pgdK or cwK, of K steps, such as cw10, not 'pgd'": lambda: recipe(select_attack="pgd"),
    "mine.yaml: constants is a list of pairs such as 'lambda1=0.5 rate=0.1', not 'lambda1'": (
        lambda: recipe(constants="lambda1")
    ),
    "mine.yaml: lr is a number or a schedule such as 0:0.1,1/2:0.01 (starts are fractions of the run, below 1), not "
    "'0:1,100:2'": lambda: recipe(lr="0:1,100:2"),
    "there is no method 'faal-tradse'; did you mean 'faal-trades'? `faal methods` lists them all": (
        lambda: method("faal-tradse")
    ),
    "tau is the radius of a ball, a number of at least 0, not -1.0": lambda: FAAL(3, tau=-1),
    "num_classes is a whole number, at least 1, not 0": lambda: FAAL(0),
    'the loss is of shape (2,), one per sample, not (): compute it with reduction="none"': (
        lambda: FAAL(3)(torch.rand(()), torch.rand(2, 3), torch.tensor([0, 1]))
    ),
    "sample 1 of the batch has the label 3, out of range: the 3 outputs are 0 to 2; exclude samples without a class "
    "from the batch": lambda: FAAL(3)(torch.rand(2), torch.rand(2, 3), torch.tensor([0, 3])),
    "offsets has no training and needs a trained network: faal repair CHECKPOINT --method offsets; to combine it "
    "with a method that trains, set offsets to true": lambda: check_method(recipe(method="offsets"), trained=False),
    "the attack of trades on the KL divergence cannot start from the images themselves, where its gradient is zero; "
    "set attack_start to gaussian or uniform": lambda: check_attack(recipe(method="trades", attack_start="zero")),
    "toy has images of 1 channels; the network expects 3: --rgb gives gray images three equal channels": (
        lambda: check_data(toy_data([3, 3]), COLOUR)
    ),
    "the network returns (2, 3) for two images; it must return logits of shape (2, 4), one for each class of the "
    "data": (lambda: check_net(NET, torch.rand(2, 1, 4, 4), 4, Recipe())),
    "the network does not accept images of shape (3, 9, 9): 9 is odd": lambda: check_net(
        Even(), torch.rand(2, 3, 9, 9), 3, Recipe()
    ),
}
