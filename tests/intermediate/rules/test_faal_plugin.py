"""FAAL: Eqs. 6, 7 and 10 and line 14 of Algorithm 1, on equal and on unequal classes, with and without memory."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.helpers import oracles
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import faal
from faal.config import Schedule
from faal.errors import InputError
from faal.intermediate.class_rule import EpochStats
from faal.intermediate.class_stats import BatchStats, Need, batch_stats
from faal.intermediate.rules.faal import FAAL


def statistics(means: list[float], counts: list[int] | None = None, need: Need = Need.MARGIN) -> BatchStats:
    """A batch with these class means; classes of count 0 are absent."""
    sizes = torch.tensor(counts or [4] * len(means), dtype=torch.float32)
    return BatchStats(counts=sizes, sums={need: torch.tensor(means) * sizes})


def weights(rule: FAAL, batch: BatchStats) -> np.ndarray:
    both = rule.weigh(batch)
    assert torch.equal(both.clean, both.robust)
    assert both.robust.dtype == torch.float32
    return both.robust.double().numpy()


MARGINS = [-0.5, 0.2, -0.1, 0.4, -0.7]


class TestBalanced:
    @pytest.mark.parametrize("tau", [0.05, 0.25, 0.5, 2.0])
    def test_the_weights_are_those_of_eq_7(self, tau: float) -> None:
        """C w_c: their mean over the classes is 1."""
        found = weights(FAAL(5, tau=tau), statistics(MARGINS))
        np.testing.assert_allclose(found, 5 * oracles.kldro(np.array(MARGINS), tau), rtol=1e-5)
        assert found.mean() == pytest.approx(1, abs=1e-6)
        assert found.argmax() == 3
        assert found.argmin() == 4

    def test_absent_classes_are_left_out(self) -> None:
        """C' w_c over the C' classes present, whatever their counts in the batch; an absent class has weight 0."""
        found = weights(FAAL(5, tau=0.5), statistics(MARGINS, [3, 0, 9, 1, 0]))
        present = [0, 2, 3]
        expected = 3 * oracles.kldro(np.array(MARGINS)[present], 0.5)
        np.testing.assert_allclose(found[present], expected, rtol=1e-5)
        assert found[[1, 4]].tolist() == [0, 0]
        assert found[present].mean() == pytest.approx(1, abs=1e-6)

    def test_absent_classes_change_nothing_by_their_value(self) -> None:
        counts = [3, 0, 9, 1, 0]
        other = [m if n else 100.0 for m, n in zip(MARGINS, counts, strict=True)]
        rule = FAAL(5, tau=0.5)
        np.testing.assert_array_equal(
            weights(rule, statistics(MARGINS, counts)), weights(rule, statistics(other, counts))
        )

    @pytest.mark.parametrize("classes", [2, 3, 10, 100])
    @pytest.mark.parametrize("frequencies", [None, "counts", "shares"])
    def test_tau_zero_is_exactly_one(self, classes: int, frequencies: str | None) -> None:
        """Bit for bit, whichever classes are present: the base method."""
        equal = {
            None: None,
            "counts": torch.full((classes,), 480),
            "shares": torch.full((classes,), 1 / classes, dtype=torch.float64),
        }
        rule = FAAL(classes, tau=0.0, frequencies=equal[frequencies])
        generator = torch.Generator().manual_seed(classes)
        for absent in range(classes):
            counts = torch.ones(classes)
            counts[torch.randperm(classes, generator=generator)[:absent]] = 0
            batch = BatchStats(counts=counts, sums={Need.MARGIN: torch.randn(classes, generator=generator)})
            assert torch.equal(rule.weigh(batch).robust, (counts > 0).float())

    def test_one_class_alone(self) -> None:
        assert weights(FAAL(5, tau=0.5), statistics(MARGINS, [0, 0, 7, 0, 0])).tolist() == [0, 0, 1, 0, 0]


class TestUnequalClasses:
    def test_by_hand(self) -> None:
        """Two classes of 3 : 1, tau 0.5. w = (1 -+ sqrt(1 - e^-1)) / 2 = (0.10247, 0.89753), divided by (3/4, 1/4)."""
        w = (1 + math.sqrt(1 - math.exp(-1))) / 2
        found = weights(FAAL(2, tau=0.5, frequencies=torch.tensor([300, 100])), statistics([-0.4, 0.3]))
        np.testing.assert_allclose(found, [(1 - w) / 0.75, w / 0.25], rtol=1e-6)
        np.testing.assert_allclose(found, [0.13663, 3.59012], atol=1e-5)

    def test_by_hand_with_tau_zero(self) -> None:
        """1/C over pi_c: every class counts alike, however rare."""
        found = weights(FAAL(3, tau=0.0, frequencies=torch.tensor([0.5, 0.3, 0.2])), statistics([0.1, 0.2, 0.3]))
        np.testing.assert_allclose(found, [2 / 3, 10 / 9, 5 / 3], rtol=1e-6)

    def test_frequencies_are_renormalised_over_the_classes_present(self) -> None:
        """Of 0.5, 0.3, 0.2 the first and the last are present: pi is 5/7 and 2/7."""
        rule = FAAL(3, tau=0.5, frequencies=torch.tensor([0.5, 0.3, 0.2]))
        w = oracles.kldro(np.array([-0.4, 0.3]), 0.5)
        found = weights(rule, statistics([-0.4, 9.0, 0.3], [5, 0, 2]))
        np.testing.assert_allclose(found, [w[0] * 7 / 5, 0, w[1] * 7 / 2], rtol=1e-5)

    def test_the_expected_loss_is_eq_6(self) -> None:
        """Over batches drawn with the training set's frequencies, sample weights w_c / pi_c give sum_c w_c l_c."""
        counts = torch.tensor([100, 20, 8])
        rule = FAAL(3, tau=0.5, frequencies=counts)
        labels = torch.repeat_interleave(torch.arange(3), counts)  # the whole training set as one batch
        class_loss = torch.tensor([0.2, 0.9, 2.0])
        w = rule.weigh(statistics([-0.6, 0.0, 0.5]))
        expected = oracles.kldro(np.array([-0.6, 0.0, 0.5]), 0.5) @ class_loss.double().numpy()
        assert float(w.reduce(None, class_loss[labels], labels)) == pytest.approx(expected, rel=1e-5)

    def test_scale_does_not_matter(self) -> None:
        shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
        one, other = FAAL(3, frequencies=shares), FAAL(3, frequencies=(shares * 1000).long())
        np.testing.assert_allclose(
            weights(one, statistics([0.1, 0, 0.3])), weights(other, statistics([0.1, 0, 0.3])), rtol=1e-6
        )


