"""PyTorch's modes as a caller may leave them: inference mode, no gradients, another default type."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import toy_data
from torch import Tensor, nn

import faal
from faal.config import Recipe
from faal.data import load_data
from faal.engine.ordinary import ordinary_modes, without_inference_tensors
from faal.errors import InputError
from faal.models import Architecture, build_model, load_weights
from faal.train.loop import train

CPU = torch.device("cpu")
LABELS = torch.arange(24) % 3
IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))


@contextmanager
def default_type(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "ordinary": nullcontext,
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "float64": lambda: default_type(torch.float64),
    "float16": lambda: default_type(torch.float16),
    "bfloat16": lambda: default_type(torch.bfloat16),
}


class Scaled(nn.Module):
    """With a buffer, and a tensor that is neither buffer nor parameter and that a backward pass needs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.full((1,), 2.0))
        self.shift = torch.full((1,), 0.5)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images * self.scale / self.shift)  # type: ignore[no-any-return]


def made(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(), default_type(torch.float32):
        torch.manual_seed(seed)
        return Scaled().eval()


def verdicts(net: nn.Module, images: Tensor = IMAGES, labels: Tensor = LABELS) -> Any:
    return faal.audit(net, images, labels, attacks="pgd3,cw3", epsilon=0.1).verdicts.predicted


def same(left: Any, right: Any) -> bool:
    return left.keys() == right.keys() and all((left[name] == right[name]).all() for name in left)


@pytest.mark.parametrize("mode", MODES)
def test_an_audit_is_the_same_in_any_mode(mode: str) -> None:
    net = made()
    plain = verdicts(net)
    with MODES[mode]():
        before = torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_default_dtype()
        assert same(verdicts(net), plain)
        assert same(verdicts(net, IMAGES.clone(), LABELS.clone()), plain)
        assert before == (torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_default_dtype())
    assert all(weight.requires_grad for weight in net.parameters())


def test_a_network_that_was_built_in_inference_mode() -> None:
    with torch.inference_mode():
        born, images, labels = made(), IMAGES.clone(), LABELS.clone()
    plain = verdicts(made())
    assert same(verdicts(born), plain)
    assert same(verdicts(born, images, labels), plain)
    assert all(tensor.is_inference() for tensor in born.parameters())  # it is the caller's, and unchanged
    constants = faal.offsets(born, images, labels, epsilon=0.1, attack="pgd2")
    torch.testing.assert_close(constants, faal.offsets(made(), IMAGES, LABELS, epsilon=0.1, attack="pgd2"))


@pytest.mark.parametrize("mode", MODES)
def test_offsets_are_the_same_in_any_mode(mode: str) -> None:
    with MODES[mode]():
        found = faal.offsets(made(), IMAGES, LABELS, epsilon=0.1, attack="pgd2")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, faal.offsets(made(), IMAGES, LABELS, epsilon=0.1, attack="pgd2"))


def test_ordinary_networks_are_not_copied() -> None:
    net = made()
    assert without_inference_tensors(net) is net


def test_one_that_cannot_be_copied_is_refused() -> None:
    with torch.inference_mode():
        net = made()
    net.lock = threading.Lock()
    with pytest.raises(InputError, match="built in inference mode"):
        verdicts(net)


def test_a_forward_in_inference_mode_is_named() -> None:
    class Inside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = made()

        @torch.inference_mode()
        def forward(self, images: Tensor) -> Tensor:
            return self.net(images)  # type: ignore[no-any-return]

    with pytest.raises(InputError, match="inference mode"):
        verdicts(Inside())
    with pytest.raises(InputError, match="inference mode"):
        faal.offsets(Inside(), IMAGES, LABELS, epsilon=0.1)
    assert faal.audit(Inside(), IMAGES, LABELS, attacks="clean").data["n"] == 24


@pytest.mark.parametrize("mode", MODES)
def test_the_plug_in(mode: str) -> None:
    """A schedule, frequencies as a list, a moving average; its state from one mode serves the other."""

    def weighted(rule: Any, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(8, 3, generator=generator, dtype=torch.float32)
        labels = torch.arange(8) % 3
        return float(rule(nn.functional.cross_entropy(logits, labels, reduction="none"), logits, labels))

    def rule() -> Any:
        return faal.FAAL(3, tau=0.3, frequencies=[0.2, 0.3, 0.5], smoothing=0.5)

    plain = rule()
    expected = [weighted(plain, seed) for seed in range(3)]
    with MODES[mode]():
        other = rule()
        found = [weighted(other, 0), weighted(other, 1)]
    found.append(weighted(other, 2))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_training_is_the_same_in_any_mode(mode: str, recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([20, 20, 20])

    def weights(folder: Path) -> Any:
        architecture = Architecture.of(recipe, data)
        with ordinary_modes():
            net = build_model(architecture, seed=0)
        train(net, architecture, data, recipe, out=folder, seed=0, device=CPU, quiet=True)
        return net.state_dict()

    with MODES[mode]():
        found = weights(tmp_path / "other")
    plain = weights(tmp_path / "plain")
    assert all(torch.equal(found[name], tensor) for name, tensor in plain.items())


USERS = """
import torch
from torch import nn
{before}
def net(num_classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
@torch.inference_mode()
def born(num_classes=3):
    return net(num_classes)
def data():
    return {{"x_test": torch.rand(6, 1, 4, 4), "y_test": torch.arange(6) % 3}}
"""


@pytest.mark.parametrize(
    "before", ["", "torch.set_grad_enabled(False)", "torch.inference_mode().__enter__()"], ids=["", "off", "inference"]
)
def test_a_users_module_does_not_change_the_modes(before: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"modes_{abs(hash(before))}"
    (work / f"{name}.py").write_text(USERS.format(before=before))
    assert load_data(f"{name}:data").test is not None
    for function in ("net", "born"):
        model = f"{name}:{function}"
        net = build_model(Architecture(model=model, num_classes=3, channels=1), model=model)
        torch.save(net.state_dict(), work / "w.pth")
        load_weights(net, work / "w.pth")
        assert torch.is_grad_enabled()
        assert net(IMAGES).requires_grad


def test_a_users_module_that_sets_another_default_type(work: Path) -> None:
    (work / "wide.py").write_text(USERS.format(before="torch.set_default_dtype(torch.float64)"))
    with pytest.raises(InputError, match="float64"):
        build_model(Architecture(model="wide:net", num_classes=3, channels=1), model="wide:net")
    assert torch.get_default_dtype() == torch.float32
