"""The learner of a recipe: its optimiser trains whatever the network uses."""

import torch
from tests.conftest import toy_split
from tests.helpers.learners import make_batches, make_learner, train_steps
from tests.helpers.pair import COUNTS, STEPS, recipe
from torch import nn

from faal.train.learner import begin_late_momentum


def test_one_process_trains_a_network_that_changes() -> None:
    learner = make_learner(recipe("faal-at", "tests.helpers.pair:Late"), toy_split(COUNTS), len(COUNTS))
    before = {name: tensor.clone() for name, tensor in learner.net.state_dict().items()}
    train_steps(learner, make_batches(learner.recipe, toy_split(COUNTS)), STEPS)
    changed = {name for name, tensor in learner.net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {"late.weight", "early.weight"} <= changed


def test_the_first_momentum_is_the_gradient_whenever_it_comes() -> None:
    """With weight decay and Nesterov's momentum, against PyTorch's plain loop, which handles one by one."""

    def trained(fused: bool) -> list[float]:
        weights = [nn.Parameter(torch.tensor([1.0])) for _ in range(3)]
        optimizer = torch.optim.SGD(weights, 0.1, momentum=0.9, weight_decay=0.1, nesterov=True, fused=fused)
        if fused:
            optimizer.register_step_pre_hook(begin_late_momentum)
        for used in ((0,), (0, 1), (1,), (0, 1, 2), (2,)):
            for place, weight in enumerate(weights):
                weight.grad = torch.tensor([0.5]) if place in used else None
            optimizer.step()
        return [float(weight) for weight in weights]

    torch.testing.assert_close(trained(fused=True), trained(fused=False))
