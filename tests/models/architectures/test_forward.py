"""What the networks compute: recomputed function by function from their parameters, and once with NumPy loops."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from faal.models import Architecture, SmallNet, build_model

State = dict[str, Tensor]


def randomised(model: nn.Module) -> nn.Module:
    """Float64, with parameters and running statistics that are neither 0 nor 1, so that each has an effect."""
    generator = torch.Generator().manual_seed(7)
    model = model.double()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and tensor.ndim == 1:
            noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_(0.5 + noise if name.endswith(("var", "weight")) else noise - 0.5)
    return model


def images(batch: int, channels: int, size: int) -> Tensor:
    return torch.rand(batch, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def norm(s: State, name: str, x: Tensor, training: bool) -> Tensor:
    """Batch normalisation written out, without PyTorch's own."""
    if training:
        mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
    else:
        mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
    shape = (1, -1, 1, 1)
    normal = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
    return normal * s[f"{name}.weight"].view(shape) + s[f"{name}.bias"].view(shape)


def preact_block(s: State, name: str, x: Tensor, stride: int, training: bool, shortcut: str) -> Tensor:
    a = norm(s, f"{name}.bn1", x, training).relu()
    y = F.conv2d(a, s[f"{name}.conv1.weight"], stride=stride, padding=1)
    y = F.conv2d(norm(s, f"{name}.bn2", y, training).relu(), s[f"{name}.conv2.weight"], padding=1)
    projection = s.get(f"{name}.{shortcut}.weight")
    return y + (x if projection is None else F.conv2d(a, projection, stride=stride))


def preact_resnet(s: State, x: Tensor, training: bool) -> Tensor:
    x = F.conv2d(x, s["conv1.weight"], padding=1)
    for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2)):
        x = preact_block(s, f"{layer}.0", x, stride, training, "shortcut.0")
        x = preact_block(s, f"{layer}.1", x, 1, training, "shortcut.0")
    x = norm(s, "bn", x, training).relu().mean(dim=(2, 3))
    return x @ s["linear.weight"].T + s["linear.bias"]


def basic_block(s: State, name: str, x: Tensor, stride: int, training: bool) -> Tensor:
    y = F.conv2d(x, s[f"{name}.conv1.weight"], stride=stride, padding=1)
    y = norm(s, f"{name}.bn1", y, training).relu()
    y = norm(s, f"{name}.bn2", F.conv2d(y, s[f"{name}.conv2.weight"], padding=1), training)
    if f"{name}.shortcut.0.weight" in s:
        x = norm(s, f"{name}.shortcut.1", F.conv2d(x, s[f"{name}.shortcut.0.weight"], stride=stride), training)
    return (y + x).relu()


def resnet(s: State, x: Tensor, training: bool) -> Tensor:
    x = norm(s, "bn1", F.conv2d(x, s["conv1.weight"], padding=1), training).relu()
    for layer, stride in (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2)):
        x = basic_block(s, f"{layer}.0", x, stride, training)
        x = basic_block(s, f"{layer}.1", x, 1, training)
    return x.mean(dim=(2, 3)) @ s["linear.weight"].T + s["linear.bias"]


def wide_resnet(s: State, x: Tensor, training: bool) -> Tensor:
    x = F.conv2d(x, s["conv1.weight"], padding=1)
    for block, stride in (("block1", 1), ("block2", 2), ("block3", 2)):
        x = preact_block(s, f"{block}.layer.0", x, stride, training, "convShortcut")
        x = preact_block(s, f"{block}.layer.1", x, 1, training, "convShortcut")
    x = norm(s, "bn1", x, training).relu().mean(dim=(2, 3))
    return x @ s["fc.weight"].T + s["fc.bias"]


def small(s: State, x: Tensor, training: bool) -> Tensor:
    for convolution, stride in ((0, 1), (3, 2), (6, 1)):
        x = F.conv2d(x, s[f"features.{convolution}.weight"], stride=stride, padding=1)
        x = norm(s, f"features.{convolution + 1}", x, training).relu()
    cell = x.shape[-1] // 4
    x = x.unflatten(2, (4, cell)).unflatten(4, (4, cell)).mean(dim=(3, 5))
    return x.flatten(1) @ s["linear.weight"].T + s["linear.bias"]


CASES = [
    (Architecture(model="prn18", num_classes=3, width=3), preact_resnet, 16),
    (Architecture(model="prn18", num_classes=4, width=2, channels=1), preact_resnet, 8),
    (Architecture(model="rn18", num_classes=3, width=3), resnet, 16),
    (Architecture(model="rn18", num_classes=4, width=2, channels=1), resnet, 9),
    (Architecture(model="wrn16-2", num_classes=3), wide_resnet, 16),
    (Architecture(model="wrn34-10", num_classes=4, width=1, depth=16, channels=1), wide_resnet, 11),
    (Architecture(model="small", num_classes=3, width=4), small, 16),
    (Architecture(model="small", num_classes=4, width=3, channels=1), small, 8),
]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("architecture", "reference", "size"), CASES, ids=lambda v: getattr(v, "model", None))
def test_forward_is_the_written_out_function(
    architecture: Architecture, reference: Callable[[State, Tensor, bool], Tensor], size: int, training: bool
) -> None:
    model = randomised(build_model(architecture, seed=0)).train(training)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = images(3, architecture.channels, size)
    logits = model(x)
    assert logits.shape == (3, architecture.num_classes)
    torch.testing.assert_close(logits, reference(state, x, training), rtol=1e-10, atol=1e-10)


