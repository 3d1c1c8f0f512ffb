"""Two processes train as one does, and send few messages, while they compute."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.pair import CASES, COUNTS, HALVES, STEPS, offsets, run, trained

pytestmark = pytest.mark.medium


@pytest.mark.parametrize(("method", "model"), CASES)
def test_train_as_one_does(two: list[dict[str, Any]], method: str, model: str) -> None:
    """The same global batches give the same weights of classes and of the network, on every process."""
    alone = trained(method, model, by_halves=(method, model) in HALVES)
    for process in two:
        found = process[f"{method} {model}"]
        torch.testing.assert_close(found["weights"], alone["weights"], rtol=1e-3, atol=1e-4)
        assert found["net"].keys() == alone["net"].keys()
        for name, tensor in found["net"].items():
            torch.testing.assert_close(tensor, alone["net"][name], rtol=0, atol=1e-5)
    # Each process's loss comes with its share, so the plain mean is the batch's.
    together = torch.stack([process[f"{method} {model}"]["loss"] for process in two]).mean(dim=0)
    torch.testing.assert_close(together, alone["loss"], rtol=1e-4, atol=1e-5)


def test_run_as_one_does(two: list[dict[str, Any]], tmp_path: Path) -> None:
    """The loop: it computes a process's share of an uneven batch."""
    alone = run(tmp_path)
    for process in two:
        for name, tensor in process["run"].items():
            torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5)


def test_choose_the_offsets_that_one_does(two: list[dict[str, Any]]) -> None:
    alone = offsets()
    assert any(alone[-1])
    assert all(process["offsets"] == alone for process in two)


@pytest.mark.parametrize(("method", "model"), CASES)
def test_have_one_network(two: list[dict[str, Any]], method: str, model: str) -> None:
    """Bit for bit, BatchNorm's running statistics with it: else each would attack another network."""
    first, second = (process[f"{method} {model}"]["net"] for process in two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    if model == "small":
        assert int(first["features.1.num_batches_tracked"]) == STEPS * (2 if method == "faal-trades" else 1)


@pytest.mark.parametrize("method", ["faal-at", "faal-at-awp"])
def test_send_few_messages(two: list[dict[str, Any]], method: str) -> None:
    """AWP's gradient at once, then counts and margins of the classes at once, then BatchNorm's buffers, by type."""
    for process in two:
        found = process[f"{method} sends"]
        ascent = [found["perturbable"]] if method == "faal-at-awp" else []
        assert found["sums"] == [*ascent, 2 * len(COUNTS)]
        assert found["broadcasts"] == [2 * (4 + 8 + 8), 3]


def test_send_gradients_while_they_compute_others(two: list[dict[str, Any]]) -> None:
    for process in two:
        assert process["events"].count("sent") > 1
        assert process["events"].index("sent") < process["events"].index("first layer")
