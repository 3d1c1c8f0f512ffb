"""One process or many: alone everything is the identity; two over gloo say the right things and train as one."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from tests.conftest import toy_split
from tests.learners import CPU, make_batches, make_learner, train_steps
from torch import Tensor, nn

from faal.config import Recipe, Schedule
from faal.engine import processes
from faal.intermediate.class_stats import Need, batch_stats

COUNTS = [10, 10, 10, 10]
STEPS = 5
METHODS = ["faal-at", "faal-at-awp"]


def recipe(method: str, model: str) -> Recipe:
    """Batches of 9: the two processes' shares are uneven, 5 and 4.

    Few and short attacks: one sign of a gradient near zero that rounding turns over would set the runs apart.
    """
    return Recipe(
        method=method,
        model=model,
        width=4,
        batch_size=9,
        lr=Schedule.constant(0.05),
        awp_gamma=Schedule.constant(0.01),
        crop=1,
        flip=False,
        epsilon=0.1,
        step_size=0.05,
        steps=2,
    )


def trained(method: str, model: str, steps: int) -> dict[str, Any]:
    """What a run of some steps comes to, on this process."""
    split = toy_split(COUNTS)
    learner = make_learner(recipe(method, model), split, len(COUNTS))
    results = train_steps(learner, make_batches(learner.recipe, split), steps)
    return {
        "net": learner.net.state_dict(),
        "weights": torch.stack([result.weights for result in results]),
        "loss": torch.stack([result.loss for result in results]),
    }


def strided(value: float) -> Tensor:
    """As convolutions' weights lie in memory on the device: channels last."""
    return torch.full((2, 3, 4, 5), value).to(memory_format=torch.channels_last)


def talk(rank: int) -> dict[str, Any]:
    """What the processes tell each other."""
    mine = torch.arange(6.0).view(2, 3) * (rank + 1)
    overwritten = [torch.full((3,), float(rank)), strided(rank), torch.tensor(rank), torch.tensor([True, rank == 0])]
    processes.broadcast(overwritten)
    logits = torch.eye(4)[[0, 1, 2]] if rank == 0 else torch.eye(4)[[0, 0]]
    labels = torch.tensor([0, 1, 1]) if rank == 0 else torch.tensor([0, 1])
    stats = batch_stats(logits, labels, labels, 4, [Need.MARGIN])
    processes.barrier()
    return {
        "is": (processes.rank(), processes.world_size(), processes.is_main()),
        "sums": processes.all_sum(mine, torch.tensor(0.5 + rank), mine.t(), strided(rank + 1), torch.empty(0)),
        "mine": mine,
        "broadcast": overwritten,
        "gathered": processes.gather_objects({"rank": rank, "said": "hello" * rank}),
        "stats": (stats.counts, stats.sums[Need.MARGIN]),
    }


