"""Blends of base and repair: arithmetic, figures, files, and that a stopped call is continued."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import toy_data, toy_split
from torch import Tensor

from faal import checkpoint
from faal.config import Recipe, Schedule
from faal.data import DataSet, hold_out
from faal.errors import InputError
from faal.models import Architecture, build_model, open_model
from faal.repair.blends import blended
from faal.study import frontier as study
from faal.study.frontier import Frontier, check_frontier, frontier, frontier_table
from faal.train.loop import train

CPU = torch.device("cpu")
ARCHITECTURE = Architecture(model="small", num_classes=3, channels=1, width=4)
ORIGIN = {"path": "base.pt", "sha256": "ab" * 32, "architecture": "small"}
DATA = toy_data([200] * 3)


def base() -> dict[str, Tensor]:
    return build_model(ARCHITECTURE, seed=1).state_dict()


SHORT = Recipe(
    method="faal-at", model="small", width=4, epochs=1, batch_size=100, lr=Schedule.constant(0.05), crop=1, flip=False,
    epsilon=0.1, step_size=0.05, steps=1, select_attack="pgd2",
)  # fmt: skip


@pytest.fixture
def short() -> Recipe:
    return SHORT


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("repairs") / "run"
    net = build_model(ARCHITECTURE, seed=1)
    train(net, ARCHITECTURE, DATA, SHORT, out=out, seed=3, device=CPU, origin=ORIGIN, quiet=True)
    return out


@pytest.fixture
def repaired(finished: Path, tmp_path: Path) -> Path:
    """The folder of a finished repair."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def drawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figure is drawn in one test: it takes longer than the rest."""
    if request.function is not test_the_files:
        monkeypatch.setattr(study, "save_figure", lambda figure, stem: [])


def evaluated(repaired: Path, recipe: Recipe, data: DataSet = DATA) -> Frontier:
    return frontier(base(), ORIGIN, data, recipe, out=repaired, seed=3, device=CPU)


def test_weights_and_statistics_are_interpolated_and_counters_are_not() -> None:
    before = {"w": torch.tensor([0.0, 1.0]), "running_mean": torch.tensor([2.0]), "count": torch.tensor(3)}
    after = {"w": torch.tensor([1.0, 1.0]), "running_mean": torch.tensor([4.0]), "count": torch.tensor(7)}
    quarter = blended(before, after, 0.25)
    assert quarter["w"].tolist() == [0.25, 1.0]
    assert quarter["running_mean"].tolist() == [2.5]
    assert quarter["count"].item() == 7
    for share, ends in ((0.0, before), (1.0, after)):
        assert torch.equal(blended(before, after, share)["w"], ends["w"])


@pytest.mark.medium
def test_the_files(repaired: Path, short: Recipe) -> None:
    found = evaluated(repaired, short)
    plain = json.loads((repaired / "frontier.json").read_text())
    assert plain == json.loads(json.dumps(found.to_json()))
    assert [b["share"] for b in plain["blends"]] == [0, 0.25, 0.5, 0.75, 1]
    assert [b["file"] for b in plain["blends"]] == [None, "blend-25.pt", "blend-50.pt", "blend-75.pt", "best.pt"]
    assert (plain["base"], plain["repair"]["sha256"]) == (ORIGIN, checkpoint.digest(repaired / "best.pt"))
    assert (plain["data"]["part"], plain["data"]["n"]) == ("select", 60)
    assert any(b["on_frontier"] for b in plain["blends"])
    assert all((repaired / f"frontier{end}").stat().st_size > 1000 for end in (".svg", ".pdf", ".png"))

    after = checkpoint.load(repaired / "best.pt")
    for percent in (25, 50, 75):
        state = checkpoint.load(repaired / f"blend-{percent}.pt")
        assert state["origin"] == {**ORIGIN, "share": 1 - percent / 100}
        assert state["recipe"] == after["recipe"]
        for name, tensor in state["weights"].items():
            want = blended(base(), after["weights"], percent / 100)[name]
            assert torch.equal(tensor, want)
        opened = open_model(repaired / f"blend-{percent}.pt", DATA)
        assert opened.threat.epsilon == short.epsilon


