"""A FAAL-AT step as others write it, for `benchmarks/speed/step.py` to time ours against. All compute the same thing.

`Plain` is written from scratch, with the habits of public code as switches; where it does not wait it takes our solver,
whose own gain is in `benchmarks/speed/solver.py`. The gains of our own step are switched off
one by one in `WITHOUT`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import cvxpy
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faal import step as steps
from faal.config import Recipe
from faal.data import Batch
from faal.inner import pgd
from faal.inner.norms import Budget, Norm
from faal.intermediate.class_rule import TermWeights
from faal.intermediate.kldro import solve_kldro
from faal.step import Learner, StepContext, train_step


def margin_by_class(probabilities: Tensor, labels: Tensor, num_classes: int) -> list[float]:
    """The classes' mean margins by a loop that waits for the device at each; absent classes are left out as -1."""
    means = []
    for c in range(num_classes):
        own = probabilities[labels == c]
        if len(own) == 0:
            means.append(-1.0)
            continue
        others = own.clone()
        others[:, c] = -1
        means.append((others.max(dim=1).values - own[:, c]).mean().item())
    return means


def solved_by_cvxpy(losses: list[float], tau: float) -> list[float]:
    """Eq. 7 as a problem that is built and solved anew for every batch."""
    weights = cvxpy.Variable(len(losses))
    uniform = np.full(len(losses), 1 / len(losses))
    within = [weights >= 0, cvxpy.sum(weights) == 1, cvxpy.sum(cvxpy.kl_div(uniform, weights)) <= tau]  # type: ignore[attr-defined]
    cvxpy.Problem(cvxpy.Maximize(np.asarray(losses) @ weights), within).solve()
    assert weights.value is not None
    return [float(value) for value in weights.value]


def weights_by_hand(logits: Tensor, labels: Tensor, num_classes: int, tau: float) -> Tensor:
    """(C,) by the loop and cvxpy; the absent classes' weights are not used."""
    means = margin_by_class(logits.float().softmax(dim=1), labels, num_classes)
    present = [c for c in range(num_classes) if means[c] > -1]
    found = torch.zeros(num_classes, device=logits.device)
    solved = solved_by_cvxpy([means[c] for c in present], tau)
    found[present] = torch.tensor(solved, device=logits.device) * len(present)
    return found


MEMORY = {True: torch.channels_last, False: torch.contiguous_format}


