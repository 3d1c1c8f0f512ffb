"""The loop: what a run leaves behind, that it resumes exactly, and what it rejects."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.conftest import TRAINED, toy_data
from torch import nn

from faal import checkpoint
from faal.config import Recipe, Schedule
from faal.data import DataSet
from faal.engine import processes
from faal.errors import InputError
from faal.intermediate.class_stats import ClassMetrics
from faal.models import Architecture, build_model
from faal.train import loop
from faal.train.loop import Outcome, train

CPU = torch.device("cpu")


def run(recipe: Recipe, data: DataSet, out: Path, *, seed: int = 1) -> Outcome:
    architecture = Architecture(model="small", num_classes=data.num_classes, channels=1, width=recipe.width)
    net = build_model(architecture, seed=seed)
    return train(net, architecture, data, recipe, out=out, seed=seed, device=CPU, quiet=True)


def records(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def same(a: object, b: object) -> bool:
    """Bit for bit, at any depth."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_what_a_run_leaves(recipe: Recipe, tmp_path: Path) -> None:
    outcome = run(recipe, toy_data([12] * 4), tmp_path)
    assert {"config.yaml", "environment.json", "metrics.jsonl", "last.pt", "previous.pt", "best.pt"} <= {
        path.name for path in tmp_path.iterdir()
    }
    written = records(tmp_path)
    batches = [row for row in written if row["event"] == "batch"]
    assert [row["step"] for row in batches] == list(range(6))
    assert all(len(row["weights"]) == 4 for row in batches)
    assert [row["epoch"] for row in written if row["event"] == "epoch"] == [0, 1]
    assert outcome.epoch == 1
    assert "no selection" in str(outcome.note)
    assert checkpoint.load(outcome.best)["image_size"] == [8, 8]


def test_the_logged_weights_are_those_of_the_batch(recipe: Recipe, tmp_path: Path) -> None:
    """Over the classes present, on equal classes, w_c sums to one: the logged C' w_c have mean 1."""
    run(recipe, toy_data([12] * 4), tmp_path)
    for row in records(tmp_path):
        if row["event"] == "batch":
            present = [weight for weight in row["weights"] if weight > 0]
            assert sum(present) / len(present) == pytest.approx(1, abs=1e-4)


def test_the_log_has_the_margins_of_the_classes(recipe: Recipe, tmp_path: Path) -> None:
    """Factors on epsilon, from the epoch on that a rule uses them in: DAFA's W after its warm-up."""
    dafa = recipe.replace({"method": "dafa", "epochs": 3, "constants": {"start": "1/3"}}, source="test")
    run(dafa, toy_data([12] * 4), tmp_path / "dafa")
    factors = [row.get("epsilon_factors") for row in records(tmp_path / "dafa") if row["event"] == "epoch"]
    kept = checkpoint.load(tmp_path / "dafa" / "last.pt")["training"]["rule"]["weights"]
    assert factors[0] is None
    assert factors[1] == factors[2] == pytest.approx(kept.tolist(), abs=1e-5)
    assert len(set(factors[1])) > 1

    run(recipe, toy_data([12] * 4), tmp_path / "faal")
    assert not any("epsilon_factors" in row for row in records(tmp_path / "faal"))


class KilledError(Exception):
    """The end of the process."""