def test_the_repairs_figures_are_those_of_its_log(repaired: Path, short: Recipe) -> None:
    found = evaluated(repaired, short)
    log = [json.loads(line) for line in (repaired / "metrics.jsonl").read_text().splitlines()]
    (chosen,) = [row["select"] for row in log if row["event"] == "epoch"]
    repair = found.blends[-1].accuracies
    assert repair.average.value == pytest.approx(chosen["average"], abs=1e-6)
    assert repair.worst.value == pytest.approx(chosen["worst"], abs=1e-6)
    assert [entry.n for entry in repair.classes] == [20, 20, 20]
    assert repair.average.low < repair.average.value < repair.average.high
    assert (found.blends[0].name, found.blends[2].name, found.blends[4].name) == ("base", "1/2", "repair")
    assert frontier_table(found).row_count == 5


def test_only_withheld_images_are_used(repaired: Path, short: Recipe) -> None:
    """Another test part, and training images in the place of all but the withheld ones, change nothing."""
    assert DATA.train is not None
    split = hold_out(DATA.train.labels, DATA.classes, select=True, steer=False, seed=0)
    pixels = DATA.train.images.fetch(torch.arange(600))
    pixels[split.train] = 0.5
    other = replace(
        DATA, train=replace(DATA.train, images=type(DATA.train.images)(pixels)), test=toy_split([1] * 3, seed=9)
    )
    first = evaluated(repaired, short)
    (repaired / "frontier.json").unlink()
    again = evaluated(repaired, short, other)
    assert [blend.accuracies for blend in first.blends] == [blend.accuracies for blend in again.blends]


