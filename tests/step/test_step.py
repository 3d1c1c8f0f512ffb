"""One training step: Algorithm 1 by hand, its bases bit for bit, every method on every number of classes."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.conftest import TRAINED, toy_split
from tests.helpers import oracles
from tests.helpers.learners import CPU, make_batches, make_learner, train_steps
from torch import Tensor, nn

from faal.config import Recipe, Schedule
from faal.data import Batch
from faal.engine import seeds
from faal.engine.numerics import Numerics
from faal.inner.pgd import AttackSettings, pgd
from faal.intermediate.class_rule import ClassBudget, TermWeights
from faal.intermediate.class_stats import BatchStats
from faal.intermediate.rules.uniform import Uniform
from faal.step import Learner, StepContext, find_adversarial, train_step

START = StepContext(epoch=0, progress=0.0)
BASES = {
    "faal-at": "pgd-at",
    "faal-trades": "trades",
    "faal-mart": "mart",
    "faal-at-awp": "at-awp",
    "faal-trades-awp": "trades-awp",
}


def first_batch(recipe: Recipe, counts: list[int]) -> Batch:
    return next(make_batches(recipe, toy_split(counts)).epoch(0))


def state(net: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(net.state_dict())


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a | b)


def test_algorithm_1_by_hand(recipe: Recipe) -> None:
    """FAAL on AT, line by line, with the oracle's class distribution and plain SGD, classes absent."""
    counts = [6] * 10
    recipe = replace(recipe, momentum=0.0, weight_decay=0.0, tau=Schedule.constant(0.5), steps=3)
    learner = make_learner(recipe, toy_split(counts), 10)
    batch = first_batch(recipe, counts)
    assert len(batch.labels.unique()) < 10
    net = copy.deepcopy(learner.net)
    result = train_step(learner, batch, START)

    noise = seeds.uniform(batch.key, 64, seed=0, epoch=0, stream=seeds.Stream.START).view_as(batch.images)
    adversarial = pgd(
        net,
        batch.images,
        batch.labels,
        AttackSettings(steps=3),
        epsilon=recipe.epsilon,
        step_size=recipe.step_size,
        noise=noise,
    )
    logits = net(adversarial)
    p = logits.detach().double().softmax(dim=1).numpy()
    margins = np.array([max(np.delete(row, y)) - row[y] for row, y in zip(p, batch.labels, strict=True)])
    labels = batch.labels.numpy()
    present = np.unique(labels)
    w = oracles.kldro(np.array([margins[labels == c].mean() for c in present]), 0.5)
    weights = np.zeros(10)
    weights[present] = len(present) * w
    loss = (torch.from_numpy(weights[labels]) * F.cross_entropy(logits, batch.labels, reduction="none")).mean()
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    assert float(result.loss) == pytest.approx(float(loss.detach()), rel=1e-5)
    np.testing.assert_allclose(result.weights, weights, rtol=1e-4)
    assert float(result.accuracy) == float((logits.argmax(dim=1) == batch.labels).float().mean())
    for moved, before, gradient in zip(learner.net.parameters(), net.parameters(), gradients, strict=True):
        torch.testing.assert_close(moved, before - 0.05 * gradient, rtol=1e-4, atol=1e-6)