class TestSmoothing:
    def test_a_moving_average_per_class(self) -> None:
        """By hand, decay 0.75: the first value counts in full, an absent class stays at its last value."""
        rule = FAAL(3, tau=0.5, smoothing=0.75)
        batches = [
            statistics([0.4, -0.2, 0], [2, 2, 0]),
            statistics([0.0, 0.6, 0], [1, 1, 0]),
            statistics([0, 0, -0.8], [0, 0, 4]),
        ]
        expected = [[0.4, -0.2], [0.3, 0.0], [0.3, 0.0, -0.8]]
        for batch, means in zip(batches, expected, strict=True):
            found = weights(rule, batch)
            known = len(means)
            np.testing.assert_allclose(found[:known], known * oracles.kldro(np.array(means), 0.5), rtol=1e-4)
            assert found[known:].tolist() == [0] * (3 - known)  # no sample so far
            np.testing.assert_allclose(rule.average[:known], means, rtol=1e-6)

    def test_absent_classes_still_hold_their_place(self) -> None:
        """The ball is over all classes observed so far, not over those of the batch."""
        rule = FAAL(4, tau=0.5, smoothing=0.5, frequencies=torch.tensor([4, 3, 2, 1]))
        rule.weigh(statistics([0.1, 0.2, 0.3, 0.4]))
        found = weights(rule, statistics([0.1, 0, 0, 0], [4, 0, 0, 0]))
        w = oracles.kldro(np.array([0.1, 0.2, 0.3, 0.4]), 0.5)
        np.testing.assert_allclose(found, w / np.array([0.4, 0.3, 0.2, 0.1]), rtol=1e-4)

    def test_none_is_the_paper(self) -> None:
        rule = FAAL(5, tau=0.5)
        rule.weigh(statistics([9.0, -9.0, 3.0, 1.0, 0.0]))
        np.testing.assert_array_equal(
            weights(rule, statistics(MARGINS)), weights(FAAL(5, tau=0.5), statistics(MARGINS))
        )

    def test_tau_zero_is_exactly_one(self) -> None:
        rule = FAAL(3, tau=0.0, smoothing=0.9)
        for counts in ([1, 0, 2], [0, 3, 0], [1, 1, 1]):
            batch = statistics([0.3, 0.1, -0.2], counts)
            judged = rule.weigh(batch).robust
            assert torch.equal(judged[batch.present], torch.ones(int(batch.present.sum())))