@pytest.mark.medium
@pytest.mark.parametrize("name", ["faal-at", "faal-trades-awp", "standard", "mart"])
@pytest.mark.parametrize("kill_at", [2, 3, 5])
def test_a_killed_run_goes_on_bit_for_bit(
    name: str, kill_at: int, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of an epoch or at its start, the resumed run equals the unbroken one: network, optimiser,
    rule, averages and log."""
    recipe = recipe.replace(
        {"method": name, "smoothing": 0.5, "average": "step", "checkpoint_every": 0, "tau": "0:0.3,1/2:0.6"},
        source="test",
    )
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path / "whole")

    real, steps = loop.train_step, iter(range(100))

    def dies(*arguments: object) -> object:
        if next(steps) == kill_at:
            raise KilledError
        return real(*arguments)

    monkeypatch.setattr(loop, "train_step", dies)
    with pytest.raises(KilledError):
        run(recipe, data, tmp_path / "broken")
    monkeypatch.setattr(loop, "train_step", real)
    run(recipe, data, tmp_path / "broken")

    whole, broken = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "broken"))
    assert same(whole["weights"], broken["weights"])
    assert same(whole["training"]["optimizer"], broken["training"]["optimizer"])
    assert same(whole["training"]["rule"], broken["training"]["rule"])
    assert same(whole["training"]["average"], broken["training"]["average"])
    rows = [[row for row in records(tmp_path / n) if row["event"] == "batch"] for n in ("whole", "broken")]
    assert rows[0] == rows[1]


def test_the_seconds_of_an_epoch_go_on_too(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed in its first epoch, after a thousand seconds."""
    recipe, data = recipe.replace({"checkpoint_every": 0}, source="test"), toy_data([12] * 4)
    real, steps = loop.train_step, iter(range(100))

    def dies(*arguments: object) -> object:
        if next(steps) == 2:
            raise KilledError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", dies)
        with pytest.raises(KilledError):
            run(recipe, data, tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    assert 0 < state["training"]["position"]["seconds"] < 100
    state["training"]["position"]["seconds"] = 1000.0
    checkpoint.save(tmp_path / "last.pt", state)
    run(recipe, data, tmp_path)
    first, second = (row["seconds"] for row in records(tmp_path) if row["event"] == "epoch")
    assert 1000 < first < 1100
    assert second < 100


def test_a_network_that_draws_is_trained_by_the_seed(recipe: Recipe, tmp_path: Path) -> None:
    data, ends = toy_data([12] * 4), []
    for place, seed in enumerate((3, 3, 4)):
        torch.manual_seed(place)
        net = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4))
        nn.init.zeros_(net[2].weight)
        nn.init.zeros_(net[2].bias)
        architecture = Architecture(model="small", num_classes=4, channels=1)
        train(net, architecture, data, recipe, out=tmp_path / str(place), seed=seed, device=CPU, quiet=True)
        ends.append(checkpoint.load(tmp_path / str(place) / "last.pt")["weights"])
    assert same(ends[0], ends[1])
    assert not same(ends[0], ends[2])


def test_a_damaged_last_checkpoint_costs_an_epoch_not_the_run(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path / "whole")
    run(recipe, data, tmp_path / "damaged")
    last = tmp_path / "damaged" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    run(recipe, data, tmp_path / "damaged")
    whole, mended = (checkpoint.load(tmp_path / name / "last.pt") for name in ("whole", "damaged"))
    assert same(whole["weights"], mended["weights"])


def test_a_finished_run_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    before = (tmp_path / "last.pt").stat().st_mtime_ns, (tmp_path / "metrics.jsonl").read_text()
    run(recipe, data, tmp_path)
    assert before == ((tmp_path / "last.pt").stat().st_mtime_ns, (tmp_path / "metrics.jsonl").read_text())


