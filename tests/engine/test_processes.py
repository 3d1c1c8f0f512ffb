"""One process or many: alone everything is the identity; two communicate over gloo."""

import dataclasses
import math
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tests.conftest import toy_split
from tests.helpers.learners import CPU, make_batches, make_learner, train_steps
from tests.helpers.pair import COUNTS, recipe, strided
from torch import Tensor, nn

from faal.engine import processes
from faal.errors import InputError
from faal.models.architectures.small import SmallNet


@pytest.mark.medium
class TestTwo:
    def test_ranks(self, two: list[dict[str, Any]]) -> None:
        assert [process["messages"]["is"] for process in two] == [(0, 2, True), (1, 2, False)]

    def test_sum(self, two: list[dict[str, Any]]) -> None:
        mine = 3 * torch.arange(6.0).view(2, 3)
        expected = (mine, torch.tensor(2.0), mine.t(), strided(3.0), torch.empty(0))
        for rank, process in enumerate(two):
            for sum_, wanted in zip(process["messages"]["sums"], expected, strict=True):
                assert torch.equal(sum_, wanted)
            assert torch.equal(process["messages"]["mine"], torch.arange(6.0).view(2, 3) * (rank + 1))

    def test_broadcast(self, two: list[dict[str, Any]]) -> None:
        expected = [torch.zeros(3), strided(0.0), torch.tensor(0), torch.tensor([True, True])]
        for process in two:
            for tensor, wanted in zip(process["messages"]["broadcast"], expected, strict=True):
                assert torch.equal(tensor, wanted)

    def test_gather(self, two: list[dict[str, Any]]) -> None:
        for process in two:
            assert process["messages"]["gathered"] == [{"rank": 0, "text": ""}, {"rank": 1, "text": "hello"}]

    def test_what_the_main_process_does_reaches_all(self, two: list[dict[str, Any]]) -> None:
        """Its result is its own, its refusal everybody's, which is known to be."""
        assert [process["messages"]["on main"] for process in two] == [
            (0, ("the folder of 0 is refused", True)), (None, ("the folder of 0 is refused", True)),
        ]  # fmt: skip

    def test_count_classes_together(self, two: list[dict[str, Any]]) -> None:
        """Margins of one-hot logits: +-(e - 1) / (e + 3), correct or misclassified."""
        m = (math.e - 1) / (math.e + 3)
        for process in two:
            counts, sums = process["messages"]["stats"]
            assert counts.tolist() == [2, 3, 0, 0]
            torch.testing.assert_close(sums, torch.tensor([-2 * m, -m + m + m, 0.0, 0.0]))

    def test_refuse_to_synchronise_batchnorm_without_gpus(self, two: list[dict[str, Any]]) -> None:
        for process in two:
            assert process["refused"].startswith("sync_batchnorm works only on GPUs")


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
        environment = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        for name, value in environment.items():
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

    def test_there_is_nothing_to_synchronise(self) -> None:
        """So a recipe with this setting trains on one CPU unchanged."""
        split = toy_split(COUNTS)
        settings = dataclasses.replace(recipe("faal-at", "small"), sync_batchnorm=True)
        learner = make_learner(settings, split, len(COUNTS))
        assert not any(isinstance(layer, nn.SyncBatchNorm) for layer in learner.net.modules())
        train_steps(learner, make_batches(settings, split), 1)


class TestSynchronise:
    """As one of two processes, and a network on no device, in place of GPUs."""

    @pytest.fixture(autouse=True)
    def of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processes, "world_size", lambda: 2)

    def test_names_and_values_do_not_change(self) -> None:
        """So checkpoints, and the optimiser's parameters, do not change either."""
        net = SmallNet(3, width=4).to("meta").eval()
        before = net.state_dict(keep_vars=True)
        processes.synchronise(net)
        after = net.state_dict(keep_vars=True)
        assert list(after) == list(before)
        assert all(after[name] is tensor for name, tensor in before.items())
        assert sum(type(layer) is nn.SyncBatchNorm for layer in net.modules()) == 3
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())
        assert not any(layer.training for layer in net.modules())

    def test_a_layer_that_does_more_is_refused(self) -> None:
        class NormAndActivation(nn.BatchNorm2d):
            def forward(self, input: Tensor) -> Tensor:
                return super().forward(input).relu()

        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(NormAndActivation(2))).to("meta")
        with pytest.raises(InputError, match=r"^sync_batchnorm .*1\.0, a NormAndActivation"):
            processes.synchronise(net)
        assert type(net[1][0]) is NormAndActivation
