"""Foreign checkpoints: however the weights are named and nested, the logits are equal."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from faal.errors import InputError
from faal.models import Architecture, Normalized, build_model, load_weights

State = dict[str, Tensor]
PRN = Architecture(model="prn18", num_classes=3, width=2)  # 20 convolutions, 17 BatchNorms of 5, 2: 107 tensors
IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def foreign(architecture: Architecture = PRN) -> nn.Module:
    """A network after a batch in training mode, so that its buffers differ from a new one's."""
    model = build_model(architecture, seed=1)
    with torch.no_grad():
        model(torch.rand(8, architecture.channels, 8, 8, generator=torch.Generator().manual_seed(2)))
    return model.eval()


def fresh(architecture: Architecture = PRN) -> nn.Module:
    return build_model(architecture, seed=99).eval()


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def stored(path: Path, content: object) -> Path:
    torch.save(content, path / "foreign.pt")
    return path / "foreign.pt"


def refused(model: nn.Module, path: Path, message: str) -> str:
    """The message; the model is unchanged."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(InputError, match=message) as caught:
        load_weights(model, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(path) in sentence
    return sentence


FORMS: dict[str, tuple[Callable[[State], object], list[str]]] = {
    "plain": (lambda s: s, []),
    "state_dict": (lambda s: {"epoch": 3, "state_dict": s}, ["The weights were read from 'state_dict' in the file."]),
    "model, optimizer": (
        lambda s: {"model": s, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{}]}},
        ["The weights were read from 'model' in the file."],
    ),
    "two deep": (
        lambda s: {"run": {"ema": prefixed(s, "module.")}, "best": torch.tensor(0.5)},
        [
            "The weights were read from 'run.ema' in the file.",
            "Stripped 'module.' from the names of 107 tensors.",
        ],
    ),
    "module.": (lambda s: prefixed(s, "module."), ["Stripped 'module.' from the names of 107 tensors."]),
    "compiled": (
        lambda s: prefixed(s, "_orig_mod.module.model."),
        ["Stripped '_orig_mod.module.model.' from the names of 107 tensors."],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str) -> None:
    wrap, notes = FORMS[form]
    source, model = foreign(), fresh()
    assert not torch.allclose(model(IMAGES), source(IMAGES))
    assert load_weights(model, stored(tmp_path, wrap(source.state_dict()))) == notes
    assert torch.equal(model(IMAGES), source(IMAGES))


def test_safetensors(tmp_path: Path) -> None:
    source, model = foreign(), fresh()
    save_file(prefixed(source.state_dict(), "module."), tmp_path / "foreign.safetensors")
    assert load_weights(model, tmp_path / "foreign.safetensors") == [
        "Stripped 'module.' from the names of 107 tensors."
    ]
    assert torch.equal(model(IMAGES), source(IMAGES))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    source, model = foreign().half(), fresh()
    load_weights(model, stored(tmp_path, source.state_dict()))
    assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
    assert torch.equal(model(IMAGES), source.float()(IMAGES))


def test_counters_may_be_missing(tmp_path: Path) -> None:
    source, model = foreign(), fresh()
    state = {name: tensor for name, tensor in source.state_dict().items() if "num_batches_tracked" not in name}
    notes = load_weights(model, stored(tmp_path, state))
    assert notes == ["Set 17 counters of BatchNorm, which the file lacks, to 0."]
    assert torch.equal(model(IMAGES), source(IMAGES))


def test_names_of_public_nets() -> None:
    """The names under which public CIFAR nets save their tensors, so that no mapping is needed."""
    names = {
        name: set(build_model(Architecture(model=name, num_classes=10, width=2, depth=depth)).state_dict())
        for name, depth in (("prn18", 2), ("rn18", 2), ("wrn34-10", 10))
    }
    both = {"conv1.weight", "layer1.0.conv1.weight", "layer2.0.shortcut.0.weight", "layer4.1.bn2.bias", "linear.bias"}
    assert both | {"bn.weight"} <= names["prn18"]
    assert both | {"bn1.weight", "layer2.0.shortcut.1.weight"} <= names["rn18"]
    assert "layer2.0.shortcut.1.weight" not in names["prn18"]
    assert {"conv1.weight", "block1.layer.0.bn1.weight", "block3.layer.0.convShortcut.weight"} <= names["wrn34-10"]
    assert {"bn1.bias", "fc.weight", "fc.bias"} <= names["wrn34-10"]


def test_the_stage_that_trades_never_calls_is_left_out(tmp_path: Path) -> None:
    architecture = Architecture(model="wrn16-2", num_classes=4)
    source, model = foreign(architecture), fresh(architecture)
    state = source.state_dict()
    dead = {f"sub_{name}": torch.randn_like(t.float()) for name, t in state.items() if name.startswith("block1")}
    notes = load_weights(model, stored(tmp_path, prefixed(state | dead, "module.")))
    assert notes[1:] == [f"Ignored {len(dead)} tensors of 'sub_block1', which no forward pass uses."]
    assert torch.equal(model(IMAGES), source(IMAGES))


def test_two_equal_sets_are_one(tmp_path: Path) -> None:
    source, model = foreign(), fresh()
    state = source.state_dict()
    file = stored(tmp_path, {"net": prefixed(state, "model.") | prefixed(state, "attacker.model."), "ema": state})
    notes = load_weights(model, file)
    assert notes == [
        "The weights were read from 'net' in the file.",
        "Stripped 'model.' from the names of 107 tensors.",
        "Ignored a second copy of the same weights, 'net.attacker.model.'.",
        "Ignored a second copy of the same weights, 'ema'.",
    ]
    assert torch.equal(model(IMAGES), source(IMAGES))


def test_two_sets_that_differ_are_refused(tmp_path: Path) -> None:
    states = {"state_dict": foreign().state_dict(), "ema": fresh().state_dict()}
    refused(fresh(), stored(tmp_path, states), "two sets of weights that fit and differ, 'state_dict' and 'ema'")


# --- normalisation ---------------------------------------------------------------------------------------------------


def sequential(mean: list[float], std: list[float], state: State) -> State:
    """Sequential(a layer that normalises, the network)."""
    return {"0.mean": torch.tensor(mean).view(1, 3, 1, 1), "0.std": torch.tensor(std)} | prefixed(state, "1.")


NORMALISED = Architecture(model="prn18", num_classes=3, width=2, normalize="0.4914,0.4822,0.4465:0.247,0.243,0.262")


def test_weights_go_inside_a_normalized_model(tmp_path: Path) -> None:
    source, model = foreign(), fresh(NORMALISED)
    assert isinstance(model, Normalized)
    assert load_weights(model, stored(tmp_path, source.state_dict())) == []
    mean, std = torch.tensor([[0.4914, 0.4822, 0.4465], [0.247, 0.243, 0.262]]).view(2, 3, 1, 1)
    torch.testing.assert_close(model(IMAGES), source((IMAGES - mean) / std))


def test_a_normalisation_that_file_and_model_share(tmp_path: Path) -> None:
    state = sequential(
        [0.49139968, 0.48215841, 0.44653091], [0.24703223, 0.24348513, 0.26158784], foreign().state_dict()
    )
    notes = load_weights(fresh(NORMALISED), stored(tmp_path, state))
    assert notes == [
        "Stripped '1.' from the names of 107 tensors.",
        "The file has its own normalisation, which equals the model's.",
    ]


def test_a_state_dict_of_this_program_is_read_like_any_other(tmp_path: Path) -> None:
    source, model = foreign(NORMALISED), fresh(NORMALISED)
    notes = load_weights(model, stored(tmp_path, source.state_dict()))
    assert "The file has its own normalisation, which equals the model's." in notes
    assert torch.equal(model(IMAGES), source(IMAGES))


@pytest.mark.parametrize("architecture", [PRN, NORMALISED], ids=["none", "another"])
def test_a_normalisation_that_the_model_lacks_is_requested(tmp_path: Path, architecture: Architecture) -> None:
    file = stored(tmp_path, sequential([0.5, 0.5, 0.5], [0.25, 0.5, 1.0], foreign().state_dict()))
    sentence = refused(fresh(architecture), file, "has its own normalisation")
    wanted = sentence.split("--normalize ")[1]
    assert wanted == "0.5,0.5,0.5:0.25,0.5,1"
    again = Architecture(model="prn18", num_classes=3, width=2, normalize=wanted)
    load_weights(fresh(again), file)


def test_an_identity_normalisation_needs_no_option(tmp_path: Path) -> None:
    state = foreign().state_dict() | {"mu": torch.zeros(3, 1, 1), "sigma": torch.ones(3, 1, 1)}
    assert load_weights(fresh(), stored(tmp_path, state)) == [
        "The file has its own normalisation, which equals the model's."
    ]


def test_a_mean_without_a_deviation_is_unexpected(tmp_path: Path) -> None:
    refused(fresh(), stored(tmp_path, foreign().state_dict() | {"mean": torch.zeros(3)}), "1 are unexpected \\(mean\\)")


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (Architecture(model="prn18", num_classes=100), r"it resembles prn18 for 100 classes and 3 channels$"),
        (Architecture(model="rn18", num_classes=3, width=2), r"resembles rn18 of width 2 and depth 2 for 3 classes"),
        (Architecture(model="prn18", num_classes=3, width=4, depth=1), r"prn18 of width 4 and depth 1 for 3 classes"),
        (Architecture(model="wrn16-2", num_classes=5, channels=1), r"wrn16-2 for 5 classes and 1 channel$"),
        (Architecture(model="small", num_classes=5), r"a model for 5 classes and 3 channels$"),
    ],
    ids=lambda value: getattr(value, "model", ""),
)
def test_another_architecture_is_recognised(tmp_path: Path, file: Architecture, message: str) -> None:
    content = {"state_dict": prefixed(foreign(file).state_dict(), "module.")}
    refused(fresh(), stored(tmp_path, content), f"is of another architecture than the model.*{message}")


def test_another_number_of_classes_is_named(tmp_path: Path) -> None:
    file = stored(tmp_path, foreign(Architecture(model="prn18", num_classes=7, width=2)).state_dict())
    sentence = refused(fresh(), file, "another architecture")
    assert "2 tensors have another shape (linear.weight is 7 x 16, not 3 x 16, linear.bias is 7, not 3)" in sentence
    assert "for 7 classes" in sentence


def test_missing_and_unexpected_names_are_listed(tmp_path: Path) -> None:
    state = foreign().state_dict()
    state = {name: tensor for name, tensor in state.items() if not name.startswith("bn.")} | {
        "head.scale": torch.ones(1)
    }
    sentence = refused(fresh(), stored(tmp_path, state), "another architecture")
    assert "4 are missing (bn.weight, bn.bias, bn.running_mean, ...), 1 are unexpected (head.scale)" in sentence


def test_one_tensor_too_many_is_refused(tmp_path: Path) -> None:
    """Loading is strict: a layer that the model lacks would have changed the logits."""
    state = prefixed(foreign().state_dict(), "1.") | {"2.temperature": torch.tensor(3.0)}
    refused(fresh(), stored(tmp_path, state), r"1 are unexpected \(2.temperature\)")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = foreign().state_dict()
    state["linear.bias"] = torch.tensor([0.0, float("nan"), 0.0])
    refused(fresh(), stored(tmp_path, state), "values in 'linear.bias' that are not finite")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}, "text"])
def test_a_file_without_weights(tmp_path: Path, content: object) -> None:
    refused(fresh(), stored(tmp_path, content), "contains no weights")