class TestState:
    def test_round_trip(self) -> None:
        """A restored rule goes on exactly, inside an epoch too: nobody tells it tau again."""
        schedule = Schedule((0.0, 0.5), (0.0, 0.5))
        rule = FAAL(3, tau=schedule, smoothing=0.75)
        rule.begin_epoch(EpochStats(epoch=1, epochs=2))
        rule.weigh(statistics([0.4, -0.2, 0], [2, 2, 0]))
        state = copy.deepcopy(rule.state_dict())
        other = FAAL(3, tau=schedule, smoothing=0.75)
        other.load_state_dict(state)
        for batch in (statistics([0.1, 0.1, 0.9], [1, 1, 1]), statistics([0, -0.5, 0.2], [0, 3, 3])):
            np.testing.assert_array_equal(weights(rule, batch), weights(other, batch))
        assert rule.tau == other.tau == 0.5

    def test_state_is_tensors_and_numbers(self) -> None:
        assert all(isinstance(value, Tensor | float) for value in FAAL(3).state_dict().values())

    def test_tau_follows_its_schedule(self) -> None:
        rule = FAAL(2, tau=Schedule((0.0, 0.5, 0.75), (0.0, 0.25, 0.5)))
        assert rule.tau == 0
        taus = []
        for epoch in range(8):
            rule.begin_epoch(EpochStats(epoch=epoch, epochs=8))
            taus.append(rule.tau)
        assert taus == [0, 0, 0, 0, 0.25, 0.25, 0.5, 0.5]


def batch_of(classes: int, size: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, classes, generator=generator)
    labels = torch.randint(classes, (size,), generator=generator)
    return logits, labels, torch.rand(size, generator=generator)