def work(rank: int, folder: Path) -> None:
    """One of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    told = {"talk": talk(rank), "small": trained("faal-at", "small", 3)}
    told |= {method: trained(method, "small-gn", STEPS) for method in METHODS}
    torch.save(told, folder / f"{rank}.pt")
    processes.stop()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes came to."""
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(work, args=(folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


class TestTwo:
    def test_know_who_they_are(self, two: list[dict[str, Any]]) -> None:
        assert [process["talk"]["is"] for process in two] == [(0, 2, True), (1, 2, False)]

    def test_sum(self, two: list[dict[str, Any]]) -> None:
        mine = 3 * torch.arange(6.0).view(2, 3)
        expected = (mine, torch.tensor(2.0), mine.t(), strided(3.0), torch.empty(0))
        for rank, process in enumerate(two):
            for sum_, wanted in zip(process["talk"]["sums"], expected, strict=True):
                assert torch.equal(sum_, wanted)
            assert torch.equal(process["talk"]["mine"], torch.arange(6.0).view(2, 3) * (rank + 1))

    def test_broadcast(self, two: list[dict[str, Any]]) -> None:
        expected = [torch.zeros(3), strided(0.0), torch.tensor(0), torch.tensor([True, True])]
        for process in two:
            for tensor, wanted in zip(process["talk"]["broadcast"], expected, strict=True):
                assert torch.equal(tensor, wanted)

    def test_gather(self, two: list[dict[str, Any]]) -> None:
        for process in two:
            assert process["talk"]["gathered"] == [{"rank": 0, "said": ""}, {"rank": 1, "said": "hello"}]

    def test_count_classes_together(self, two: list[dict[str, Any]]) -> None:
        """Margins of one-hot logits: +-(e - 1) / (e + 3), right or wrong."""
        m = (math.e - 1) / (math.e + 3)
        for process in two:
            counts, sums = process["talk"]["stats"]
            assert counts.tolist() == [2, 3, 0, 0]
            torch.testing.assert_close(sums, torch.tensor([-2 * m, -m + m + m, 0.0, 0.0]))

    @pytest.mark.parametrize("method", METHODS)
    def test_train_as_one_does(self, two: list[dict[str, Any]], method: str) -> None:
        """The same global batches give the same weights of classes and of the network, on every process."""
        alone = trained(method, "small-gn", STEPS)
        for process in two:
            torch.testing.assert_close(process[method]["weights"], alone["weights"], rtol=1e-3, atol=1e-4)
            for name, tensor in process[method]["net"].items():
                torch.testing.assert_close(tensor, alone["net"][name], rtol=0, atol=1e-5)
        # Batches of 5 + 4 samples: each process's loss comes with its share, so the plain mean is the batch's.
        together = torch.stack([process[method]["loss"] for process in two]).mean(dim=0)
        torch.testing.assert_close(together, alone["loss"], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("name", ["small", *METHODS])
    def test_hold_one_network(self, two: list[dict[str, Any]], name: str) -> None:
        """Bit for bit, BatchNorm's running statistics with it: else each would attack another network."""
        here, there = (process[name]["net"] for process in two)
        assert here.keys() == there.keys()
        assert all(torch.equal(here[key], there[key]) for key in here)
        if name == "small":
            assert int(here["features.1.num_batches_tracked"]) == 3


class TestAlone:
    def test_everything_is_the_identity(self) -> None:
        assert (processes.rank(), processes.world_size(), processes.is_main()) == (0, 1, True)
        tensors = (torch.ones(2, requires_grad=True), torch.tensor(3.0))
        assert all(a is b for a, b in zip(processes.all_sum(*tensors), tensors, strict=True))
        processes.broadcast(iter(tensors))
        item = object()
        assert processes.gather_objects(item)[0] is item
        processes.barrier()
        processes.stop()

    def test_without_torchrun_there_is_no_group(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        processes.start(CPU)
        assert not dist.is_initialized()

    def test_under_torchrun_it_joins_the_group(self, monkeypatch: pytest.MonkeyPatch) -> None:
        described = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        for name, value in described.items():
            monkeypatch.setenv(name, value)
        try:
            processes.start(CPU)
            assert dist.is_initialized()
            assert dist.get_backend() == "gloo"
            processes.start(CPU)  # a second call finds the group
            assert (processes.rank(), processes.world_size()) == (0, 1)
        finally:
            processes.stop()
        assert not dist.is_initialized()

    def test_parallel_is_the_net_itself(self) -> None:
        net = nn.Linear(2, 3)
        views = processes.parallel(net)
        assert isinstance(views, processes.Views)
        assert views.net is net


def test_views_run_once_each() -> None:
    """Not concatenated: BatchNorm sees one view after the other."""
    net = nn.BatchNorm1d(2, momentum=1.0)
    one, two = torch.randn(8, 2), 5 + torch.randn(8, 2)
    answers = processes.Views(net)(one, two)
    assert int(net.num_batches_tracked) == 2
    torch.testing.assert_close(net.running_mean, two.mean(dim=0))
    for answer in answers:
        torch.testing.assert_close(answer.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-5)
