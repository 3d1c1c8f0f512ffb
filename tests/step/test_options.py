"""A step's options: how the attack is overridden, an extra clean forward, penalties, BAT's points, FAT's gradient."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.conftest import toy_split
from tests.helpers.learners import make_batches, make_learner
from torch import Tensor, nn

from faal.config import Recipe, Schedule
from faal.data import Batch
from faal.engine import seeds
from faal.inner.boundary import crossing
from faal.inner.pgd import AttackSettings, pgd
from faal.intermediate.class_rule import TermWeights
from faal.intermediate.class_stats import BatchStats
from faal.intermediate.rules.uniform import Uniform
from faal.methods import METHODS
from faal.outer import awp
from faal.step import Learner, StepContext, find_adversarial, train_step

START = StepContext(epoch=0, progress=0.0)
COUNTS = [10] * 4


def learner_and_batch(recipe: Recipe) -> tuple[Learner, Batch]:
    split = toy_split(COUNTS)
    return make_learner(recipe, split, len(COUNTS)), next(make_batches(recipe, split).epoch(0))


def buffers(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.named_buffers()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def counted(net: nn.Module) -> int:
    """Forwards in training mode so far."""
    return int(net.features[1].num_batches_tracked)  # type: ignore[index, union-attr]


def noise_of(start: str, batch: Batch) -> Tensor:
    draw = seeds.normal if start == "gaussian" else seeds.uniform
    return draw(batch.key, 64, seed=0, epoch=0, stream=seeds.Stream.START).view_as(batch.images)


class TestExtraCleanForward:
    @pytest.mark.parametrize("name", ["pgd-at", "faal-at", "trades"])
    def test_the_statistics_see_the_clean_images_last(self, recipe: Recipe, name: str) -> None:
        """Those of adversarial, then clean; for TRADES of clean, adversarial, clean, as its own code has it."""
        settings = replace(recipe, method=name, extra_clean_forward=True)
        learner, batch = learner_and_batch(settings)
        by_hand = copy.deepcopy(learner.net).train()
        adversarial = find_adversarial(learner, batch, START).adversarial
        train_step(learner, batch, START)
        with torch.no_grad():
            for images in ([batch.images] if name == "trades" else []) + [adversarial, batch.images]:
                by_hand(images)
        assert same(buffers(learner.net), buffers(by_hand))

    @pytest.mark.parametrize("name", ["pgd-at", "faal-at", "trades", "mart"])
    def test_nothing_else_changes(self, recipe: Recipe, name: str) -> None:
        """One step: the loss, the weights after it and the momenta are those without."""
        ends = []
        for extra in (False, True):
            learner, batch = learner_and_batch(replace(recipe, method=name, extra_clean_forward=extra))
            result = train_step(learner, batch, START)
            momenta = [learner.optimizer.state[p]["momentum_buffer"] for p in learner.net.parameters()]
            ends.append((result.loss, dict(learner.net.named_parameters()), momenta, counted(learner.net)))
        (loss, weights, momenta, few), (other_loss, other_weights, other_momenta, more) = ends
        assert loss == other_loss
        assert same(weights, other_weights)
        assert all(torch.equal(a, b) for a, b in zip(momenta, other_momenta, strict=True))
        assert more == few + 1

    def test_under_awp_it_happens_at_the_perturbed_weights(self, recipe: Recipe) -> None:
        settings = replace(
            recipe, method="at-awp", extra_clean_forward=True, awp_gamma=Schedule.constant(0.1), crop=0, steps=1
        )
        learner, batch = learner_and_batch(settings)
        by_hand = copy.deepcopy(learner.net).train()
        adversarial = find_adversarial(learner, batch, START).adversarial
        train_step(learner, batch, START)
        with awp.perturbed(by_hand, lambda: F.cross_entropy(by_hand(adversarial), batch.labels), 0.1), torch.no_grad():
            by_hand(adversarial)
            by_hand(batch.images)
        assert counted(learner.net) == 2
        for name, tensor in buffers(by_hand).items():
            torch.testing.assert_close(learner.net.state_dict()[name], tensor)


class TestAttackMode:
    def test_the_statistics_move_with_every_step_of_the_attack(self, recipe: Recipe) -> None:
        """CFA-AT as published: K in the attack, one in training, one clean."""
        settings = replace(recipe, method="cfa-at", steps=3, attack_mode="train", extra_clean_forward=True)
        learner, batch = learner_and_batch(settings)
        train_step(learner, batch, START)
        assert counted(learner.net) == 3 + 1 + 1
        settings = replace(settings, method="trades", extra_clean_forward=False)
        learner, batch = learner_and_batch(settings)
        train_step(learner, batch, START)
        assert counted(learner.net) == 1 + 3 + 2  # the clean logits of the divergence first

    def test_the_examples_are_those_of_a_network_in_training(self, recipe: Recipe) -> None:
        """BatchNorm normalises by the attacked batch; network and mode come back as they were but for the buffers."""
        found = {}
        for mode in ("eval", "train"):
            learner, batch = learner_and_batch(replace(recipe, method="pgd-at", attack_mode=mode))
            by_hand = copy.deepcopy(learner.net)
            learner.net.train()
            found[mode] = find_adversarial(learner, batch, START).adversarial
            expected = pgd(
                by_hand,
                batch.images,
                batch.labels,
                AttackSettings(steps=2, training=mode == "train"),
                epsilon=0.1,
                step_size=0.05,
                noise=noise_of("uniform", batch),
            )
            assert torch.equal(found[mode], expected)
            assert same(buffers(learner.net), buffers(by_hand))
            assert learner.net.training
            assert counted(learner.net) == (2 if mode == "train" else 0)
        assert not torch.equal(found["eval"], found["train"])


class TestOverrides:
    @pytest.mark.parametrize("start", ["own", "uniform", "gaussian", "zero"])
    @pytest.mark.parametrize("loss", ["own", "ce", "kl", "cw"])
    @pytest.mark.parametrize("name", ["pgd-at", "mart", "bat"])
    def test_loss_and_start_of_the_attack(self, recipe: Recipe, name: str, loss: str, start: str) -> None:
        """The noise is that of the start: uniform, or normal."""
        settings = replace(recipe, method=name, attack_loss=loss, attack_start=start, steps=3)
        learner, batch = learner_and_batch(settings)
        row = METHODS[name].adversary
        assert row is not None
        attack = AttackSettings(
            steps=3, loss=row.loss if loss == "own" else loss, start=row.start if start == "own" else start
        )
        arguments: dict = {"epsilon": 0.1, "step_size": 0.05, "noise": noise_of(attack.start, batch)}
        found = find_adversarial(learner, batch, START)
        assert found.clean is batch.images
        if name == "bat":
            points = crossing(learner.net, batch.images, batch.labels, attack, **arguments)
            assert torch.equal(found.friendly, points.last_clean)
            assert torch.equal(found.adversarial, points.first_adversarial)
        else:
            assert torch.equal(found.adversarial, pgd(learner.net, batch.images, batch.labels, attack, **arguments))

    def test_the_overrides_differ(self, recipe: Recipe) -> None:
        """Lest the test above compare one attack with itself."""
        found = []
        for loss in ("ce", "kl", "cw"):
            for start in ("uniform", "gaussian", "zero"):
                settings = replace(recipe, method="mart", attack_loss=loss, attack_start=start)
                learner, batch = learner_and_batch(settings)
                found.append(find_adversarial(learner, batch, START).adversarial)
        assert not any(torch.equal(a, b) for i, a in enumerate(found) for b in found[:i])

    def test_a_method_without_an_adversary_has_none(self, recipe: Recipe) -> None:
        learner, batch = learner_and_batch(replace(recipe, method="standard", attack_loss="cw", attack_start="zero"))
        assert find_adversarial(learner, batch, START).adversarial is batch.images


class _Confusions(Uniform):
    """Weighs a confusion by 10 times its prediction plus its class, and twice the clean term of class 3."""

    def weigh(self, batch: BatchStats) -> TermWeights:
        table = 10.0 * torch.arange(4)[:, None] + torch.arange(4)[None, :]
        return TermWeights(clean=torch.tensor([1.0, 1, 1, 2]), robust=torch.full((4,), 0.5), penalty=table)


def test_penalties_reach_the_loss(recipe: Recipe) -> None:
    """CSR by hand: 0.7 CE, 6 KL and 0.3 G[prediction, class] CE(adv), one sample after another."""
    learner, batch = learner_and_batch(replace(recipe, method="csr", steps=4))
    learner.rule = _Confusions(torch.ones(4))
    adversarial = find_adversarial(learner, batch, START).adversarial
    net = copy.deepcopy(learner.net).train()
    with torch.no_grad():
        clean, robust = net(batch.images).double(), net(adversarial).double()
    p, q, expected, correct = clean.softmax(dim=1), robust.softmax(dim=1), 0.0, set()
    for i, y in enumerate(batch.labels.tolist()):
        predicted = int(robust[i].argmax())
        correct.add(predicted == y)
        expected -= (2.0 if y == 3 else 1.0) * 0.7 * float(p[i, y].log())
        expected += 0.5 * 6 * float((p[i] * (p[i] / q[i]).log()).sum())
        expected -= (10 * predicted + y) * 0.3 * float(q[i, y].log())
    assert correct == {True, False}
    result = train_step(learner, batch, START)
    assert float(result.loss) == pytest.approx(expected / len(batch.labels), rel=1e-4)


def test_bat_by_hand(recipe: Recipe) -> None:
    """Clean, last clean, first adversarial, once each: CE(x_in) + 6 KL(p(x) || p(x_out)) + 2 log C - H - H."""
    learner, batch = learner_and_batch(replace(recipe, method="bat", steps=4))
    found = find_adversarial(learner, batch, START)
    net = copy.deepcopy(learner.net).train()
    with torch.no_grad():
        p, inside, outside = (net(images).double().softmax(dim=1) for images in found)
    fit = -inside.gather(1, batch.labels[:, None]).squeeze(1).log()
    divergence = (p * (p / outside).log()).sum(dim=1)
    entropies = sum(-(each * each.log()).sum(dim=1) for each in (inside, outside))
    expected = (fit + 6 * divergence + 2 * torch.tensor(4.0).log() - entropies).mean()
    forwarded: list[Tensor] = []
    learner.net.register_forward_pre_hook(lambda net, inputs: forwarded.append(inputs[0]) if net.training else None)
    assert float(train_step(learner, batch, START).loss) == pytest.approx(float(expected), rel=1e-5)
    assert len(forwarded) == 3
    assert all(torch.equal(a, b) for a, b in zip(forwarded, found, strict=True))


def test_fat_by_hand(recipe: Recipe) -> None:
    """A step of plain SGD along the gradient of mean CE + 0.1 Var."""
    settings = replace(recipe, method="fat", momentum=0.0, weight_decay=0.0, constants={"strength": 2.0})
    learner, batch = learner_and_batch(settings)
    adversarial = find_adversarial(learner, batch, START).adversarial
    net = copy.deepcopy(learner.net).train()
    per_sample = F.cross_entropy(net(adversarial), batch.labels, reduction="none")
    classes = torch.stack([per_sample[batch.labels == c].mean() for c in batch.labels.unique()])
    gradients = torch.autograd.grad(per_sample.mean() + 2.0 * classes.var(), list(net.parameters()))
    train_step(learner, batch, START)
    for moved, before, gradient in zip(learner.net.parameters(), net.parameters(), gradients, strict=True):
        torch.testing.assert_close(moved, before - 0.05 * gradient, rtol=1e-3, atol=1e-6)


FORWARDS = {"bat": 3, "csr": 2, "fat": 1, "cfol": 1, "group-dro": 1, "cfa-at": 1, "cfa-trades": 2, "dafa": 2, "wat": 2}


@pytest.mark.parametrize("name", FORWARDS)
def test_training_mode_forwards(recipe: Recipe, name: str) -> None:
    learner, batch = learner_and_batch(replace(recipe, method=name))
    train_step(learner, batch, START)
    assert counted(learner.net) == FORWARDS[name]


PUBLISHED = {"trades": 3, "faal-at": 2, "faal-trades": 2, "faal-mart": 2, "faal-at-awp": 2, "cfa-at": 2 + 2, "bat": 3}
"""Training-mode forwards of the published code, at two attack steps: FAAL's has one clean forward whatever the loss."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_forwards_as_published(recipe: Recipe, name: str) -> None:
    published = {setting: METHODS[name].published.get(setting) for setting in ("attack_mode", "extra_clean_forward")}
    settings = {setting: value for setting, value in published.items() if value is not None}
    learner, batch = learner_and_batch(replace(recipe, method=name, **settings))
    train_step(learner, batch, START)
    assert counted(learner.net) == PUBLISHED[name]