class TestPlugIn:
    """`faal.FAAL` in anybody's training loop."""

    def by_hand(self, loss: Tensor, logits: Tensor, labels: Tensor, groups: Tensor, tau: float) -> float:
        """Algorithm 1, lines 9 to 14, in NumPy, one sample after another."""
        z = logits.double().numpy()
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        margins: dict[int, list[float]] = {}
        for i, (label, group) in enumerate(zip(labels.tolist(), groups.tolist(), strict=True)):
            margins.setdefault(group, []).append(max(np.delete(p[i], label)) - p[i, label])
        present = sorted(margins)
        w = oracles.kldro(np.array([np.mean(margins[c]) for c in present]), tau)
        share = dict(zip(present, len(present) * w, strict=True))
        return float(np.mean([share[g] * value for g, value in zip(groups.tolist(), loss.tolist(), strict=True)]))

    @pytest.mark.parametrize(("classes", "size"), [(2, 8), (10, 128), (100, 128)])
    @pytest.mark.parametrize("tau", [0.05, 0.5])
    def test_is_algorithm_1(self, classes: int, size: int, tau: float) -> None:
        """At 100 classes and 128 samples about 28 classes are absent."""
        logits, labels, loss = batch_of(classes, size, seed=classes)
        found = faal.FAAL(classes, tau=tau)(loss, logits, labels)
        assert found.shape == ()
        assert float(found) == pytest.approx(self.by_hand(loss, logits, labels, labels, tau), rel=1e-4)

    def test_other_groups(self) -> None:
        logits, labels, loss = batch_of(10, 64, seed=1)
        groups = torch.arange(64) % 3
        found = faal.FAAL(4, tau=0.5)(loss, logits, labels, groups=groups)
        assert float(found) == pytest.approx(self.by_hand(loss, logits, labels, groups, 0.5), rel=1e-4)

    def test_the_cross_entropy_as_statistic(self) -> None:
        logits, labels, loss = batch_of(4, 64, seed=2)
        stats = batch_stats(logits, labels, labels, 4, {Need.CROSS_ENTROPY})
        w = 4 * oracles.kldro(stats.mean(Need.CROSS_ENTROPY).double().numpy(), 0.5)
        found = faal.FAAL(4, tau=0.5, statistic="cross-entropy")(loss, logits, labels)
        assert float(found) == pytest.approx(float(np.mean(w[labels.numpy()] * loss.numpy())), rel=1e-4)

    def test_the_gradient_flows_through_the_loss_alone(self) -> None:
        logits, labels, _ = batch_of(5, 32, seed=3)
        logits.requires_grad_()
        loss = F.cross_entropy(logits, labels, reduction="none")
        rule = faal.FAAL(5, tau=0.5)
        (found,) = torch.autograd.grad(rule(loss, logits, labels), logits, retain_graph=True)
        w = rule.weigh(batch_stats(logits, labels, labels, 5, rule.needs)).robust
        (expected,) = torch.autograd.grad((w[labels] * loss).mean(), logits)
        assert torch.equal(found, expected)

    def test_tau_zero_is_the_mean(self) -> None:
        logits, labels, loss = batch_of(10, 32, seed=4)
        assert torch.equal(faal.FAAL(10, tau=0.0)(loss, logits, labels), loss.mean())