def numpy_conv(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """3 x 3 convolution with a border of zeros, one output at a time; x (channels, H, W)."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    rows, columns = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    out = np.zeros((len(weight), rows, columns))
    for o, r, c in np.ndindex(out.shape):
        window = padded[:, stride * r : stride * r + 3, stride * c : stride * c + 3]
        out[o, r, c] = (weight[o] * window).sum()
    return out


def test_small_net_by_numpy() -> None:
    model = randomised(SmallNet(2, width=2, depth=2)).eval()
    s = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    x = images(1, 1, 8)
    out = x[0].numpy()
    for convolution, stride in ((0, 1), (3, 2)):
        out = numpy_conv(out, s[f"features.{convolution}.weight"], stride)
        n = f"features.{convolution + 1}"
        for channel in range(len(out)):
            scale = s[f"{n}.weight"][channel] / np.sqrt(s[f"{n}.running_var"][channel] + 1e-5)
            out[channel] = scale * (out[channel] - s[f"{n}.running_mean"][channel]) + s[f"{n}.bias"][channel]
        out = np.maximum(out, 0)
    assert out.shape == (4, 4, 4)
    expected = s["linear.weight"] @ out.reshape(-1) + s["linear.bias"]
    np.testing.assert_allclose(model(x)[0].detach().numpy(), expected, rtol=1e-12)


def test_one_pixel_through_a_preact_resnet_by_hand() -> None:
    """With every weight 1, biases and running means 0 and variances 1 - 1e-5, normalisation is the identity.

    Two channels of constant images would still meet the border; one pixel meets it everywhere: of each 3 x 3 kernel
    only the centre counts. Width 1, one block per stage, pixel p: the first block gives p + p = 2p. The projecting
    blocks add their projection to their convolutions, (c_in v) + (c_out c_in v) for equal inputs v:
    2 channels of 2p + 4p = 6p; 4 of 12p + 48p = 60p; 8 of 240p + 1,920p = 2,160p. The linear layer sums: 17,280p.
    """
    model = build_model(Architecture(model="prn18", num_classes=2, channels=1, width=1, depth=1)).double().eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.fill_(0 if name.endswith(("bias", "mean")) else 1 - 1e-5 if name.endswith("var") else 1)
    logits = model(torch.full((1, 1, 1, 1), 0.25, dtype=torch.float64))
    torch.testing.assert_close(logits, torch.full((1, 2), 17_280 * 0.25, dtype=torch.float64))


SMALLEST = [
    Architecture(model="prn18", num_classes=5, width=2),
    Architecture(model="rn18", num_classes=5, width=2),
    Architecture(model="wrn10-1", num_classes=5),
    Architecture(model="small", num_classes=5, width=2),
    Architecture(model="small-gn", num_classes=5, width=3),
]


@pytest.mark.parametrize("architecture", SMALLEST, ids=lambda a: a.model)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 13), (28, 28), (32, 32), (40, 24)])
def test_any_image_size(architecture: Architecture, height: int, width: int) -> None:
    model = build_model(architecture, seed=0).eval()
    logits = model(torch.rand(2, 3, height, width))
    assert logits.shape == (2, 5)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("architecture", SMALLEST, ids=lambda a: a.model)
def test_every_parameter_gets_a_gradient(architecture: Architecture) -> None:
    model = build_model(architecture, seed=0)
    model(images(4, 3, 16).float()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_training_mode_updates_the_running_statistics_and_evaluation_does_not() -> None:
    model = build_model(Architecture(model="prn18", num_classes=3, width=2), seed=0)
    before = model.bn.running_mean.clone()
    model.eval()(torch.rand(4, 3, 8, 8))
    assert torch.equal(model.bn.running_mean, before)
    model.train()(torch.rand(4, 3, 8, 8))
    assert not torch.equal(model.bn.running_mean, before)


@pytest.mark.parametrize(("name", "alone"), [("small", False), ("small-gn", True)])
def test_only_group_normalisation_predicts_each_sample_independently(name: str, alone: bool) -> None:
    model = build_model(Architecture(model=name, num_classes=3, channels=1, width=8), seed=0).double().train()
    x = images(6, 1, 8)
    together, apart = model(x)[:2], model(x[:2])
    assert torch.allclose(together, apart, rtol=1e-9, atol=1e-12) is alone


@pytest.mark.medium
@pytest.mark.parametrize("architecture", SMALLEST, ids=lambda a: a.model)
def test_the_forward_pass_is_one_graph(architecture: Architecture) -> None:
    """No operation depends on values, so compiled graphs do not break."""
    model = build_model(architecture, seed=0).eval()
    x = torch.rand(2, 3, 16, 16)
    exported = torch.export.export(model, (x,)).module()
    torch.testing.assert_close(exported(x), model(x))


def test_wide_resnet_starts_from_fan_out() -> None:
    """He's normal distribution over the fan-out: the deviation is sqrt(2 / (9 c_out)), whatever c_in."""
    model = build_model(Architecture(model="wrn16-4", num_classes=10), seed=3)
    for weight in (model.block1.layer[0].conv1.weight, model.block3.layer[1].conv2.weight):
        expected = (2 / (9 * weight.shape[0])) ** 0.5
        assert weight.std().item() == pytest.approx(expected, rel=0.05)
    assert not model.fc.bias.any()
