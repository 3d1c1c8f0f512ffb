from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from faal.audit.attacks.protocol import AttackedBlock
from faal.audit.attacks.registry import attack_named
from faal.config import Threat
from faal.inner.pgd import AttackSettings, pgd


def run(attack, problem, active, **changes):  # type: ignore[no-untyped-def]
    settings = {"threat": Threat(epsilon=0.1), "seed": 5, "num_classes": 5, **changes}
    block = AttackedBlock(images=problem.images, labels=problem.labels, active=active, **settings)
    return attack.run(problem.net, block, pytest.fail)


def test_the_record_states_the_published_settings() -> None:
    record = attack_named("pgd20").parameters(threat=Threat(epsilon=8 / 255), num_classes=10)
    assert record["step_size"] == pytest.approx(2 / 255)
    assert (record["steps"], record["start"], record["restarts"], record["keep_success"]) == (20, "uniform", 1, True)


class OneByOne(nn.Module):
    """Computes every image's logits alone, so that rounding cannot depend on the rest of the batch; counts images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        return torch.cat([self.net(image[None]) for image in images])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("name", "loss"), [("pgd7", "ce"), ("cw7", "cw")])
def test_it_is_pgd_from_the_blocks_own_noise_without_forwards_of_misclassified_samples(
    problem, name: str, loss: str, norm: str
) -> None:  # type: ignore[no-untyped-def]
    """Bit for bit `inner.pgd` with its successes kept; a misclassified sample costs no further forward."""
    threat = Threat(norm, 0.1 if norm == "linf" else 0.4)
    net = OneByOne(problem.net)
    expected = pgd(
        net,
        problem.images,
        problem.labels,
        AttackSettings(steps=7, loss=loss, norm=norm),
        epsilon=threat.epsilon,
        step_size=threat.epsilon / 4,
        noise=torch.rand(problem.images.shape, generator=torch.Generator().manual_seed(5)),
        keep_success=True,
    )
    assert net.batches == [60] * 7
    net.batches.clear()
    found = run(attack_named(name), replace(problem, net=net), torch.ones(60, dtype=torch.bool), threat=threat)
    assert torch.equal(found, expected)
    assert net.batches[0] == 60
    assert net.batches == sorted(net.batches, reverse=True)
    assert 0 < net.batches[-1] < 60


@pytest.mark.parametrize("name", ["pgd7", "cw7"])
def test_a_samples_result_does_not_depend_on_which_others_are_active(problem, name: str) -> None:  # type: ignore[no-untyped-def]
    all_of_them = torch.ones(60, dtype=torch.bool)
    some = torch.arange(60) % 3 == 1
    full, part = (run(attack_named(name), problem, active) for active in (all_of_them, some))
    assert torch.allclose(part[some], full[some], atol=1e-6)
    assert torch.equal(part[~some], problem.images[~some])


def test_without_active_samples_there_is_no_work(problem) -> None:  # type: ignore[no-untyped-def]
    none = torch.zeros(60, dtype=torch.bool)
    for name in ("pgd3", "autoattack"):
        assert torch.equal(run(attack_named(name), problem, none), problem.images)


def test_several_starts_only_add_successes_and_the_first_is_that_of_one(problem) -> None:  # type: ignore[no-untyped-def]
    active = torch.ones(len(problem.labels), dtype=torch.bool)
    found = {}
    for name in ("cw2", "cw2x1", "cw2x4"):
        images = run(attack_named(name), problem, active)
        with torch.no_grad():
            found[name] = problem.net(images).argmax(dim=1) != problem.labels
        assert (images - problem.images).abs().max() <= 0.1 + 1e-6
    assert torch.equal(found["cw2"], found["cw2x1"])
    assert (found["cw2x4"] | ~found["cw2"]).all()
    assert found["cw2x4"].sum() > found["cw2"].sum()
    assert attack_named("cw2x4").parameters(threat=Threat(epsilon=0.1), num_classes=5)["restarts"] == 4


class Viewing(nn.Module):
    """Flattens as many networks do, which fails for an empty batch."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.net(images.view(images.size(0), -1).view(-1, 1, 4, 4))
        return logits


def test_no_network_gets_an_empty_batch(problem) -> None:  # type: ignore[no-untyped-def]
    viewing = replace(problem, net=Viewing(problem.net))
    with pytest.raises(RuntimeError, match="ambiguous"):
        viewing.net(problem.images[:0])
    none = torch.zeros(60, dtype=torch.bool)
    assert torch.equal(run(attack_named("pgd3"), viewing, none), problem.images)
    # An epsilon at which every sample is misclassified on the first of the three starts.
    found = run(attack_named("cw20x3"), viewing, ~none, threat=Threat(epsilon=0.9))
    assert (problem.net(found).argmax(dim=1) != problem.labels).all()
    assert torch.equal(found, run(attack_named("cw20"), viewing, ~none, threat=Threat(epsilon=0.9)))