def test_another_run_is_not_overwritten(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    kept = (tmp_path / "last.pt").read_bytes()
    often = recipe.replace({"lr": 0.07, "log_every": 3, "checkpoint_every": 9}, source="test")
    for other in (often, recipe.replace({"lr": 0.07}, source="test")):
        with pytest.raises(InputError, match=r"recipe\.lr is 0\.05 there and 0\.07 here"):
            run(other, data, tmp_path)
    assert (tmp_path / "last.pt").read_bytes() == kept


def test_a_run_goes_on_whatever_its_data_and_its_base_are_called(recipe: Recipe, tmp_path: Path) -> None:
    """They are known by a fingerprint and a digest."""
    architecture = Architecture(model="small", num_classes=4, channels=1, width=recipe.width)

    def tuned(data: str, **base: str) -> None:
        net, named = build_model(architecture, seed=1), replace(toy_data([12] * 4), name=data)
        train(net, architecture, named, recipe, out=tmp_path, seed=1, device=CPU, origin=base, quiet=True)

    tuned("plants", path="base.pt", sha256="ab")
    kept = (tmp_path / "last.pt").stat().st_mtime_ns
    tuned("moved", path="renamed.pt", sha256="ab")
    assert (tmp_path / "last.pt").stat().st_mtime_ns == kept
    with pytest.raises(InputError, match=r"origin\.sha256 is ab there"):
        tuned("moved", path="base.pt", sha256="cd")


def test_the_best_epoch_is_chosen_on_the_held_out_part(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores 0.9, 0.9, 0.2: the first is kept, ties going to the earlier epoch; its weights are those of that epoch."""
    scores = iter([0.9, 0.9, 0.2])
    weights = []

    def evaluated(net: torch.nn.Module, *_: object, **__: object) -> ClassMetrics:
        weights.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        error, nothing = torch.full((2,), 1 - next(scores)), torch.zeros(2)
        return ClassMetrics(
            counts=torch.ones(2), clean_error=nothing, robust_error=error, cross_entropy=nothing,
            kl_divergence=nothing, confusion=torch.zeros(2, 2),
        )  # fmt: skip

    monkeypatch.setattr(loop, "evaluate", evaluated)
    outcome = run(recipe.replace({"epochs": 3}, source="test"), toy_data([200, 200]), tmp_path)
    assert outcome.epoch == 0
    assert same(checkpoint.load(tmp_path / "best.pt")["weights"], weights[0])
    assert not same(checkpoint.load(tmp_path / "last.pt")["weights"], weights[0])


def test_held_out_images_are_not_trained_on(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = set()
    step = loop.train_step

    def spy(learner, batch, context):  # type: ignore[no-untyped-def]
        trained.update(batch.index.tolist())
        return step(learner, batch, context)

    monkeypatch.setattr(loop, "train_step", spy)
    data = toy_data([200, 250])
    quick = recipe.replace({"epochs": 1, "batch_size": 100}, source="test")
    for seed in (1, 2):  # a repair's seed is seldom its base's
        run(quick, data, tmp_path / str(seed), seed=seed)
    held = [checkpoint.load(tmp_path / str(seed) / "best.pt")["held_out"]["select"] for seed in (1, 2)]
    assert torch.equal(*held)
    assert len(held[0]) == 40
    assert not trained & set(held[0].tolist())
    assert len(trained | set(held[0].tolist())) == 450


def test_averaged_weights_are_what_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    """What is to be used is the average, in best.pt and in last.pt; a run goes on from the raw weights."""
    run(recipe.replace({"average": "epoch", "average_decay": 0.5}, source="test"), toy_data([12] * 4), tmp_path)
    best, last = checkpoint.load(tmp_path / "best.pt"), checkpoint.load(tmp_path / "last.pt")
    shadow = dict(zip(sorted(last["training"]["net"]), last["training"]["average"]["shadow"], strict=True))
    assert same(best["weights"], {name: shadow[name] for name in best["weights"]})
    assert same(best["weights"], last["weights"])
    assert not same(best["weights"], last["training"]["net"])


def test_divergence_is_an_error_and_nothing_is_overwritten(recipe: Recipe, tmp_path: Path) -> None:
    wild = recipe.replace({"lr": Schedule((0.0, 0.5), (0.05, 1e30)), "log_every": 1, "epochs": 2}, source="test")
    with pytest.raises(InputError, match=r"loss became .* epoch 1, step \d"):
        run(wild, toy_data([12] * 4), tmp_path)
    state = checkpoint.load(tmp_path / "last.pt")
    assert state["training"]["position"]["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in state["weights"].values())


@pytest.mark.parametrize("hold_out", ["none", "select"])
def test_a_last_step_that_ruins_the_network_is_no_success(recipe: Recipe, tmp_path: Path, hold_out: str) -> None:
    """One step: its loss is that of the weights before it."""
    settings = {"lr": 1e30, "epochs": 1, "batch_size": 600, "hold_out": hold_out}
    with pytest.raises(InputError, match=r"logits .*epoch 0.*--lr"):
        run(recipe.replace(settings, source="test"), toy_data([150] * 4), tmp_path)
    assert not {"last.pt", "best.pt"} & {path.name for path in tmp_path.iterdir()}


def test_data_that_does_not_fit(recipe: Recipe, tmp_path: Path) -> None:
    architecture = Architecture(model="small", num_classes=3, channels=1)
    with pytest.raises(InputError, match="toy has 4 classes, the network 3"):
        train(build_model(architecture), architecture, toy_data([12] * 4), recipe, out=tmp_path, seed=1, device=CPU)
    colour = Architecture(model="small", num_classes=4, channels=3)
    with pytest.raises(InputError, match="1 channels; the network expects 3"):
        train(build_model(colour), colour, toy_data([12] * 4), recipe, out=tmp_path, seed=1, device=CPU)


def test_a_single_image(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no training image"):
        run(recipe, toy_data([1, 0, 0, 0]), tmp_path)


def test_machines_of_different_kinds(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "gather_objects", lambda own: [own, ("bf16", own[1])])
    with pytest.raises(InputError, match=r"\(bf16, .* and float32, .*\): .*--precision float32$"):
        run(recipe, toy_data([12] * 4), tmp_path)


def test_a_folder_that_cannot_be_written(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        run(recipe, toy_data([12] * 4), tmp_path / "file" / "run")


@pytest.mark.medium
@pytest.mark.parametrize("name", TRAINED)
def test_every_method_trains_and_is_deterministic(name: str, recipe: Recipe, tmp_path: Path) -> None:
    """Two epochs at unequal classes, one of which is absent from most batches."""
    recipe = recipe.replace({"method": name}, source="test")
    data = toy_data([20, 16, 3])
    for out in ("one", "two"):
        run(recipe, data, tmp_path / out)
    one, two = (checkpoint.load(tmp_path / out / "best.pt") for out in ("one", "two"))
    assert same(one["weights"], two["weights"])
    assert all(torch.isfinite(tensor).all() for tensor in one["weights"].values())


def test_a_run_that_wrote_no_checkpoint_may_be_replaced(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    with pytest.raises(InputError, match="training diverged"):
        run(recipe.replace({"lr": 1e30, "log_every": 1}, source="test"), data, tmp_path)
    run(recipe, data, tmp_path)
    assert checkpoint.load(tmp_path / "last.pt")["recipe"]["lr"] == 0.05


def test_how_often_a_run_writes_is_no_other_run(recipe: Recipe, tmp_path: Path) -> None:
    data = toy_data([12] * 4)
    run(recipe, data, tmp_path)
    run(recipe.replace({"log_every": 7}, source="test"), data, tmp_path)


class TooFew(torch.nn.Module):
    """A network of one's own that does not know how many classes there are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(images.flatten(1))


def test_a_network_that_does_not_fit_is_refused_before_anything_is_written(recipe: Recipe, tmp_path: Path) -> None:
    architecture = Architecture(model="small", num_classes=4, channels=1)
    out = tmp_path / "run"
    with pytest.raises(InputError, match=r"\(2, 3\) .*\(2, 4\)"):
        train(TooFew(), architecture, toy_data([12] * 4), recipe, out=out, seed=1, device=CPU)
    with pytest.raises(InputError, match=r"images of shape \(1, 9, 9\)"):
        train(TooFew(), architecture, toy_data([12] * 4, size=9), recipe, out=out, seed=1, device=CPU)
    assert not out.exists()
