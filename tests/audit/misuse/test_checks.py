"""Single checks, in cases that `test_run_checks.py` does not contain."""

from collections.abc import Callable

import pytest
import torch
from tests.audit.misuse.conftest import Bench
from tests.audit.misuse.layers import REVERSED, Layer, chain
from torch import Tensor, nn

from faal.audit.misuse.determinism import determinism
from faal.audit.misuse.gradient_masking import large_epsilon, square_search, zero_gradients
from faal.audit.misuse.input_scaling import SCALINGS, input_scaling
from faal.config import Threat
from faal.inner.modes import attacked

THREAT = Threat("linf", 0.2)


# --- determinism -----------------------------------------------------------------------------------------------------


def test_rounding_is_no_difference(bench: Bench) -> None:
    draw = torch.Generator().manual_seed(0)

    def rounded(logits: Tensor) -> Tensor:
        return logits * (1 + 1e-6 * torch.rand(logits.shape, generator=draw))

    found = determinism(chain(bench.plain, Layer(rounded)), bench.samples())
    assert found.values["difference_on_repeat"] > 0
    assert found.warning is None


def test_logits_that_are_sometimes_nan(bench: Bench) -> None:
    calls = iter(range(10))
    broken = Layer(lambda logits: logits + (torch.nan if next(calls) == 1 else 0.0))
    found = determinism(chain(bench.plain, broken), bench.samples())
    assert "differ from call to call" in str(found.warning)
    assert 1e38 < found.values["difference_on_repeat"] < torch.inf


def test_any_dependence_on_the_batch_is_detected(bench: Bench) -> None:
    mixing = Layer(lambda logits: logits - logits.mean(dim=0))
    assert "depend on the others in its batch" in str(determinism(chain(bench.plain, mixing), bench.samples()).warning)


# --- input scaling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("undo", "expected"),
    [
        (lambda x: x, None),
        (lambda x: 0.38 * x + 0.31, "normalised"),
        (lambda x: (x + 1) / 2, "centred"),
        (lambda x: x / 255, "levels"),
        (lambda x: (x - 0.31) / 0.38, "denormalised"),
        (lambda x: 2 * x - 1, "decentred"),
    ],
)
def test_each_scaling_is_found(undo: Callable[[Tensor], Tensor], expected: str | None, bench: Bench) -> None:
    """A net that first inverts the scaling expects images scaled so."""
    found = input_scaling(chain(Layer(undo), bench.normalized), bench.samples(256))
    if expected is None:
        assert found.warning is None
    else:
        assert SCALINGS[expected].description in str(found.warning)
        weak = found.values["accuracy"]["as_given"] < 0.5
        assert ("or the network is not trained enough for this test" in str(found.warning)) == weak


def test_scalings_that_a_model_refuses_are_left_out(bench: Bench) -> None:
    def checked(images: Tensor) -> Tensor:
        assert images.min() >= 0
        assert images.max() <= 1
        return 0.38 * images + 0.31

    found = input_scaling(chain(Layer(checked), bench.normalized), bench.samples(256))
    assert set(found.values["accuracy"]) == {"as_given", "denormalised", "decentred"}
    assert found.warning is None


def test_a_small_rise_is_no_sign_of_another_unit(bench: Bench) -> None:
    """10 of 256 images (less than `MIN_RISE`) are predicted correctly in levels alone: significant, but little."""
    samples = bench.samples(256)
    labels = samples.labels

    def logits(images: Tensor) -> Tensor:
        wrong = torch.arange(256) < (16 if images.max() > 2 else 26)
        return torch.nn.functional.one_hot(torch.where(wrong, (labels + 1) % 10, labels), 10).float()

    found = input_scaling(Layer(logits), samples)
    assert found.values["accuracy"]["levels"] == pytest.approx(240 / 256)
    assert found.values["accuracy"]["as_given"] == pytest.approx(230 / 256)
    assert found.warning is None


# --- gradient masking ------------------------------------------------------------------------------------------------


def test_a_gradient_of_nan_counts_as_zero(bench: Bench) -> None:
    poisoned = chain(Layer(lambda images: images + 0 * (0 * images).sqrt()), bench.plain)
    found = zero_gradients(poisoned, bench.samples(), THREAT)
    assert found.values["without_gradient"] == 64
    assert found.warning is not None


def test_a_few_images_without_a_gradient_are_honest(bench: Bench) -> None:
    some = torch.arange(64) < 6

    def flat(images: Tensor) -> Tensor:
        return torch.where(some.view(-1, 1, 1, 1), images.detach(), images)

    found = zero_gradients(chain(Layer(flat), bench.plain), bench.samples(), THREAT)
    assert found.values["without_gradient"] == 6
    assert found.warning is None


@pytest.mark.parametrize("threat", [THREAT, Threat("l2", 1.5)])
def test_square_that_finds_no_more_than_the_attacks_gives_no_warning(threat: Threat, bench: Bench) -> None:
    """One model: masked if all samples were robust under the attacks, not if only twelve were."""
    net, samples = chain(REVERSED, bench.linear), bench.samples()
    with attacked(net):
        robust = square_search(net, samples, torch.ones(64, dtype=torch.bool), threat, seed=0, attacks=["pgd20"])
        misclassified = square_search(net, samples, torch.arange(64) < 12, threat, seed=0, attacks=["pgd20"])
    assert robust is not None
    assert robust.values["turned_by_it_alone"] >= 10
    assert robust.values["turned_by_attacks_alone"] == 0
    assert "that are robust under pgd20" in str(robust.warning)
    assert misclassified is not None
    assert misclassified.warning is None


def test_where_square_gives_no_result(bench: Bench) -> None:
    samples, none = bench.samples(), torch.zeros(64, dtype=torch.bool)
    assert square_search(bench.linear, samples, none, THREAT, seed=0, attacks=["pgd20"]) is None
    narrow = type(samples)(images=samples.images[:, :, :4], labels=samples.labels, rows=samples.rows)
    assert square_search(nn.Flatten(), narrow, ~none, Threat("l2", 1.0), seed=0, attacks=["pgd20"]) is None


def test_no_sample_of_an_honest_model_is_robust_at_a_large_epsilon(bench: Bench) -> None:
    with torch.no_grad():
        samples = bench.samples()
        correct = samples[bench.linear(samples.images).argmax(dim=1) == samples.labels]
    found = large_epsilon(bench.linear, correct, THREAT)
    assert found.values["standing"] == 0
    assert found.warning is None


def test_a_model_that_predicts_nearly_always_one_class_is_honest(bench: Bench) -> None:
    """Its images of that class are robust at any epsilon, rightly: grey is predicted as this class too."""
    samples = bench.samples()
    biased = chain(bench.linear, Layer(lambda logits: logits + 1e4 * torch.eye(10)[3]))
    own = samples[samples.labels == 3]
    assert len(own) > 0
    found = large_epsilon(biased, own, THREAT)
    assert (found.values["samples"], found.warning) == (0, None)