def test_no_value_is_looked_at_from_python() -> None:
    rules = [FAAL(10, frequencies=torch.arange(1, 11)), FAAL(10, smoothing=0.9)]
    with FakeTensorMode(allow_non_fake_inputs=True):
        logits, labels = torch.empty(8, 10), torch.zeros(8, dtype=torch.int64)
        for rule in rules:
            stats = batch_stats(logits, labels, labels, 10, rule.needs)
            assert rule.weigh(stats).robust.shape == (10,)
            assert rule(torch.empty(8), logits, labels).shape == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"smoothing": 1.0}, "smoothing"),
        ({"smoothing": -0.1}, "smoothing"),
        ({"tau": -0.5}, "tau"),
        ({"tau": Schedule((0.0, 0.5), (0.0, -1.0))}, "tau"),
        ({"tau": Schedule((0.0, 0.5), (0.0, 1.0)), "ball": "cvar"}, "tau of the ball 'cvar' is .* below 1, not 1.0"),
        ({"ball": "k1"}, "no ball 'k1'; did you mean 'kl'"),
        ({"frequencies": torch.ones(4)}, "3 positive numbers"),
        ({"frequencies": torch.tensor([1.0, 0.0, 1.0])}, "3 positive numbers"),
        ({"frequencies": torch.tensor([1.0, math.nan, 1.0])}, "3 positive numbers"),
        ({"statistic": "accuracy"}, "accuracy"),
        ({"num_classes": 0}, "num_classes is a whole number, at least 1, not 0"),
        ({"num_classes": 2.5}, "num_classes is a whole number"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FAAL(**{"num_classes": 3, **options})  # type: ignore[arg-type]


def test_a_reduced_loss_is_refused() -> None:
    """It would broadcast, and train plainly without a word."""
    logits, labels = torch.randn(6, 3), torch.arange(6) % 3
    with pytest.raises(InputError, match='reduction="none"'):
        FAAL(3)(torch.tensor(1.0), logits, labels)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"labels": torch.tensor([0, 1, 2, 0, 1, 3])},
            "sample 5 of the batch has the label 3, .* 3 outputs are 0 to 2",
        ),
        ({"labels": torch.tensor([0, -100, 2, 0, 1, 2])}, "sample 1 of the batch has the label -100, out of range"),
        ({"labels": torch.zeros(6)}, "labels must be .*whole numbers, not a tensor of float32"),
        ({"groups": torch.tensor([0, 1, 2, 3, 0, 0])}, "sample 3 .* group 3, .* 3 classes of the rule are 0 to 2"),
        ({"groups": torch.tensor([0, 1])}, r"groups are one number per sample, of shape \(6,\) on cpu, not"),
        ({"logits": torch.zeros(6, 4), "labels": torch.tensor([0, 1, 2, 3, 0, 1])}, "3 classes of the rule are 0 to 2"),
        ({"logits": torch.zeros(6, 3, 8, 8)}, "logits are of shape"),
        ({"logits": torch.zeros(5, 3)}, "with B = 6 and C of at least 2, not"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(changed: dict[str, Tensor], said: str) -> None:
    batch = {"per_sample_loss": torch.ones(6), "logits": torch.zeros(6, 3), "labels": torch.arange(6) % 3}
    with pytest.raises(InputError, match=said):
        FAAL(3)(**(batch | changed))


class TestNotANumber:
    """Nothing waits for the device: the loss is not finite, as a plain mean is not, and no later batch is affected."""

    @pytest.mark.parametrize("wrong", [math.nan, math.inf])
    def test_a_loss_that_is_none_is_not_hidden(self, wrong: float) -> None:
        logits, labels, loss = batch_of(3, 12, seed=5)
        loss[4] = wrong
        assert not FAAL(3)(loss, logits, labels).isfinite()
        assert not FAAL(3, tau=0.9, ball="cvar")(loss, logits, labels).isfinite()

    @pytest.mark.parametrize("smoothing", [0.0, 0.9])
    def test_an_answer_that_is_none_does_not_reach_the_next_batch(self, smoothing: float) -> None:
        first, broken, last = (batch_of(3, 12, seed=seed) for seed in (5, 6, 7))
        broken[0][broken[1] == 1] = math.nan
        rule, spared = FAAL(3, smoothing=smoothing), FAAL(3, smoothing=smoothing)
        for logits, labels, loss in (first, broken):
            rule(loss, logits, labels)
        spared(first[2], first[0], first[1])
        found = rule(last[2], last[0], last[1])
        assert found.isfinite()
        assert rule.average.isfinite().all()
        if not smoothing:
            assert torch.equal(found, spared(last[2], last[0], last[1]))

    def test_a_class_is_not_seen_before_it_has_a_margin(self) -> None:
        logits, labels, loss = batch_of(3, 12, seed=8)
        logits[labels == 2] = math.nan
        rule = FAAL(3, smoothing=0.9)
        rule(loss, logits, labels)
        assert rule.observed.tolist() == [True, True, False]


@pytest.mark.parametrize("kind", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_labels_of_any_width(kind: str) -> None:
    logits, labels = torch.eye(3) * torch.tensor([3.0, 1.0, -1.0]), torch.arange(3)
    expected = faal.FAAL(3)(torch.ones(3), logits, labels, groups=labels)
    tensor, array = labels.to(getattr(torch, kind)), labels.numpy().astype(kind)
    for other in (tensor, array, array.astype(array.dtype.newbyteorder(">"))):
        assert torch.equal(faal.FAAL(3)(torch.ones(3), logits, other, groups=other), expected)