@dataclass(frozen=True)
class Plain:
    """A step from scratch, in float32.

    Attributes:
        weight_gradients: attack by `loss.backward()`, which computes the weights' gradients as well.
        channels_last: network and images in the memory format that convolutions like.
        waits: class means by a loop, weights by cvxpy, and the loss read after every step.
    """

    weight_gradients: bool
    channels_last: bool
    waits: bool

    def attack(self, net: nn.Module, images: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
        net.eval()
        here = (images + torch.empty_like(images).uniform_(-recipe.epsilon, recipe.epsilon)).clamp(0, 1)
        for _ in range(recipe.steps):
            here = here.detach().requires_grad_()
            loss = F.cross_entropy(net(here), labels)
            if self.weight_gradients:
                net.zero_grad()
                loss.backward()
                gradient = here.grad
            else:
                (gradient,) = torch.autograd.grad(loss, here)
            assert gradient is not None
            with torch.no_grad():
                moved = here + recipe.step_size * gradient.sign()
                here = torch.min(torch.max(moved, images - recipe.epsilon), images + recipe.epsilon).clamp(0, 1)
        net.train()
        return here.detach()

    def step(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, recipe: Recipe, classes: int
    ) -> None:
        images = batch.images.contiguous(memory_format=MEMORY[self.channels_last])
        tau = recipe.tau.at(0.0)
        logits = net(self.attack(net, images, batch.labels, recipe))
        with torch.no_grad():
            if self.waits:
                weights = weights_by_hand(logits, batch.labels, classes, tau)
            else:
                probabilities = logits.softmax(dim=1)
                true = probabilities.gather(1, batch.labels[:, None])[:, 0]
                margins = probabilities.scatter(1, batch.labels[:, None], -1).amax(dim=1) - true
                counts = torch.bincount(batch.labels, minlength=classes)
                sums = torch.zeros(classes, device=logits.device).index_add_(0, batch.labels, margins)
                present = (counts > 0).float()
                means = sums / counts.clamp_min(1)
                weights = solve_kldro(means, tau, reference=present / present.sum()) * present.sum()
        loss = (weights[batch.labels] * F.cross_entropy(logits, batch.labels, reduction="none")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if self.waits:
            loss.item()


FIELD = Plain(weight_gradients=True, channels_last=False, waits=True)
COMPETENT = Plain(weight_gradients=False, channels_last=True, waits=False)


# --- ours, with one gain off -----------------------------------------------------------------------------------------


def wasteful_climb(
    model: nn.Module,
    ascent: pgd.Loss,
    here: Tensor,
    images: Tensor,
    labels: Tensor,
    epsilon: Budget,
    step_size: Budget,
    ball: Norm,
) -> tuple[Tensor, Tensor]:
    """`pgd.pgd_step` with the weights' gradients computed, kept and thrown away."""
    here = here.detach().requires_grad_()
    logits = model(here)
    model.zero_grad(set_to_none=True)
    ascent(logits, labels).sum().backward()
    assert here.grad is not None
    with torch.no_grad():
        return ball.project(ball.step(here, here.grad, step_size), images, epsilon), logits.detach()


@contextmanager
def unfrozen(model: nn.Module, *, training: bool = False) -> Iterator[nn.Module]:
    """`modes.attacked` without the freezing."""
    model.train(training)
    yield model
    model.train()


@contextmanager
def with_weight_gradients() -> Iterator[None]:
    with patch.object(pgd, "pgd_step", wasteful_climb), patch.object(pgd, "attacked", unfrozen):
        yield


@contextmanager
def with_cvxpy() -> Iterator[None]:
    def found(learner: Learner, logits: Tensor, batch: Batch) -> TermWeights:
        weights = weights_by_hand(logits, batch.labels, learner.num_groups, learner.recipe.tau.at(0.0))
        return TermWeights(clean=weights, robust=weights)

    with patch.object(steps, "find_worst_distribution", found):
        yield


def in_float32(learner: Learner) -> Learner:
    return replace(learner, numerics=replace(learner.numerics, bf16=False))


def in_rows(learner: Learner) -> Learner:
    """The weights row by row, as PyTorch makes them."""
    learner.net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return learner


def unfused(learner: Learner) -> Learner:
    old = learner.optimizer
    fresh = torch.optim.SGD(
        learner.net.parameters(),
        **{name: old.defaults[name] for name in ("lr", "momentum", "weight_decay")},
        foreach=False,
    )
    return replace(learner, optimizer=fresh)


@dataclass(frozen=True)
class Changed:
    """Our step with one gain off.

    Attributes:
        learner: makes a learner without it.
        context: in which the step has to run.
        rows: whether images lie row by row, as PyTorch makes them.
        settings: of the recipe, that differ.
    """

    learner: Callable[[Learner], Learner] = lambda learner: learner
    context: Callable[[], AbstractContextManager[None]] = nullcontext
    rows: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def step(self, learner: Learner, batch: Batch) -> None:
        if self.rows:
            batch = batch._replace(images=batch.images.contiguous())
        with self.context():
            train_step(learner, batch, StepContext(epoch=0, progress=0.0))


WITHOUT: Mapping[str, Changed] = {
    "bfloat16": Changed(in_float32),
    "channels last": Changed(in_rows, rows=True),
    "gradients of the images alone": Changed(context=with_weight_gradients),
    "the exact solver and one pass over the classes": Changed(context=with_cvxpy),
    "fused SGD": Changed(unfused),
}

COMPILED = Changed(settings={"compile": "on"})
"""With compiled networks; on a GPU the attack from one recording."""
