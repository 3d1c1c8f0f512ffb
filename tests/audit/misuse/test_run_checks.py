"""Twelve kinds of misuse, each with its warning (some in several forms); and honest controls, without warnings."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.audit.conftest import make_problem
from tests.audit.misuse.conftest import DEVIATION, MEAN, Bench, fit, linear
from tests.audit.misuse.layers import (
    DECIDED,
    DROPOUT,
    LEVELS,
    NORMALISED,
    REVERSED,
    ROUNDING,
    SATURATED,
    SOFTMAX,
    chain,
    on_batch_statistics,
)

from faal.audit.run import audit
from faal.errors import InputError
from faal.models.normalize import Normalized

Arguments = dict[str, Any]
GIVEN: Arguments = {"attacks": "pgd10", "epsilon": 0.1}


def warnings_of(bench: Bench, **given: Any) -> str:
    """The warnings of an audit of the digits, a line each; or why it was rejected."""
    try:
        result = audit(**{"images": bench.images, "labels": bench.labels, **GIVEN, **given})
    except InputError as error:
        return str(error)
    return "\n".join(result.warnings)


def train_mode(bench: Bench) -> Arguments:
    net = chain(bench.plain)
    net.train()
    return {"model": net}


def leaked(bench: Bench) -> Arguments:
    mixed = torch.cat([bench.train.images.fetch(torch.arange(50)), bench.images[100:107]])
    return {"model": bench.plain, "train_images": mixed}


def few(bench: Bench) -> Arguments:
    rows = (bench.labels != 3) | (bench.labels.cumsum(0) % 4 == 0)
    return {"model": bench.plain, "images": bench.images[rows], "labels": bench.labels[rows]}


MISUSES: dict[str, tuple[Callable[[Bench], Arguments], list[str]]] = {
    "1 probabilities": (
        lambda b: {"model": chain(b.plain, SOFTMAX)},
        ["seem to be probabilities, not logits", "all 899", "remove it"],
    ),
    "2 a random forward": (
        lambda b: {"model": chain(DROPOUT, b.plain)},
        ["differ from call to call", "of 64 predictions change", "one random draw", "switch it off"],
    ),
    "3 a zero gradient: rounding": (
        lambda b: {"model": chain(ROUNDING, b.plain)},
        ["zero at 56 of 56 images", "rounding", "too high", "make it differentiable"],
    ),
    "3 a zero gradient: saturated logits": (
        lambda b: {"model": chain(b.plain, SATURATED)},
        ["gradient of the loss is zero at", "flat in float32", "divide the logits"],
    ),
    "3 a zero gradient: an argmax": (
        lambda b: {"model": chain(b.plain, DECIDED)},
        ["no gradient to its images", "argmax", "make it differentiable"],
    ),
    "4 masked gradients: Square is stronger": (
        lambda b: {"model": chain(REVERSED, b.plain), "epsilon": 0.2},
        ["gradient-free attack (Square, 200 queries) finds", "robust under pgd10", "masked", "autoattack"],
    ),
    "5 masked gradients: accuracy does not fall": (
        lambda b: {"model": chain(REVERSED, b.plain), "epsilon": 0.01},
        ["robust at 0.5 in L-infinity too", "does not decrease with epsilon", "masked", "autoattack"],
    ),
    "6 training mode": (train_mode, ["in training mode", "audited in evaluation mode"]),
    "6 training mode: BatchNorm of the batch": (
        lambda b: {"model": on_batch_statistics(b.plain)},
        ["depend on the others in its batch", "BatchNorm without running statistics"],
    ),
    "7 normalisation missing": (
        lambda b: {"model": b.normalized.net},
        ["clean accuracy of 224 images rises from", "is normalisation missing? --normalize", "expects another scale"],
    ),
    "8 normalisation double": (
        lambda b: {"model": Normalized(b.normalized, (MEAN,), (DEVIATION,)).eval()},
        ["normalises its images 2 times", "'model', then by 'net'", "remove one normalisation"],
    ),
    "8 normalisation double, outside any layer with statistics": (
        lambda b: {"model": chain(NORMALISED, b.normalized)},
        ["clean accuracy of 224 images rises from", "are they normalised twice?", "expects another scale"],
    ),
    "8 images in levels": (
        lambda b: {"model": chain(LEVELS, b.plain)},
        ["rises from", "scaled to levels from 0 to 255", "does it divide by 255 itself?"],
    ),
    "9 images outside [0, 1]": (
        lambda b: {"model": b.plain, "images": (b.images - MEAN) / DEVIATION},
        ["outside [0, 1]", "undo the normalisation"],
    ),
    "9 images divided by 255 twice": (
        lambda b: {"model": b.plain, "images": b.images / 255},
        ["brightest pixel of 224 images is 0.0039", "divided by 255 twice", "divide only once"],
    ),
    "10 few samples of a class": (few, ["1 class has fewer than 30 samples", "3 ("]),
    "11 epsilon in levels": (lambda b: {"model": b.plain, "epsilon": 8}, ["did you mean 8/255"]),
    "11 epsilon includes grey": (
        lambda b: {"model": b.plain, "epsilon": 0.5},
        ["Epsilon 0.5 in L-infinity can change every image to uniform grey", "8/255"],
    ),
    "11 epsilon of another norm": (
        lambda b: {"model": b.plain, "epsilon": 8 / 255, "norm": "l2"},
        ["Epsilon 8/255 in L2 is tiny", "1 of 255 levels", "0.5 in L2"],
    ),
    "11 epsilon of another training": (
        lambda b: {"model": b.plain, "epsilon": 0.3, "trained": {"epsilon": 8 / 255, "norm": "linf"}},
        ["trained at epsilon 8/255 and audited at 0.3, 9.56 times as much", "another unit"],
    ),
    "12 leakage": (
        leaked,
        ["7 of 899 test images occur identically in the training data", "by class: ", "number 100", "remove them"],
    ),
    "12 leakage: the choice of the epoch": (
        lambda b: {"model": b.plain, "trained": {"epsilon": 0.1, "select": "sum", "select_on": "test"}},
        ["chosen on test images", "too high"],
    ),
}


@pytest.mark.medium
@pytest.mark.parametrize("misuse", MISUSES)
def test_each_misuse_has_its_warning(misuse: str, bench: Bench) -> None:
    arguments, words = MISUSES[misuse]
    found = warnings_of(bench, **arguments(bench))
    (sentence,) = [line for line in found.splitlines() if words[0] in line]
    assert all(word in sentence for word in words), found


def test_there_are_twelve() -> None:
    assert {int(name.split()[0]) for name in MISUSES} == set(range(1, 13))


# --- honest controls -------------------------------------------------------------------------------------------------


def hundred(bench: Bench) -> Arguments:
    """A hundred classes of 36 samples each."""
    problem = make_problem(100, 7200, size=6)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 100))
    fit(net, problem.images[3600:], problem.labels[3600:], epochs=4)
    return {"model": net, "images": problem.images[:3600], "labels": problem.labels[:3600], "attacks": "pgd5"}


HONEST: dict[str, Callable[[Bench], Arguments]] = {
    "plain": lambda b: {"model": b.plain},
    "convolutional": lambda b: {"model": b.convolutional},
    "plain, at a small epsilon": lambda b: {"model": b.plain, "epsilon": 0.02},
    "adversarially trained": lambda b: {
        "model": b.robust,
        "attacks": "pgd10,cw10",
        "train_images": b.train.images,
        "trained": {"epsilon": 0.1, "norm": "linf", "select_on": "held-out"},
    },
    "adversarially trained, at twice its epsilon": lambda b: {"model": b.robust, "epsilon": 0.2},
    "adversarially trained, in L2": lambda b: {
        "model": b.robust, "epsilon": 0.5, "norm": "l2", "trained": {"epsilon": 0.01},
    },
    "normalised inside": lambda b: {"model": b.normalized},
    "linear": lambda b: {"model": b.linear},
    "two classes": lambda b: {"model": b.binary, "labels": b.labels // 5},
    "a hundred classes": hundred,
    "clean alone": lambda b: {"model": b.plain, "attacks": "clean"},
}  # fmt: skip


@pytest.mark.medium
@pytest.mark.parametrize("control", HONEST)
def test_an_honest_model_has_no_warning(control: str, bench: Bench) -> None:
    assert warnings_of(bench, **HONEST[control](bench)) == ""


@pytest.mark.medium
@pytest.mark.parametrize("seed", range(1, 6))
def test_nor_with_other_draws_of_the_samples(seed: int, bench: Bench) -> None:
    for net in (bench.plain, bench.linear, bench.normalized):
        assert warnings_of(bench, model=net, seed=seed, attacks="pgd5") == ""


# --- all checks together ---------------------------------------------------------------------------------------------


def test_the_figures_are_recorded_and_depend_on_no_memory_limit(bench: Bench, tmp_path) -> None:  # type: ignore[no-untyped-def]
    given: Arguments = {"images": bench.images[:300], "labels": bench.labels[:300], "attacks": "pgd5", "epsilon": 0.03}
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    result = audit(bench.plain, **given, train_images=bench.train.images, out=tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # type: ignore[arg-type]
    names = [
        "numbering",
        "repeats",
        "leakage",
        "steadiness",
        "normalisers",
        "readings",
        "silence",
        "blind_search",
        "beyond_bounds",
    ]
    assert list(result.probes) == names
    assert type(result).read(tmp_path).probes == result.probes
    again = audit(bench.plain, **given, train_images=bench.train.images, batch_size=7)
    same = {**result.probes, "steadiness": again.probes["steadiness"]}  # which depends on rounding
    assert again.probes == same


def test_the_warning_of_a_random_forward_is_reproducible(bench: Bench) -> None:
    net = chain(DROPOUT, bench.linear)
    sentences = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        sentences.add(warnings_of(bench, model=net, attacks="pgd1"))
    assert len(sentences) == 1


def test_a_small_audit_is_checked_on_few_samples(bench: Bench) -> None:
    given: Arguments = {"images": bench.images[:40], "labels": bench.labels[:40], **GIVEN}
    probes = audit(bench.plain, **given).probes
    assert probes["readings"]["samples"] == probes["silence"]["samples"] == 16
    alone = audit(bench.plain, bench.images[:1], bench.labels[:1], **GIVEN)
    assert alone.probes["steadiness"]["samples"] == 1
    none_right = audit(bench.plain, bench.images[:40], (bench.labels[:40] + 1) % 10, **GIVEN)
    assert "silence" not in none_right.probes


def test_an_untrained_linear_net_is_near_chance(bench: Bench) -> None:
    """All its logits are equal: no difference to scale by, no gradient."""
    assert "near chance" in warnings_of(bench, model=linear(), attacks="clean")