def test_trades_by_hand(recipe: Recipe) -> None:
    """CE(clean) + beta KL(clean || adversarial), two forwards in training mode."""
    settings = replace(recipe, method="trades", beta=5.0)
    learner = make_learner(settings, toy_split([10] * 4), 4)
    batch = first_batch(settings, [10] * 4)
    adversarial = find_adversarial(learner, batch, START).adversarial
    net = copy.deepcopy(learner.net)
    p, q = net(batch.images).double().softmax(dim=1), net(adversarial).double().softmax(dim=1)
    own = p.gather(1, batch.labels[:, None]).squeeze(1)
    expected = (-own.log() + 5 * (p * (p / q).log()).sum(dim=1)).mean()
    assert float(train_step(learner, batch, START).loss) == pytest.approx(float(expected.detach()), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("name", BASES)
def test_with_tau_zero_it_is_bit_for_bit_its_base(recipe: Recipe, name: str, smoothing: float) -> None:
    """All parameters, buffers and momenta after three steps on balanced classes, some of them absent from batches."""
    split = toy_split([10] * 8)
    ends = []
    for method in (name, BASES[name]):
        settings = replace(recipe, method=method, tau=Schedule.constant(0.0), smoothing=smoothing)
        learner = make_learner(settings, split, 8)
        start = state(learner.net)
        batches = make_batches(settings, split)
        results = train_steps(learner, batches, 3)
        assert not equal(start, state(learner.net))
        momenta = [learner.optimizer.state[p]["momentum_buffer"] for p in learner.net.parameters()]
        ends.append((state(learner.net), momenta, [result.loss for result in results]))
    (ours, our_momenta, our_losses), (base, base_momenta, base_losses) = ends
    assert equal(ours, base)
    assert all(torch.equal(a, b) for a, b in zip(our_momenta, base_momenta, strict=True))
    assert our_losses == base_losses


@pytest.mark.parametrize("name", BASES)
def test_with_another_tau_it_is_not(recipe: Recipe, name: str) -> None:
    """Lest the test above compare a method with itself."""
    split = toy_split([10] * 8)
    ends = []
    for method in (name, BASES[name]):
        settings = replace(recipe, method=method, tau=Schedule.constant(0.5))
        learner = make_learner(settings, split, 8)
        train_steps(learner, make_batches(settings, split), 1)
        ends.append(state(learner.net))
    assert not equal(*ends)


@pytest.mark.medium
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("name", TRAINED)
def test_every_method_on_any_number_of_classes(recipe: Recipe, name: str, classes: int) -> None:
    """Two steps of 16 images: at 10 and 100 classes most are absent from a batch, and classes are of unequal size."""
    counts = [3 + c % 3 for c in range(classes)] if classes > 2 else [30, 10]
    split = toy_split(counts)
    settings = replace(recipe, method=name, tau=Schedule.constant(0.5))
    runs = []
    for _ in range(2):
        learner = make_learner(settings, split, classes)
        start = state(learner.net)
        results = train_steps(learner, make_batches(settings, split), 2)
        end = state(learner.net)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in end.values())
        assert all(not torch.equal(end[name], start[name]) for name, _ in learner.net.named_parameters())
        for result in results:
            assert result.loss.shape == result.accuracy.shape == ()
            assert result.weights.shape == (classes,)
            assert bool(torch.isfinite(result.weights).all())
            assert float(result.weights.min()) >= 0
            assert not result.loss.requires_grad
            assert 0 <= float(result.accuracy) <= 1
        runs.append((end, [result.loss for result in results], [result.weights for result in results]))
    (one, losses, weights), (other, other_losses, other_weights) = runs
    assert equal(one, other)
    assert losses == other_losses
    assert all(torch.equal(a, b) for a, b in zip(weights, other_weights, strict=True))


FORWARDS = {"standard": 1, "pgd-at": 1, "trades": 2, "mart": 2, "at-awp": 1, "trades-awp": 2}


@pytest.mark.parametrize(
    ("name", "forwards"), [*FORWARDS.items(), *((ours, FORWARDS[base]) for ours, base in BASES.items())]
)
def test_training_mode_forwards(recipe: Recipe, name: str, forwards: int) -> None:
    """One for each view that the objective names; the attack and the ascent of AWP do not move the statistics."""
    settings = replace(recipe, method=name)
    learner = make_learner(settings, toy_split([10] * 4), 4)
    train_step(learner, first_batch(settings, [10] * 4), START)
    assert int(learner.net.features[1].num_batches_tracked) == forwards


