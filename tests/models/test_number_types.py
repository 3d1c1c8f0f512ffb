"""Weights of every type of number: taken by value, or rejected in a sentence that names tensor and type."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tests.helpers.pets import CLASSES, IMAGES, data, layers
from torch import Tensor, nn

import faal
from faal import checkpoint
from faal.errors import InputError
from faal.models import Architecture, build_model, load_weights, open_model

State = dict[str, Tensor]
HEAD = "3.weight"


def quantised(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor, 0.01, 0, torch.qint8)


def nested(tensor: Tensor) -> Tensor:
    return torch.nested.nested_tensor(list(tensor))


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "int8": lambda t: (100 * t).to(torch.int8),
    "uint8": lambda t: (100 * t).to(torch.uint8),
    "int32": lambda t: (100 * t).int(),
    "int64": lambda t: (100 * t).long(),
    "bool": lambda t: t > 0,
    "float8_e4m3fn": lambda t: t.to(torch.float8_e4m3fn),
    "float8_e5m2": lambda t: t.to(torch.float8_e5m2),
    "complex64": lambda t: t.to(torch.complex64),
    "qint8 (quantised)": quantised,
    "float32 (sparse_coo)": lambda t: t.to_sparse(),
    "float32 (sparse_csr)": lambda t: t.to_sparse_csr(),
    "float32 (nested)": nested,
    "float32 (without values)": lambda t: t.to("meta"),
}


def stored(folder: Path, content: object) -> Path:
    torch.save(content, folder / "w.pth")
    return folder / "w.pth"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("where", ["alone", "beside its scales", "beside a copy"])
def test_a_type_that_does_not_mean_its_own_value_is_named(tmp_path: Path, kind: str, where: str) -> None:
    state = layers(3, 3).state_dict()
    changed = {**state, HEAD: REFUSED[kind](state[HEAD])}
    if kind.endswith("(nested)") and where == "beside a copy":
        pytest.skip("it has no shape, and the copy is taken")
    content = {
        "alone": changed,
        "beside its scales": {"state_dict": changed, "scales": {HEAD: torch.tensor(0.01)}},
        "beside a copy": {"ema": state, "model": changed},
    }[where]
    net = layers(3, 3)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InputError) as caught:
        load_weights(net, stored(tmp_path, content))
    assert f"{HEAD!r} as {kind}," in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_is_taken_by_value(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {name: tensor.to(dtype) for name, tensor in layers(3, 3).state_dict().items()}
    net = layers(3, 3)
    load_weights(net, stored(tmp_path, state))
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in net.state_dict().items())


def test_what_float32_cannot_hold_is_refused(tmp_path: Path) -> None:
    state = {name: tensor.double() for name, tensor in layers(3, 3).state_dict().items()}
    state["3.bias"][1] = 1e300
    with pytest.raises(InputError, match=r"'3.bias' that are not finite"):
        load_weights(layers(3, 3), stored(tmp_path, state))


def test_counters_and_indices_have_their_own_types(tmp_path: Path) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)
            self.register_buffer("place", torch.arange(3))

    source, net = Net(), Net()
    source.norm.num_batches_tracked += 7
    state = source.state_dict()
    load_weights(net, stored(tmp_path, {**state, "norm.num_batches_tracked": torch.tensor(7.0)}))
    assert int(net.norm.num_batches_tracked) == 7
    load_weights(net, stored(tmp_path, {**state, "place": state["place"].int()}))
    with pytest.raises(InputError, match=r"'place' as float32.*int64"):
        load_weights(net, stored(tmp_path, {**state, "place": state["place"].float()}))


def test_weights_of_another_shape_because_they_are_packed_are_named_by_their_type(tmp_path: Path) -> None:
    state = layers(3, 3).state_dict()
    packed = {**state, HEAD: torch.zeros(216, 1, dtype=torch.uint8), "3.weight.absmax": torch.ones(4)}
    with pytest.raises(InputError, match=r"'3.weight' as uint8"):
        load_weights(layers(3, 3), stored(tmp_path, packed))


@pytest.mark.parametrize("name", ["old.0.weight", "net.0.weight"])
def test_a_folder_of_hugging_face_is_refused_before_the_library_converts_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({name: torch.ones(4, 3, 3, 3, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=f"'{name}' as int8"):
        load_weights(layers(3, 3), tmp_path / "model.safetensors")


def test_a_native_checkpoint_is_no_exception(tmp_path: Path) -> None:
    architecture = Architecture(model="small", num_classes=3, width=4)
    weights = build_model(architecture, seed=1).state_dict()
    state = {"architecture": vars(architecture), "classes": list(CLASSES), "recipe": {"epsilon": 0.1}}
    checkpoint.save(tmp_path / "best.pt", {**state, "weights": weights})
    assert torch.isfinite(faal.load_model(tmp_path)(IMAGES)).all()
    spoilt = {**weights, "linear.weight": (100 * weights["linear.weight"]).to(torch.int8)}
    checkpoint.save(tmp_path / "best.pt", {**state, "weights": spoilt})
    for opening in (faal.load_model, lambda path: open_model(path, data())):
        with pytest.raises(InputError, match=r"'linear.weight' as int8"):
            opening(tmp_path)
