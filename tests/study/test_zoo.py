"""Publishing a run in the zoo: its files, that the weights are the run's, and what is rejected."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.helpers.zoos import CPU, audit_file, data, trained

from faal import checkpoint
from faal.data import DataSet, InMemory
from faal.errors import InputError
from faal.models import open_model, zoo
from faal.models.native import architecture_and_threat, build_with_weights
from faal.models.offsets import Offset, with_offsets
from faal.study import zoo as publishing
from faal.study.zoo import Published, downcast, publish


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("runs") / "net")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "net"))


def put(run: Path, folder: Path, name: str = "tiny", data: DataSet | None = None, **options: object) -> Published:
    return publish(run, name, data or DATA, folder=folder, source="made up; CC0", device=CPU, **options)  # type: ignore[arg-type]


DATA = data()


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_the_weights_are_the_runs_in_half_the_size(precision: str, run: Path, tmp_path: Path) -> None:
    # bfloat16 may change one of 40 predictions of an untrained network: here it must change none.
    done = put(run, tmp_path / "zoo", precision=precision)
    assert (done.samples, done.changed) == (40, 0)
    own, stored = checkpoint.load(run / "best.pt")["weights"], load_file(done.weights)
    assert own.keys() == stored.keys()
    for name, tensor in own.items():
        narrow = tensor.is_floating_point() and tensor.dim() > 1
        assert stored[name].dtype == (getattr(torch, precision) if narrow else tensor.dtype)
        assert torch.equal(stored[name], tensor.to(stored[name].dtype))
    assert any(name.endswith("running_var") for name in stored)
    assert done.size == done.weights.stat().st_size


def test_offsets_are_published_in_float32(run: Path, tmp_path: Path) -> None:
    state, offsets = checkpoint.load(run / "best.pt"), torch.tensor([0.1234567, 0.0, -0.1, -0.0234567])
    changed = {"architecture": state["architecture"] | {"offsets": True}}
    checkpoint.save(run / "best.pt", state | changed | {"weights": with_offsets(state["weights"], offsets)})
    audit_file(run / "best.pt", tmp_path / "audit")
    put(run, tmp_path / "zoo", audit=tmp_path / "audit")
    card, _ = zoo.read_zoo("tiny", tmp_path / "zoo")
    architecture, _ = architecture_and_threat(card, Path("zoo:tiny"))
    net = build_with_weights(card, architecture, Path("zoo:tiny"))
    assert isinstance(net, Offset)
    assert torch.equal(net.offsets, offsets)


def test_the_card_states_origin_and_audit(run: Path, tmp_path: Path) -> None:
    put(run, tmp_path / "zoo")
    card = zoo.read_card("tiny", tmp_path / "zoo")
    state, audit = checkpoint.load(run / "best.pt"), json.loads((run / "audit.json").read_text())
    assert card["architecture"] == state["architecture"]
    assert (card["classes"], card["recipe"], card["method"], card["seed"]) == (
        state["classes"],
        state["recipe"],
        "faal-at",
        1,
    )
    assert card["threat"] == {"norm": "linf", "epsilon": 0.1}
    assert card["data"] == {"name": "toy", "fingerprint": state["held_out"]["data"], "source": "made up; CC0"}
    assert card["checkpoint"]["sha256"] == checkpoint.digest(run / "best.pt")
    assert card["sha256"] == checkpoint.digest(tmp_path / "zoo" / "tiny.safetensors")
    assert card["commit"]["trained"] == json.loads((run / "environment.json").read_text())["commit"]
    assert card["audit"]["n"] == 40
    for attack, found in audit["attacks"].items():
        figures = card["audit"]["attacks"][attack]
        assert figures == {key: value for key, value in found.items() if key not in ("confusion", "seconds")}
        assert figures["average"]["low"] <= figures["average"]["value"] <= figures["average"]["high"]
    assert str(tmp_path) not in (tmp_path / "zoo" / "tiny.json").read_text()


def test_it_opens_as_the_network_of_the_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(run, tmp_path / "zoo")
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    opened, own = open_model(Path("zoo:tiny"), DATA), open_model(run, DATA)
    assert (opened.architecture, opened.threat, opened.trained) == (own.architecture, own.threat, own.trained)
    assert opened.record["path"] == "zoo:tiny"
    assert DATA.test is not None
    images = DATA.test.images.fetch(torch.arange(40))
    assert opened.net(images).dtype == torch.float32
    assert torch.allclose(opened.net(images), own.net(images), atol=0.02)


def test_a_checkpoint_beside_a_run_with_an_audit_elsewhere(run: Path, tmp_path: Path) -> None:
    state = checkpoint.load(run / "best.pt")
    origin = {"path": "base.pt", "sha256": "ab" * 32, "architecture": "small"}
    checkpoint.save(run / "blend-50.pt", {**state, "origin": origin})
    audit_file(run / "blend-50.pt", tmp_path / "audited")
    put(run / "blend-50.pt", tmp_path / "zoo", audit=tmp_path / "audited")
    assert zoo.read_card("tiny", tmp_path / "zoo")["origin"] == origin


def test_a_fine_tune_names_its_base(run: Path, tmp_path: Path) -> None:
    config = (run / "config.yaml").read_text()
    assert "origin: null" in config
    (run / "config.yaml").write_text(config.replace("origin: null", "origin: {path: best.pt, sha256: cd}"))
    put(run, tmp_path / "zoo")
    assert zoo.read_card("tiny", tmp_path / "zoo")["origin"] == {"path": "best.pt", "sha256": "cd"}


class TestRefuses:
    def test_a_run_without_an_audit(self, run: Path, tmp_path: Path) -> None:
        (run / "audit.json").unlink()
        with pytest.raises(InputError, match=r"no audit in .*`faal audit`"):
            put(run, tmp_path / "zoo")

    def test_the_audit_of_another_checkpoint(self, run: Path, tmp_path: Path) -> None:
        state = checkpoint.load(run / "best.pt")
        checkpoint.save(run / "best.pt", {**state, "seed": 2})
        with pytest.raises(InputError, match=r"another checkpoint than .*best\.pt"):
            put(run, tmp_path / "zoo")
        assert not (tmp_path / "zoo").exists()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"architecture": None}, "it lacks 'architecture'"),
            ({"architecture": {"model": "small"}}, "num_classes"),
            ({"architecture": {"model": "small", "num_classes": 4, "heads": 8}}, "it has heads 8"),
            ({"recipe": None}, "it lacks 'recipe'"),
            ({"recipe": {"method": "faal-at"}}, "it lacks 'epsilon'"),
            ({"recipe": {"epsilon": 0.1, "norm": "linf"}}, "it lacks 'method'"),
            ({"recipe": {"epsilon": 0.1, "norm": "l3", "method": "faal-at"}}, "no norm 'l3'"),
            ({"classes": None}, "it lacks 'classes'"),
            ({"classes": 4}, "not iterable"),
            ({"classes": ["a", "b"]}, "it names 2 classes, its network has 4"),
            ({"held_out": [1]}, "does not describe a network"),
            ({"weights": None}, "does not contain the weights of the small"),
            ({"weights": {}}, "does not contain the weights of the small"),
        ],
    )
    def test_a_checkpoint_that_is_damaged_or_of_another_version(
        self, changed: dict[str, Any], message: str, run: Path, tmp_path: Path
    ) -> None:
        state = checkpoint.load(run / "best.pt") | changed
        checkpoint.save(run / "best.pt", {name: value for name, value in state.items() if value is not None})
        audit = json.loads((run / "audit.json").read_text())
        audit["model"]["sha256"] = checkpoint.digest(run / "best.pt")
        (run / "audit.json").write_text(json.dumps(audit))
        with pytest.raises(InputError, match=message) as caught:
            put(run, tmp_path / "zoo")
        assert "\n" not in str(caught.value)
        assert "best.pt" in str(caught.value)
        assert not (tmp_path / "zoo").exists()

    def test_other_data(self, run: Path, tmp_path: Path) -> None:
        """By its name, its training part, or its test images alone."""
        assert DATA.test is not None
        assert DATA.train is not None
        with pytest.raises(InputError, match="of toy, not of pets"):
            put(run, tmp_path / "zoo", data=replace(DATA, name="pets"))
        fewer = replace(DATA, train=DATA.train.take(torch.arange(47)))
        with pytest.raises(InputError, match="training images of toy"):
            put(run, tmp_path / "zoo", data=fewer)
        pixels = DATA.test.images.fetch(torch.arange(40))
        pixels[-1, 0, 0, 0] = 1 - pixels[-1, 0, 0, 0]
        other = replace(DATA, test=replace(DATA.test, images=InMemory(pixels)))
        with pytest.raises(InputError, match=r"test images of toy .*although"):
            put(run, tmp_path / "zoo", data=other)
        assert not (tmp_path / "zoo").exists()

    def test_a_zoo_that_cannot_be_written_before_the_clean_predictions(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr("faal.study.zoo._clean_predictions", None)
        with pytest.raises(InputError, match="file/zoo cannot be written"):
            put(run, tmp_path / "file" / "zoo")

    def test_what_was_not_recorded_is_not_compared(self, run: Path, tmp_path: Path) -> None:
        audit = json.loads((run / "audit.json").read_text())
        audit["data"] |= {"name": None, "fingerprint": None}
        (run / "audit.json").write_text(json.dumps(audit))
        put(run, tmp_path / "zoo", data=replace(DATA, name="pets", train=None))
        assert zoo.read_card("tiny", tmp_path / "zoo")["data"]["name"] == "pets"

    def test_other_test_images(self, run: Path, tmp_path: Path) -> None:
        assert DATA.test is not None
        few = replace(DATA, test=DATA.test.take(torch.arange(20)))
        turned = replace(DATA, test=DATA.test.take(torch.arange(40).flip(0)))
        with pytest.raises(InputError, match="the 40 test images"):
            put(run, tmp_path / "zoo", data=few)
        with pytest.raises(InputError, match="their labels differ"):
            put(run, tmp_path / "zoo", data=turned)

    def test_too_many_changed_predictions(self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Weights of another network in place of a type that is too narrow."""
        noise = torch.Generator().manual_seed(0)
        monkeypatch.setattr(
            zoo, "upcast", lambda weights: {n: torch.randn(t.shape, generator=noise).abs() for n, t in weights.items()}
        )
        with pytest.raises(InputError, match=r"\d+ of 40 clean images"):
            put(run, tmp_path / "zoo")
        assert not (tmp_path / "zoo").exists()

    def test_a_weight_out_of_range(self) -> None:
        weights = {"a.weight": torch.full((2, 2), 7e4), "a.bias": torch.full((2,), 7e4)}
        assert downcast(weights, torch.bfloat16)["a.bias"].dtype == torch.float32
        with pytest.raises(InputError, match=r"a\.weight .*float16"):
            downcast(weights, torch.float16)
        with pytest.raises(InputError, match=r"a\.bias is not finite"):
            downcast({"a.bias": torch.tensor([float("nan")])}, torch.float16)

    def test_a_name_that_is_taken(self, run: Path, tmp_path: Path) -> None:
        put(run, tmp_path / "zoo")
        put(run, tmp_path / "zoo")  # of the same checkpoint: nothing is lost
        path = tmp_path / "zoo" / "tiny.json"
        card = json.loads(path.read_text())
        path.write_text(json.dumps({**card, "checkpoint": {"sha256": "another"}}))
        with pytest.raises(InputError, match="has another network named tiny"):
            put(run, tmp_path / "zoo")

    def test_a_zoo_that_is_too_large(self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        size = put(run, tmp_path / "zoo").size
        monkeypatch.setattr(publishing, "MAX_BYTES", 2 * size - 1)
        put(run, tmp_path / "zoo")
        with pytest.raises(InputError, match=rf"second .*{2 * size:,} bytes"):
            put(run, tmp_path / "zoo", "second")

    @pytest.mark.parametrize("name", ["", "../net", "A", "a b", "a.b", "-a"])
    def test_an_invalid_name(self, name: str, run: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="letters, digits and dashes"):
            put(run, tmp_path / "zoo", name)

    def test_data_of_unknown_origin_and_unknown_types(self, run: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="licence of toy with --source"):
            publish(run, "tiny", DATA, folder=tmp_path / "zoo", device=CPU)
        with pytest.raises(InputError, match="did you mean 'float16'"):
            put(run, tmp_path / "zoo", precision="float8")

    def test_code_of_another_package(self, run: Path, tmp_path: Path) -> None:
        state = checkpoint.load(run / "best.pt")
        own = {**state, "architecture": {**state["architecture"], "model": "mynets:net"}}
        checkpoint.save(run / "best.pt", own)
        with pytest.raises(InputError, match="needs code of another package"):
            put(run, tmp_path / "zoo")


def test_what_publishing_would_overwrite(run: Path, tmp_path: Path) -> None:
    """The run's own audit, as the card of a network called audit, and weights without a card."""
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=r"audit\.json"):
        put(run, run, name="audit")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "tiny.safetensors").write_text("another's")
    with pytest.raises(InputError, match=r"tiny\.safetensors exists and is not overwritten"):
        put(run, tmp_path / "zoo")
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert [path.name for path in (tmp_path / "zoo").iterdir()] == ["tiny.safetensors"]


def test_a_name_that_is_taken_meanwhile(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "zoo"
    predict = publishing._clean_predictions

    def meanwhile(*given: Any) -> Any:
        put(run, tmp_path / "elsewhere")
        card = json.loads((tmp_path / "elsewhere" / "tiny.json").read_text()) | {"checkpoint": {"sha256": "another"}}
        home.mkdir()
        (home / "tiny.json").write_text(json.dumps(card))
        return predict(*given)

    def once(*given: Any) -> Any:
        monkeypatch.setattr(publishing, "_clean_predictions", predict)
        return meanwhile(*given)

    monkeypatch.setattr(publishing, "_clean_predictions", once)
    with pytest.raises(InputError, match="another network named tiny"):
        put(run, home)
    assert [path.name for path in home.iterdir()] == ["tiny.json"]
