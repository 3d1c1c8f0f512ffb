"""The gradients of a step: views run once each, and two processes train as one does, whatever each has used."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.helpers.pair import CASES, COUNTS, HALVES, STEPS, offsets, run, trained
from torch import Tensor, nn

from faal.engine import gradients


def test_views_run_once_each() -> None:
    """Not concatenated: BatchNorm normalises one view after the other."""
    net = nn.BatchNorm1d(2, momentum=1.0)
    one, two = torch.randn(8, 2), 5 + torch.randn(8, 2)
    outputs = gradients.Views(net)(one, two)
    assert int(net.num_batches_tracked) == 2
    torch.testing.assert_close(net.running_mean, two.mean(dim=0))
    for output in outputs:
        torch.testing.assert_close(output.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-5)


def test_alone_it_is_the_net_itself() -> None:
    net = nn.Linear(2, 3)
    views = gradients.parallel(net)
    assert type(views) is gradients.Views
    assert views.net is net
    views.finish()


def test_a_network_that_writes_into_its_input_leaves_the_images_alone() -> None:
    class Net(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.sub_(0.5).relu_()

    images = torch.ones(2, 3)
    (first,), (second,) = (gradients.Views(Net())(images) for _ in range(2))
    assert torch.equal(images, torch.ones(2, 3))
    assert torch.equal(first, second)


@pytest.mark.medium
def test_processes_that_leave_out_different_layers(two: list[dict[str, Any]]) -> None:
    """Inputs of 1 and 2. Step 1: both layers on both; step 2: one on neither; step 4: that on the first process."""
    for process in two:
        found = process["skipping"]
        assert [gradient.tolist() for gradient in found["always"]] == 4 * [[[1.5, 1.5]]]
        some = [None if gradient is None else gradient.tolist() for gradient in found["some"]]
        assert some == [[[1.5, 1.5]], None, [[1.5, 1.5]], [[0.5, 0.5]]]
        assert found["never"] == 4 * [None]


def test_buckets_are_of_one_type_and_limited() -> None:
    mib = 2**18
    weights = [nn.Parameter(torch.empty(mib * size, device="meta")) for size in (1, 20, 10, 1, 1)]
    weights.append(nn.Parameter(torch.empty(3, dtype=torch.float64, device="meta")))
    assert gradients._buckets(weights, reversed(range(6))) == [[5], [4, 3, 2, 1], [0]]
    assert gradients._buckets(weights[:5], range(5)) == [[0], [1, 2], [3, 4]]


@pytest.mark.medium
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


@pytest.mark.medium
def test_run_as_one_does(two: list[dict[str, Any]], tmp_path: Path) -> None:
    """The loop: it computes a process's share of an uneven batch."""
    alone = run(tmp_path)
    for process in two:
        for name, tensor in process["run"].items():
            torch.testing.assert_close(tensor, alone[name], rtol=0, atol=1e-5)


@pytest.mark.medium
def test_choose_the_offsets_that_one_does(two: list[dict[str, Any]]) -> None:
    alone = offsets()
    assert any(alone[-1])
    assert all(process["offsets"] == alone for process in two)


@pytest.mark.medium
@pytest.mark.parametrize(("method", "model"), CASES)
def test_have_one_network(two: list[dict[str, Any]], method: str, model: str) -> None:
    """Bit for bit, BatchNorm's running statistics with it: else each would attack another network."""
    first, second = (process[f"{method} {model}"]["net"] for process in two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    if model == "small":
        assert int(first["features.1.num_batches_tracked"]) == STEPS * (2 if method == "faal-trades" else 1)


@pytest.mark.medium
@pytest.mark.parametrize("method", ["faal-at", "faal-at-awp"])
def test_send_few_messages(two: list[dict[str, Any]], method: str) -> None:
    """AWP's gradient at once, then counts and margins of the classes at once, then BatchNorm's buffers, by type."""
    for process in two:
        found = process[f"{method} sends"]
        ascent = [found["perturbable"]] if method == "faal-at-awp" else []
        assert found["sums"] == [*ascent, 2 * len(COUNTS)]
        assert found["broadcasts"] == [2 * (4 + 8 + 8), 3]


@pytest.mark.medium
def test_send_gradients_while_they_compute_others(two: list[dict[str, Any]]) -> None:
    for process in two:
        assert process["events"].count("sent") > 1
        assert process["events"].index("sent") < process["events"].index("first layer")
