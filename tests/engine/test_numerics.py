"""Device, precision and memory format."""

from typing import Any

import pytest
import torch
from torch import nn

from faal.engine import numerics as numerics_module
from faal.engine.numerics import Numerics, multiplies_bf16, operations, pick_device, precision_notes
from faal.errors import InputError

CPU = torch.device("cpu")


class TestDevice:
    def test_cpu(self) -> None:
        assert pick_device("cpu") == CPU

    def test_auto_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert pick_device("auto") == CPU

    def test_cuda_without_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(InputError, match="--device cuda: PyTorch finds no GPU"):
            pick_device("cuda")

    def test_each_process_takes_its_own_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen: list[int] = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1])
        monkeypatch.setenv("LOCAL_RANK", "3")
        assert pick_device("auto") == torch.device("cuda", 3)
        monkeypatch.delenv("LOCAL_RANK")
        assert pick_device("cuda") == torch.device("cuda", 0)

    @pytest.mark.parametrize("name", ["gpu", "cuda:7", ""])
    def test_no_such_device(self, name: str) -> None:
        with pytest.raises(InputError, match="--device"):
            pick_device(name)


class TestPrecision:
    @pytest.mark.parametrize(("precision", "bf16"), [("float32", False), ("bf16", True), ("auto", False)])
    def test_on_a_cpu(self, precision: str, bf16: bool) -> None:
        numerics = Numerics.choose(precision, CPU)
        assert numerics.bf16 is bf16
        assert numerics.name == ("bf16" if bf16 else "float32")

    @pytest.mark.parametrize(("capable", "work", "bf16"), [(True, 1e8, True), (True, 1e5, False), (False, 1e8, False)])
    def test_auto_on_a_cpu(self, monkeypatch: pytest.MonkeyPatch, capable: bool, work: float, bf16: bool) -> None:
        monkeypatch.setattr(numerics_module, "multiplies_bf16", lambda device: capable)
        monkeypatch.setattr(numerics_module, "operations", lambda net, images: work)
        net, images = nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 5, 5)
        assert Numerics.choose("auto", CPU, net, images).bf16 is bf16
        assert not Numerics.choose("float32", CPU, net, images).bf16

    @pytest.mark.parametrize(
        ("precision", "capable", "notes"),
        [("bf16", False, 1), ("bf16", True, 0), ("auto", False, 0), ("float32", False, 0)],
    )
    def test_a_slow_precision_is_noted(
        self, monkeypatch: pytest.MonkeyPatch, precision: str, capable: bool, notes: int
    ) -> None:
        monkeypatch.setattr(numerics_module, "multiplies_bf16", lambda device: capable)
        assert len(precision_notes(precision, CPU)) == notes

    def test_the_operations_of_a_forward_pass(self) -> None:
        """3 x 4 kernels of 3 x 3 at 5 x 6 places, two operations each; then 4 x 2 weights at one place."""
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        assert operations(net, torch.zeros(7, 3, 5, 6)) == 2 * (3 * 4 * 9 * 30 + 4 * 2)

    @pytest.mark.parametrize("capable", [False, True])
    def test_auto_on_a_gpu(self, monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capable)
        assert Numerics.choose("auto", torch.device("cuda", 0)).bf16 is capable
        assert not Numerics.choose("float32", torch.device("cuda", 0)).bf16

    def test_the_context_of_a_forward(self) -> None:
        net, x = nn.Linear(3, 2), torch.ones(1, 3)
        with Numerics(device=CPU, bf16=False).autocast():
            assert net(x).dtype == torch.float32
        with Numerics(device=CPU, bf16=True).autocast():
            assert net(x).dtype == torch.bfloat16
        assert net(x).dtype == torch.float32

    def test_changed_weights_are_used_within_one_context(self) -> None:
        """A cached cast would use the weights from before AWP changed them."""
        net, x = nn.Linear(3, 2, bias=False), torch.ones(1, 3)
        with Numerics(device=CPU, bf16=True).autocast():
            before = net(x)
            with torch.no_grad():
                net.weight.add_(1.0)
            torch.testing.assert_close(net(x), before + 3, rtol=0.02, atol=0)


def test_the_network_is_channels_last() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    placed = Numerics(device=CPU, bf16=False).place(net)
    assert placed is net
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)


class Viewing(nn.Module):
    """A common form: `view` fails on channels-last features."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Linear(36, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.conv(images).view(-1, 36))
        return logits


def test_a_network_that_views_its_features_stays_contiguous() -> None:
    images = torch.rand(2, 3, 5, 5)
    for net, memory in ((Viewing(), torch.contiguous_format), (nn.Conv2d(3, 4, 3), torch.channels_last)):
        numerics = Numerics.choose("float32", CPU, net, images)
        assert numerics.memory == memory
        numerics.place(net)(images.contiguous(memory_format=numerics.memory))


@pytest.mark.parametrize(
    ("inputs", "kernel", "stride", "memory"),
    [
        (4, 1, 2, torch.contiguous_format),
        (7, 1, (1, 2), torch.contiguous_format),
        (8, 1, 2, torch.channels_last),
        (4, 1, 1, torch.channels_last),
        (4, 3, 2, torch.channels_last),
        (4, (1, 3), 2, torch.channels_last),
    ],
)
def test_no_gradient_overwrites_memory(inputs: int, kernel: Any, stride: Any, memory: torch.memory_format) -> None:
    """Strided 1x1 convolutions of few channels stay contiguous: channels last, oneDNN's gradient of their weights
    crashed processes on CPUs with no more than AVX2. In the format that is chosen it is correct."""
    conv = nn.Conv2d(inputs, 8, kernel, stride=stride, padding=tuple(k // 2 for k in nn.modules.utils._pair(kernel)))
    images = torch.rand(16, inputs, 32, 32, generator=torch.Generator().manual_seed(0))
    numerics = Numerics.choose("float32", CPU, conv, images)
    assert numerics.memory == memory
    numerics.place(conv)(images.contiguous(memory_format=memory)).square().sum().backward()
    found, conv.weight.grad = conv.weight.grad, None
    conv.double()(images.double()).square().sum().backward()
    torch.testing.assert_close(found, conv.weight.grad.float(), rtol=1e-4, atol=1e-4)


def test_which_machines_multiply_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has, raising=False)
        assert multiplies_bf16(CPU) is has
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert multiplies_bf16(torch.device("cuda")) is has
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not multiplies_bf16(CPU)
    assert not multiplies_bf16(torch.device("mps"))