def test_clean_before_adversarial(recipe: Recipe) -> None:
    settings = replace(recipe, method="trades")
    learner = make_learner(settings, toy_split([10] * 4), 4)
    batch = first_batch(settings, [10] * 4)
    adversarial = find_adversarial(learner, batch, START).adversarial
    forwarded: list[Tensor] = []
    learner.net.register_forward_pre_hook(lambda net, inputs: forwarded.append(inputs[0]) if net.training else None)
    train_step(learner, batch, START)
    assert torch.equal(forwarded[0], batch.images)
    assert torch.equal(forwarded[1], adversarial)


class TestAdversary:
    def test_the_standard_method_has_none(self, recipe: Recipe) -> None:
        learner = make_learner(replace(recipe, method="standard"), toy_split([10] * 4), 4)
        batch = first_batch(recipe, [10] * 4)
        calls: list[bool] = []
        learner.net.register_forward_pre_hook(lambda net, inputs: calls.append(net.training))
        found = find_adversarial(learner, batch, START)
        assert found.clean is found.adversarial is batch.images
        train_step(learner, batch, START)
        assert calls == [True]

    @pytest.mark.parametrize("name", ["pgd-at", "trades", "mart"])
    def test_the_rows_attack_is_used(self, recipe: Recipe, name: str) -> None:
        """Its loss, its start, and noise that hangs on the sample, the epoch and the seed alone."""
        loss, start = {"pgd-at": ("ce", "uniform"), "trades": ("kl", "gaussian"), "mart": ("ce", "gaussian")}[name]
        learner = make_learner(replace(recipe, method=name), toy_split([10] * 4), 4, seed=3)
        batch = first_batch(recipe, [10] * 4)
        draw = seeds.normal if start == "gaussian" else seeds.uniform
        noise = draw(batch.key, 64, seed=3, epoch=5, stream=seeds.Stream.START).view_as(batch.images)
        expected = pgd(
            learner.net,
            batch.images,
            batch.labels,
            AttackSettings(steps=2, loss=loss, start=start),
            epsilon=0.1,
            step_size=0.05,
            noise=noise,
        )
        found = find_adversarial(learner, batch, StepContext(epoch=5, progress=0.0)).adversarial
        assert torch.equal(found, expected)
        other = find_adversarial(learner, batch, StepContext(epoch=6, progress=0.0)).adversarial
        assert not torch.equal(found, other)

    def test_a_samples_attack_does_not_depend_on_its_batch(self, recipe: Recipe) -> None:
        learner = make_learner(recipe, toy_split([10] * 4), 4)
        batch = first_batch(recipe, [10] * 4)
        part = Batch(*(tensor[3:7] for tensor in batch))
        whole = find_adversarial(learner, batch, START).adversarial
        torch.testing.assert_close(find_adversarial(learner, part, START).adversarial, whole[3:7])


class _Halves(Uniform):
    """Class 0 is not attacked, class 1 by half, with a quarter of the step."""

    def budget(self) -> ClassBudget:
        return ClassBudget(epsilon=torch.tensor([0.0, 0.5, 1.0]), step_size=torch.tensor([1.0, 0.25, 1.0]))


class _CleanOnly(Uniform):
    """Weighs the clean term of class 1 alone."""

    def weigh(self, batch: BatchStats) -> TermWeights:
        return TermWeights(clean=torch.tensor([0.0, 3.0, 0.0]), robust=torch.zeros(3))