def test_a_stopped_call_is_continued(repaired: Path, short: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = study._evaluate, []

    def counted(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "_evaluate", counted)
    with pytest.raises(KeyboardInterrupt):
        evaluated(repaired, short)
    assert len(json.loads((repaired / "frontier.json").read_text())["blends"]) == 2
    full = evaluated(repaired, short)
    assert len(calls) == 3 + 3
    assert evaluated(repaired, short) == full
    assert len(calls) == 6

    (repaired / "blend-50.pt").unlink()  # a blend whose file is missing is made again
    assert evaluated(repaired, short) == full
    assert len(calls) == 7
    (repaired / "frontier.json").write_text("{")  # as are all, where the record cannot be read
    assert evaluated(repaired, short) == full
    assert len(calls) == 12

    for name in ("blend-25.pt", "blend-75.pt"):  # a damaged blend too
        content = bytearray((repaired / name).read_bytes())
        content[len(content) // 2] ^= 1
        (repaired / name).write_bytes(content)
    assert evaluated(repaired, short) == full
    assert len(calls) == 14
    record = (repaired / "frontier.json").read_text()
    value = f'"value": {full.blends[2].accuracies.average.value}'
    (repaired / "frontier.json").write_text(record.replace(value, '"value": 0.123'))  # and where a value is not its own
    assert evaluated(repaired, short) == full
    assert len(calls) == 19


def test_another_name_of_the_base_or_the_data_changes_nothing(
    repaired: Path, short: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluated(repaired, short)
    monkeypatch.setattr(study, "_evaluate", None)
    moved = {**ORIGIN, "path": "renamed.pt"}
    found = frontier(base(), moved, replace(DATA, name="moved"), short, out=repaired, seed=3, device=CPU)
    assert found.blends == first.blends
    assert found.settings["base"]["path"] == "renamed.pt"


def test_another_repair_in_the_folder_is_evaluated_anew(repaired: Path, short: Recipe) -> None:
    first = evaluated(repaired, short)
    state = checkpoint.load(repaired / "best.pt")
    weights = {name: t * 1.5 if t.is_floating_point() else t for name, t in state["weights"].items()}
    checkpoint.save(repaired / "best.pt", {**state, "weights": weights})
    second = evaluated(repaired, short)
    assert second.settings["repair"]["sha256"] != first.settings["repair"]["sha256"]
    half = checkpoint.load(repaired / "blend-50.pt")["weights"]
    assert all(torch.equal(half[name], tensor) for name, tensor in blended(base(), weights, 0.5).items())


@pytest.mark.parametrize(
    ("settings", "counts", "message"),
    [
        ({"hold_out": "none"}, [200] * 3, "none of toy are withheld .Nothing was held out"),
        ({"select": "last"}, [200] * 3, "none of toy are withheld"),
        ({"select_on": "test"}, [200] * 3, "none of toy are withheld"),
        ({}, [200, 200, 20], "fewer than 200"),
    ],
)
def test_no_withheld_images(settings: dict[str, str], counts: list[int], message: str, short: Recipe) -> None:
    with pytest.raises(InputError, match=f"--frontier .*withheld images.*{message}") as caught:
        check_frontier(toy_data(counts), short.replace(settings, source="test"))
    assert "\n" not in str(caught.value)


def test_withheld_images_whatever_the_epoch_was_chosen_on(short: Recipe) -> None:
    for settings in ({"select": "last"}, {"select_on": "test"}):
        check_frontier(DATA, short.replace({"hold_out": "both", **settings}, source="test"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "on training images withheld for the choice of the epoch, not on the test set."),
        ({"hold_out": "both", "select": "last"}, "not on the test set; the repair's epoch is its last."),
        ({"hold_out": "both", "select_on": "test"}, "the repair's epoch was chosen on test images."),
    ],
)
def test_the_record_states_how_the_epoch_was_chosen(
    settings: dict[str, str], said: str, repaired: Path, short: Recipe
) -> None:
    """And that the base, whose training data are unknown, may have been trained on the images."""
    evaluated(repaired, short.replace(settings, source="test"))
    record = json.loads((repaired / "frontier.json").read_text())
    assert record["seen"]
    assert record["blended"].endswith(f"{said} {study.MAYBE_TRAINED_ON}")


def test_offsets_that_were_chosen_on_the_same_images(short: Recipe, tmp_path: Path) -> None:
    """Record and table state it; without a search for offsets neither does."""
    chosen = short.replace({"offsets": True}, source="test")
    net = build_model(ARCHITECTURE, seed=1)
    train(net, ARCHITECTURE, DATA, chosen, out=tmp_path, seed=3, device=CPU, origin=ORIGIN, quiet=True)
    found = evaluated(tmp_path, chosen)
    assert study.OFFSETS_CHOSEN in json.loads((tmp_path / "frontier.json").read_text())["blended"]
    title = str(frontier_table(found).title)
    assert title.endswith(f". {study.OFFSETS_CHOSEN} {study.MAYBE_TRAINED_ON}")


def test_a_base_that_was_not_trained_on_them(short: Recipe, tmp_path: Path) -> None:
    train(build_model(ARCHITECTURE, seed=1), ARCHITECTURE, DATA, short, out=tmp_path / "base", seed=1, device=CPU)
    opened = open_model(tmp_path / "base", DATA)
    weights = {name: tensor.clone() for name, tensor in opened.net.state_dict().items()}
    train(opened.net, ARCHITECTURE, DATA, short, out=tmp_path / "run", seed=3, device=CPU, origin=opened.record)
    found = frontier(weights, opened.record, DATA, short, out=tmp_path / "run", seed=3, device=CPU)
    assert not found.settings["seen"]
    assert found.settings["blended"].endswith("not on the test set.")
    assert study.OFFSETS_CHOSEN not in str(frontier_table(found).title)
    assert study.MAYBE_TRAINED_ON not in str(frontier_table(found).title)


@pytest.mark.parametrize("content", [None, "precision: [", "seed: 3", "7", "precision: half"])
def test_a_folder_that_does_not_state_its_precision(content: str | None, repaired: Path, short: Recipe) -> None:
    (repaired / "config.yaml").unlink()
    if content is not None:
        (repaired / "config.yaml").write_text(content)
    with pytest.raises(InputError, match=r"config\.yaml .*precision .* damaged") as caught:
        evaluated(repaired, short)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("architecture", "it lacks 'architecture'"),
        ("weights", "does not contain the weights"),
        ("epoch", "it lacks 'epoch'"),
        ("held_out", "it lacks 'held_out'"),
    ],
)
def test_a_damaged_repair(lost: str, said: str, repaired: Path, short: Recipe) -> None:
    state = checkpoint.load(repaired / "best.pt")
    checkpoint.save(repaired / "best.pt", {name: value for name, value in state.items() if name != lost})
    with pytest.raises(InputError, match=said):
        evaluated(repaired, short)


def test_a_folder_of_another_network(repaired: Path, short: Recipe) -> None:
    other = build_model(replace(ARCHITECTURE, width=8), seed=1).state_dict()
    with pytest.raises(InputError, match=r"not a repair of base\.pt"):
        frontier(other, ORIGIN, DATA, short, out=repaired, seed=3, device=CPU)


def test_no_other_blend_is_better_than_one_on_the_frontier(repaired: Path, short: Recipe) -> None:
    found = evaluated(repaired, short)
    points = np.array([(b.accuracies.average.value, b.accuracies.worst.value) for b in found.blends])
    for point, on in zip(points, found.best, strict=True):
        beaten = any((other >= point).all() and (other > point).any() for other in points)
        assert on != beaten
