"""Class-wise sums and counts against a plain loop."""

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from faal import losses
from faal.intermediate.class_stats import PER_SAMPLE, Need, batch_stats, class_sums


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """40 predictions over 6 classes, of which 1 and 4 are absent."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(40, 6, generator=generator).to(dtype)
    labels = torch.tensor([0, 2, 3, 5])[torch.randint(4, (40,), generator=generator)]
    return logits, labels


def loop(values: Tensor, classes: Tensor, count: int) -> tuple[list[float], list[int]]:
    sums, counts = [0.0] * count, [0] * count
    for value, c in zip(values.tolist(), classes.tolist(), strict=True):
        sums[c] += value
        counts[c] += 1
    return sums, counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_means_over_the_labels(dtype: torch.dtype) -> None:
    logits, labels = batch(dtype)
    stats = batch_stats(logits, labels, labels, 6, list(Need))
    per_sample = {
        Need.MARGIN: losses.probability_margin,
        Need.CROSS_ENTROPY: losses.cross_entropy,
        Need.CORRECT: lambda logits, labels: (logits.argmax(dim=1) == labels).float(),
    }
    for need in per_sample:
        sums, counts = loop(per_sample[need](logits, labels), labels, 6)
        assert stats.counts.tolist() == counts
        torch.testing.assert_close(stats.sums[need], torch.tensor(sums))
        means = [s / n if n else 0.0 for s, n in zip(sums, counts, strict=True)]
        torch.testing.assert_close(stats.mean(need), torch.tensor(means))
    assert stats.present.tolist() == [True, False, True, True, False, True]
    assert stats.counts.dtype == stats.sums[Need.MARGIN].dtype == torch.float32


def test_probabilities_are_rows_per_class() -> None:
    """Row c is the mean softmax over the samples of class c: it sums to 1, or to 0 for an absent class."""
    logits, labels = batch()
    stats = batch_stats(logits, labels, labels, 6, [Need.PROBABILITIES])
    rows = stats.mean(Need.PROBABILITIES)
    for c in range(6):
        own = logits[labels == c].softmax(dim=1)
        torch.testing.assert_close(rows[c], own.mean(dim=0) if len(own) else torch.zeros(6))


def test_means_over_other_groups() -> None:
    """The margin is taken against the label, the mean over the group; there may be more groups than classes."""
    logits, labels = batch()
    groups = torch.arange(40) * 7 % 9 + 1
    stats = batch_stats(logits, labels, groups, 11, {Need.MARGIN})
    sums, counts = loop(losses.probability_margin(logits, labels), groups, 11)
    assert stats.counts.tolist() == counts
    assert counts[0] == counts[10] == 0
    torch.testing.assert_close(stats.sums[Need.MARGIN], torch.tensor(sums))


def test_only_what_is_asked_for_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(logits: Tensor, labels: Tensor) -> Tensor:
        raise AssertionError

    monkeypatch.setitem(PER_SAMPLE, Need.CROSS_ENTROPY, never)
    logits, labels = batch()
    assert batch_stats(logits, labels, labels, 6, {Need.MARGIN}).sums.keys() == {Need.MARGIN}
    nothing = batch_stats(logits, labels, labels, 6, ())
    assert nothing.sums == {}
    assert int(nothing.counts.sum()) == 40


def test_statistics_are_constants() -> None:
    logits, labels = batch()
    stats = batch_stats(logits.requires_grad_(), labels, labels, 6, list(Need))
    assert not any(tensor.requires_grad for tensor in (stats.counts, *stats.sums.values()))


def test_class_sums_of_many_classes() -> None:
    values, classes = torch.arange(5.0), torch.tensor([999, 0, 999, 3, 3])
    sums = class_sums(values, classes, 1000)
    assert {c: sums[c].item() for c in sums.nonzero().flatten().tolist()} == {3: 7.0, 999: 2.0, 0: 1.0}


def test_no_value_is_looked_at_from_python() -> None:
    with FakeTensorMode():
        stats = batch_stats(torch.empty(8, 10), torch.zeros(8).long(), torch.zeros(8).long(), 10, list(Need))
        assert stats.mean(Need.MARGIN).shape == stats.present.shape == (10,)