class TestRules:
    def test_class_wise_budgets_reach_the_attack(self, recipe: Recipe) -> None:
        recipe = replace(recipe, steps=8)
        learner = make_learner(recipe, toy_split([12] * 3), 3)
        batch = first_batch(recipe, [12] * 3)
        usual = find_adversarial(learner, batch, START).adversarial
        learner.rule = _Halves(torch.ones(3))
        found = find_adversarial(learner, batch, START).adversarial
        moved = (found - batch.images).abs().flatten(1).amax(dim=1)
        torch.testing.assert_close(moved, torch.tensor([0.0, 0.05, 0.1])[batch.labels])
        assert torch.equal(found[batch.labels == 2], usual[batch.labels == 2])
        # The step size of class 1 differs, so that it is not merely the usual attack, clipped.
        ones = batch.labels == 1
        noise = seeds.uniform(batch.key, 64, seed=0, epoch=0, stream=seeds.Stream.START).view_as(batch.images)
        expected = pgd(
            learner.net,
            batch.images[ones],
            batch.labels[ones],
            AttackSettings(steps=8),
            epsilon=0.05,
            step_size=0.0125,
            noise=noise[ones],
        )
        torch.testing.assert_close(found[ones], expected)

    def test_weights_reach_their_terms(self, recipe: Recipe) -> None:
        settings = replace(recipe, method="trades")
        learner = make_learner(settings, toy_split([12] * 3), 3)
        learner.rule = _CleanOnly(torch.ones(3))
        batch = first_batch(settings, [12] * 3)
        net = copy.deepcopy(learner.net)
        result = train_step(learner, batch, START)
        per_sample = F.cross_entropy(net(batch.images), batch.labels, reduction="none")
        expected = 3 * per_sample[batch.labels == 1].sum() / len(batch.labels)
        torch.testing.assert_close(result.loss, expected.detach())

    def test_tau_of_the_epoch_counts(self, recipe: Recipe) -> None:
        """The rule has the tau of its epoch; AWP's schedule that of the context."""
        settings = replace(recipe, method="at-awp", awp_gamma=Schedule((0.0, 0.5), (0.0, 0.1)))
        split, ends = toy_split([10] * 4), []
        batch = first_batch(settings, [10] * 4)
        for method, progress in (("at-awp", 0.0), ("pgd-at", 0.0), ("at-awp", 0.5), ("pgd-at", 0.5)):
            learner = make_learner(replace(settings, method=method), split, 4)
            train_step(learner, batch, StepContext(epoch=0, progress=progress))
            ends.append(state(learner.net))
        assert equal(ends[0], ends[1])
        assert not equal(ends[2], ends[3])


def test_a_larger_share_counts_more(recipe: Recipe) -> None:
    """A process with 1.5 times the mean number of samples has 1.5 times the gradient and the loss."""
    settings = replace(recipe, momentum=0.0, weight_decay=0.0)
    batch = first_batch(settings, [10] * 4)
    moves, losses = [], []
    for share in (1.0, 1.5):
        learner = make_learner(settings, toy_split([10] * 4), 4)
        before = learner.net.linear.weight.detach().clone()
        losses.append(train_step(learner, batch, StepContext(epoch=0, progress=0.0, share=share)).loss)
        moves.append(learner.net.linear.weight.detach() - before)
    torch.testing.assert_close(moves[1], 1.5 * moves[0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(losses[1], 1.5 * losses[0])


def test_old_gradients_do_not_count(recipe: Recipe) -> None:
    batch, ends = first_batch(recipe, [10] * 4), []
    for left_behind in (False, True):
        learner = make_learner(recipe, toy_split([10] * 4), 4)
        if left_behind:
            for parameter in learner.net.parameters():
                parameter.grad = torch.ones_like(parameter)
        train_step(learner, batch, START)
        ends.append(state(learner.net))
    assert equal(*ends)


@pytest.mark.parametrize("name", ["faal-at", "faal-mart", "faal-at-awp"])
def test_bf16(recipe: Recipe, name: str) -> None:
    """Weights and losses stay in float32, and the step goes where float32's goes."""
    split = toy_split([10] * 4)
    moves: list[Tensor] = []
    for precision in ("float32", "bf16"):
        settings = replace(recipe, method=name, precision=precision, weight_decay=0.0)
        learner: Learner = make_learner(settings, split, 4)
        assert learner.numerics == Numerics(device=CPU, bf16=precision == "bf16")
        before = nn.utils.parameters_to_vector(learner.net.parameters()).detach()
        (result,) = train_steps(learner, make_batches(settings, split), 1)
        assert result.loss.dtype == result.weights.dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in learner.net.parameters())
        moves.append(nn.utils.parameters_to_vector(learner.net.parameters()).detach() - before)
    assert float(F.cosine_similarity(moves[0], moves[1], dim=0)) > 0.95
