"""The gradients of a step: views run once each; over several processes they are means, whatever each has used."""

from typing import Any

import pytest
import torch
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
