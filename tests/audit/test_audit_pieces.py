import pytest
import torch
from torch import Tensor, nn

from faal.audit.pieces import Pieces


class Counting(nn.Module):
    """Notes how many images it is shown at once."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        logits: Tensor = self.net(images)
        return logits


@pytest.mark.parametrize("limit", [1, 7, 60, 100])
def test_answers_and_gradients_are_those_of_the_whole_batch(problem, limit: int) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    pieces = Pieces(counting, limit)
    images = problem.images.clone().requires_grad_()
    found, expected = pieces(images), problem.net(images)
    assert torch.allclose(found, expected, atol=1e-6)
    weights = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    first, again, whole = (
        torch.autograd.grad(logits, images, weights, retain_graph=True)[0] for logits in (found, found, expected)
    )
    assert torch.allclose(first, whole, atol=1e-6)
    assert torch.equal(first, again)
    assert max(counting.seen) <= limit
    with torch.no_grad():
        assert torch.allclose(pieces(problem.images), expected, atol=1e-6)
    assert max(counting.seen) <= limit


def test_split_activations_are_dropped_and_computed_again(problem) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    images = problem.images.clone().requires_grad_()
    logits = Pieces(counting, 25)(images)
    assert counting.seen == [25, 25, 10]
    logits.sum().backward()
    assert sorted(counting.seen) == [10, 10, 25, 25, 25, 25]


def test_a_batch_within_the_limit_is_not_computed_twice(problem) -> None:  # type: ignore[no-untyped-def]
    counting = Counting(problem.net)
    images = problem.images.clone().requires_grad_()
    Pieces(counting, 60)(images).sum().backward()
    assert counting.seen == [60]
