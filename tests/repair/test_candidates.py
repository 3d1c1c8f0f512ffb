"""Candidates: their names, networks and files."""

import json

import pytest
import torch
from torch import nn

from faal.models.offsets import OFFSETS, Offset
from faal.repair.candidates import RepairCandidate, with_parts
from faal.repair.networks import Networks

ALL = [
    (RepairCandidate(), "base"),
    (RepairCandidate(0), "epoch 0"),
    (RepairCandidate(1, 0.25), "1/4 epoch 1 + 3/4 base"),
    (RepairCandidate(offsets=(0.5, -0.5)), "base + offsets"),
    (RepairCandidate(1, 0.5, (0.5, -0.5), 0.5), "1/2 epoch 1 + 1/2 base + 1/2 offsets"),
]


@pytest.mark.parametrize(("candidate", "name"), ALL, ids=[name for _, name in ALL])
def test_names_and_plain_values(candidate: RepairCandidate, name: str) -> None:
    assert candidate.name == name
    assert RepairCandidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


def test_offsets_in_parts() -> None:
    before, found = torch.tensor([0.0, 0.0]), torch.tensor([0.5, -0.5])
    whole, half = with_parts(RepairCandidate(1), before, found)
    assert (whole.offsets, whole.part) == ((0.5, -0.5), 1.0)
    assert (half.offsets, half.part) == ((0.25, -0.25), 0.5)
    assert whole.without_offsets == half.without_offsets == RepairCandidate(1)
    assert with_parts(RepairCandidate(1), before, before.clone()) == []


def linear(value: float) -> nn.Linear:
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, value)
    nn.init.constant_(net.bias, value)
    return net


@pytest.mark.parametrize("has_offsets", [False, True], ids=["plain", "with offsets of its own"])
@pytest.mark.parametrize("candidate", [each for each, _ in ALL], ids=[name for _, name in ALL])
def test_the_stored_network_is_the_evaluated_one(candidate: RepairCandidate, has_offsets: bool) -> None:
    base, other = linear(1.0), linear(3.0)
    epoch = dict(other.state_dict())
    net: nn.Module = base
    if has_offsets:
        net = Offset(base, torch.tensor([0.1, -0.1]))
        epoch = Offset(other, torch.tensor([0.1, -0.1])).state_dict()
    networks, images = Networks(net, 2), torch.tensor([[1.0, 2.0]])
    weights = networks.weights(candidate, {0: epoch, 1: epoch})
    evaluated = networks.load(weights, candidate.offsets)(images)
    stored = networks.stored(weights, candidate.offsets)
    assert (OFFSETS in stored) == (has_offsets or candidate.offsets is not None)
    assert torch.equal(networks.load_stored(stored)(images), evaluated)
    share = 0.0 if candidate.epoch is None else candidate.share
    own = torch.tensor(candidate.offsets) if candidate.offsets else torch.tensor([0.1, -0.1]) * has_offsets
    assert torch.allclose(evaluated, (1 + 2 * share) * 4 + own)
