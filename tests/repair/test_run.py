"""Whole repairs on toy data: what is written, that a repair that was stopped continues, and when nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import toy_data, toy_split

from faal import checkpoint
from faal.config import Recipe, Schedule, Threat
from faal.data import DataSet, fingerprint
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.models.load import LoadedModel
from faal.repair import Repair, RepairSettings, repair
from faal.repair import run as module
from faal.repair.choice import BASE, Selected
from faal.repair.verdicts import HeldOutVerdicts
from faal.train.parts import parts_of

CPU = torch.device("cpu")
ARCHITECTURE = Architecture(model="small", num_classes=3, channels=1, width=4)
DATA = toy_data([200] * 3)
RECIPE = Recipe(
    method="faal-at", model="small", width=4, epochs=2, batch_size=100, lr=Schedule.constant(0.05), crop=1, flip=False,
    epsilon=0.1, step_size=0.05, steps=1, select_attack="pgd1", precision="float32",
)  # fmt: skip
FORCED = RepairSettings(force=True)


def base(seed: int = 1, *, new_to: DataSet | None = DATA) -> LoadedModel:
    """A network that was not trained on the images of `new_to` that a repair withholds."""
    withheld: list[str] = []
    if new_to is not None:
        assert new_to.train is not None
        recipe = replace(RECIPE, hold_out="both")
        parts = parts_of(new_to, recipe, steers=False, device=CPU, small=True)
        withheld = list(parts.digests(fingerprint(new_to.train)).values())
    return LoadedModel(
        net=build_model(ARCHITECTURE, seed=seed).eval(),
        architecture=ARCHITECTURE,
        record={"path": "base.pt", "sha256": f"{seed:064d}", "architecture": "small", "withheld": withheld},
        threat=Threat("linf", 0.1),
        trained={},
        notes=[],
    )


def run(
    out: Path, settings: RepairSettings = FORCED, *, recipe: Recipe = RECIPE, data: DataSet = DATA, seed: int = 1
) -> Repair:
    return repair(base(seed, new_to=data), data, recipe, settings, out=out, seed=3, device=CPU, quiet=True)


def content(out: Path) -> dict[str, object]:
    plain: dict[str, object] = json.loads((out / "repair.json").read_text())
    return plain


def no_training(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be trained")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repairs") / "run"
    run(out)
    return out


@pytest.mark.medium
def test_the_candidates(finished: Path) -> None:
    names = [each["name"] for each in content(finished)["candidates"]]  # type: ignore[attr-defined]
    assert names[:3] == ["base", "epoch 0", "epoch 1"]
    assert sum(name.startswith(("1/4", "1/2", "3/4")) and "offsets" not in name for name in names) == 3
    assert len(names) == len(set(names)) > 5
    assert not list(finished.glob("epoch-*.pt"))


@pytest.mark.medium
def test_the_file_is_the_chosen_network(finished: Path) -> None:
    """Loaded as by an audit, it has the recorded accuracy on the withheld images."""
    result = run(finished)
    loaded = open_model(finished / "best.pt", DATA)
    state = checkpoint.load(finished / "best.pt")
    withheld = DATA.train.take(state["held_out"]["select"])  # type: ignore[union-attr]
    with torch.no_grad():
        clean = loaded.net(withheld.images.fetch(torch.arange(withheld.n))).argmax(dim=1) == withheld.labels
    assert result.chosen is not None
    assert clean.numpy()[result.chosen.correct].all()
    assert state["repair"]["name"] == content(finished)["chosen"]["name"]  # type: ignore[index]


@pytest.mark.medium
def test_again_it_does_nothing(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    monkeypatch.setattr(module, "train", no_training)
    assert run(finished).choice == Selected(**content(finished)["chosen"])  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before


@pytest.mark.medium
@pytest.mark.parametrize("evaluations", [1, 2, 4, 5], ids=lambda count: f"after {count} evaluations")
def test_a_repair_that_was_stopped_continues(
    evaluations: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = 0
    evaluate = module.Evaluator.verdicts

    def stopping(self: module.Evaluator, *arguments: object) -> HeldOutVerdicts:
        nonlocal done
        if done == evaluations:
            raise KeyboardInterrupt
        done += 1
        return evaluate(self, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module.Evaluator, "verdicts", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run")
    run(tmp_path / "run")
    assert content(tmp_path / "run") == content(finished)
    weights, expected = (checkpoint.load(out / "best.pt")["weights"] for out in (tmp_path / "run", finished))
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


@pytest.mark.medium
@pytest.mark.parametrize(
    "other", [{"settings": RepairSettings(force=True, max_average_loss=0.5)}, {"seed": 2},
              {"recipe": replace(RECIPE, epochs=1)}], ids=["settings", "base", "recipe"],
)  # fmt: skip
def test_another_repair_in_the_folder_is_refused(finished: Path, other: dict[str, object]) -> None:
    with pytest.raises(InputError, match="contains another repair"):
        run(finished, **other)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["best.pt", "config.yaml", "metrics.jsonl"])
def test_the_folder_of_another_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=name):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def as_evaluated(monkeypatch: pytest.MonkeyPatch, *accuracies: float) -> None:
    """All networks have these robust accuracies."""

    def verdicts(self: module.Evaluator, net: object, split: object = None) -> HeldOutVerdicts:
        groups = self.record.groups
        rank = np.array([np.sum(groups[:place] == group) for place, group in enumerate(groups)])
        counts = np.bincount(groups)
        return HeldOutVerdicts(groups, self.record.names, rank < np.round(np.array(accuracies) * counts)[groups])

    monkeypatch.setattr(module.Evaluator, "verdicts", verdicts)


@pytest.mark.medium
def test_without_robustness_it_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_evaluated(monkeypatch, 0.0, 0.0, 0.05)
    monkeypatch.setattr(module, "train", no_training)
    monkeypatch.setattr(module.Evaluator, "clean_accuracy", lambda self, net: 0.9)
    with pytest.raises(InputError, match="not robust"):
        run(tmp_path / "run", RepairSettings())
    assert not (tmp_path / "run" / "repair.json").exists()  # --force into the same folder is free to begin


@pytest.mark.medium
def test_a_network_whose_classes_are_alike_is_left_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_evaluated(monkeypatch, 1.0, 1.0, 1.0)
    monkeypatch.setattr(module, "train", no_training)
    monkeypatch.setattr(RepairSettings, "ALIKE", 0.2)
    original = base().net.state_dict()
    for _ in range(2):
        result = run(tmp_path / "run", RepairSettings())
        assert result.choice is not None
        assert result.choice.name == BASE
        weights = checkpoint.load(result.outcome.best)["weights"]
        assert all(torch.equal(weights[name], tensor) for name, tensor in original.items())


@pytest.mark.medium
def test_the_base_is_kept_where_no_candidate_is_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_evaluated(monkeypatch, 0.8, 0.8, 0.4)
    result = run(tmp_path / "run")
    assert result.choice is not None
    assert result.choice.name == BASE
    weights, original = checkpoint.load(result.outcome.best)["weights"], base().net.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in original.items())
    assert result.outcome.epoch is None


@pytest.mark.medium
def test_small_classes_are_chosen_on_too(tmp_path: Path) -> None:
    result = run(tmp_path / "run", data=toy_data([60, 100, 220]), recipe=replace(RECIPE, epochs=1))
    assert result.base is not None
    assert result.base.n.tolist() == [12, 20, 20]


@pytest.mark.medium
def test_where_nothing_can_be_withheld_the_risk_is_stated(tmp_path: Path) -> None:
    result = run(tmp_path / "run", data=toy_data([12, 60, 60]), recipe=replace(RECIPE, epochs=1))
    assert result.choice is None
    assert len(result.notes) == 1


@pytest.mark.medium
def test_validation_images_replace_withheld_ones(tmp_path: Path) -> None:
    unseen = toy_split([30, 40, 50], seed=9)
    result = repair(
        base(), DATA, replace(RECIPE, epochs=1), FORCED, out=tmp_path / "run", seed=3, device=CPU, validation=unseen,
        quiet=True,
    )  # fmt: skip
    assert result.base is not None
    assert result.base.n.tolist() == [30, 40, 50]
    assert len(checkpoint.load(result.outcome.best)["held_out"]["select"]) == 0
    with pytest.raises(InputError, match="another repair"):
        run(tmp_path / "run", recipe=replace(RECIPE, epochs=1))


@pytest.mark.medium
def test_large_classes_are_evaluated_on_a_second_part(tmp_path: Path) -> None:
    data = toy_data([400, 400, 420])
    for _ in range(2):  # the second time from the record
        result = run(tmp_path / "run", data=data, recipe=replace(RECIPE, epochs=1))
        assert result.second is not None
        assert [each.n.tolist() for each in result.second] == [[20, 20, 20]] * 2


@pytest.mark.medium
def test_plain_is_the_fine_tune_alone(tmp_path: Path) -> None:
    result = run(tmp_path / "run", RepairSettings(plain=True))
    assert result.choice is None
    assert not (tmp_path / "run" / "repair.json").exists()


@pytest.mark.medium
def test_trials_choose_the_settings(tmp_path: Path) -> None:
    data, recipe = toy_data([60] * 3), replace(RECIPE, epochs=1)
    run(tmp_path / "run", RepairSettings(force=True, tune=True), data=data, recipe=recipe)
    found = content(tmp_path / "run")
    assert len(found["trials"]) == 6  # type: ignore[arg-type]
    assert found["tuned"]["batch_size"] == 8  # type: ignore[index]
    assert not (tmp_path / "run" / "trials").exists()
    run(tmp_path / "run", RepairSettings(force=True, tune=True), data=data, recipe=recipe)
    assert content(tmp_path / "run") == found


@pytest.mark.medium
def test_a_base_that_was_trained_on_the_withheld_images_is_compared_on_training_images(tmp_path: Path) -> None:
    """On those it has no more of an advantage than its repair."""
    result = repair(
        base(new_to=None), DATA, replace(RECIPE, epochs=1), FORCED, out=tmp_path / "run", seed=3, device=CPU, quiet=True
    )
    assert result.base is not None
    assert result.base.n.tolist() == [180] * 3  # 200, less 20 withheld
    assert "training images" in str(result.outcome.note)


@pytest.mark.medium
def test_a_base_that_was_trained_on_the_second_part_is_not_compared_there(tmp_path: Path) -> None:
    data = toy_data([400, 400, 420])
    result = repair(
        base(new_to=None), data, replace(RECIPE, epochs=1), FORCED, out=tmp_path / "run", seed=3, device=CPU, quiet=True
    )
    assert result.choice is not None
    assert result.second is None
