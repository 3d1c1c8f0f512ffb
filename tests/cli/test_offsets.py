"""Offsets on the command line: chosen, audited, exported, and rejected where nothing is trained."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tests.cli.conftest import Faal, arrays

from faal import checkpoint
from faal.cli.train import _offsets
from faal.train.outcome import OffsetEvaluation, OffsetSearch
from faal.train.selection import HeldOutAccuracy

CLASSES = 3
SHORT = ("--select-attack", "cw2", "--device", "cpu")

OWN = """
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
"""


@pytest.fixture
def base(work: Path) -> Path:
    """A user's network that uses the pixel that is bright in a class, and is biased to the last class; 200 images of
    each class, whose pixel differs by more than the attack can change."""
    rng = np.random.default_rng(1)
    parts = {}
    for part, count in (("train", 200 * CLASSES), ("test", 20 * CLASSES)):
        labels = np.arange(count) % CLASSES
        images = 0.5 * rng.random((count, 8, 8), dtype=np.float32)
        images[np.arange(count), labels, 0] += 0.4
        parts |= {f"x_{part}": images, f"y_{part}": labels}
    arrays(work, **parts)
    (work / "mine.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))\n"
    )
    weight = torch.zeros(CLASSES, 64)
    weight[torch.arange(CLASSES), 8 * torch.arange(CLASSES)] = 10
    torch.save({"1.weight": weight, "1.bias": torch.tensor([0.0, 0.0, 3.0])}, work / "net.pth")
    return work / "net.pth"


@pytest.mark.medium
@pytest.mark.usefixtures("base")
def test_a_repair_without_training(work: Path, faal: Faal) -> None:
    theirs = ("--data", "npz:data.npz", "--model", "mine:net")
    against = ("--epsilon", "0.1")
    said = faal("repair", "net.pth", *theirs, *against, "--method", "offsets", *SHORT, "--out", "mended")
    assert said.status == 0, said.err
    assert "repaired by cifar10-prn18-offsets-repair, against linf epsilon 0.1" in said.err
    lines = said.out.splitlines()
    offsets = checkpoint.load(work / "mended" / "best.pt")["weights"]["offsets"]
    assert offsets[2] < offsets[:2].min()
    listed = ", ".join(f"{name} {offset:+.3f}" for name, offset in enumerate(offsets.tolist()))
    assert f"offsets: {listed}" in lines
    events = [json.loads(row) for row in (work / "mended" / "metrics.jsonl").read_text().splitlines()[:-1]]
    before = events[0]["accuracy"]
    after = next(row["accuracy"] for row in events if row["offsets"] == offsets.tolist())
    (results,) = (line for line in lines if "on the 60 images that they were chosen on" in line)
    for figures, end in ((before, "before"), (after, "after")):
        name = figures["classes"].index(figures["worst"])
        average, worst = (f"{100 * figures[part]:.1f}" for part in ("average", "worst"))
        assert f"average {average}, worst class {worst} ({name}) {end}" in results
    average, worst = (100 * (after[part] - before[part]) for part in ("average", "worst"))
    assert any(f"average {average:+.1f}, worst class {worst:+.1f} points" in line for line in lines)
    # The same command again reports the recorded result.
    network = (work / "mended" / "best.pt").stat().st_mtime_ns
    again = faal("repair", "net.pth", *theirs, *against, "--method", "offsets", *SHORT, "--out", "mended")
    assert again.out == said.out
    assert (work / "mended" / "best.pt").stat().st_mtime_ns == network
    assert lines[-1].startswith("next: faal audit mended --data npz:data.npz")
    assert yaml.safe_load((work / "mended" / "config.yaml").read_text())["recipe"]["method"] == "offsets"

    # An audit of the network with offsets is one of the network whose bias has them.
    assert faal("export", "mended", "folded.pth", "--model", "mine:net").status == 0
    attacks = ("--attacks", "clean,pgd5,cw5", "--device", "cpu", "--data", "npz:data.npz")
    audits = {
        "mended": ("audit", "mended", "--model", "mine:net", *attacks, "--out", "a"),
        "folded": ("audit", "folded.pth", "--model", "mine:net", *attacks, *against, "--out", "b"),
        "base": ("audit", "net.pth", "--model", "mine:net", *attacks, *against, "--out", "c"),
    }
    for arguments in audits.values():
        said = faal(*arguments)
        assert said.status == 0, said.err
    ours, folded, before = (np.load(f"{place}/verdicts.npz") for place in "abc")
    assert all(np.array_equal(ours[name], folded[name]) for name in ours.files)

    def worst(verdicts: np.lib.npyio.NpzFile) -> float:
        return float(min(verdicts["cw5_correct"][verdicts["label"] == c].mean() for c in range(CLASSES)))

    assert worst(ours) > worst(before)


def tried(offset: float, average: float, *groups: float) -> OffsetEvaluation:
    accuracy = HeldOutAccuracy(average=average, worst=min(groups), classes=list(groups))
    return OffsetEvaluation(offsets=(offset, -offset), accuracy=accuracy, by_class=accuracy)


def test_the_summary_states_what_rises_and_what_falls() -> None:
    """One image of 2,000 is visible; the worst class or group is named; so is a search without a result."""
    before, after = tried(0, 0.579, 0.948, 0.21), tried(0.5, 0.5785, 0.7075, 0.4495)
    found = OffsetSearch(before=before, after=after, images=2000, rule="sum")
    text = _offsets(found, ("cat", "dog"), ("cat", "dog"))
    assert "average 57.90, worst class 21.00 (dog) before; average 57.85, worst class 44.95 (dog) after" in text
    assert "average -0.05, worst class +23.95 points" in text
    assert text.endswith("+23.90")
    grouped = _offsets(replace(found, rule="worst"), ("cat", "dog"), ("A", "B"))
    assert "worst group 21.00 (B)" in grouped
    assert grouped.endswith("chosen by worst group")
    unchanged = _offsets(replace(found, after=before), ("cat", "dog"), ("cat", "dog"))
    assert "average plus worst class by one image or more: the logits are unchanged" in unchanged
    assert "after" not in unchanged


@pytest.mark.usefixtures("base")
def test_on_top_of_a_method(work: Path, faal: Faal) -> None:
    given = ("net.pth", "--data", "npz:data.npz", "--model", "mine:net", "--epsilon", "0.1", *SHORT)
    short = ("--epochs", "1", "--steps", "1", "--crop", "0", "--flip", "false")
    said = faal("repair", *given, *short, "--offsets", "--frontier", "--out", "both")
    assert said.status == 0, said.err
    assert "contains the network of epoch 0 with its offsets" in said.out
    state = checkpoint.load(work / "both" / "best.pt")
    assert state["architecture"]["offsets"]
    half = checkpoint.load(work / "both" / "blend-50.pt")["weights"]
    assert torch.allclose(half["offsets"], state["weights"]["offsets"] / 2)
    first = torch.load("net.pth", weights_only=True)["1.weight"]
    assert torch.allclose(half["net.1.weight"], (first + state["weights"]["net.1.weight"]) / 2)


@pytest.mark.medium
@pytest.mark.usefixtures("base")
def test_offsets_beside_weights_without_a_bias(work: Path, faal: Faal) -> None:
    """The exported file is audited as the run is, and repaired with its offsets; a plain state_dict is rejected."""
    (work / "plain.py").write_text(OWN.replace("64, 3", "64, 3, bias=False"))
    torch.save({"1.weight": torch.load("net.pth", weights_only=True)["1.weight"]}, "plain.pth")
    of, data = ("--model", "plain:net"), ("--data", "npz:data.npz")
    found = ("--normalize", "0.4:0.3", "--epsilon", "0.1", "--method", "offsets", *SHORT, "--out", "mended")
    said = faal("repair", "plain.pth", *of, *data, *found)
    assert said.status == 0, said.err
    state = checkpoint.load(work / "mended" / "best.pt")
    offsets = torch.tensor([1.5, 0.0, -4.25])
    checkpoint.save(work / "mended" / "best.pt", state | {"weights": state["weights"] | {"offsets": offsets}})

    rejected = faal("export", "mended", "mended.pth", *of)
    assert (rejected.status, rejected.err.count("\n"), (work / "mended.pth").exists()) == (2, 1, False)
    said = faal("export", "mended", "mended.safetensors", *of)
    assert said.status == 0, said.err
    assert all(f"{offset:.6g}" in said.out for offset in offsets.tolist())

    audit = (*of, *data, "--attacks", "clean,pgd5", "--epsilon", "0.1", "--device", "cpu")
    for weights, out in (("mended", "a"), ("mended.safetensors", "b")):
        said = faal("audit", weights, *audit, "--out", out)
        assert said.status == 0, said.err
    assert "offsets that mended.safetensors records" in said.err
    assert "normalised by 0.4:0.3" in said.err
    said = faal("audit", "plain.pth", *audit, "--normalize", "0.4:0.3", "--out", "c")
    assert said.status == 0, said.err
    run, exported, without = (np.load(f"{place}/verdicts.npz") for place in "abc")
    assert all(np.array_equal(run[name], exported[name]) for name in run.files)
    assert not np.array_equal(run["clean_correct"], without["clean_correct"])

    short = ("--epochs", "1", "--steps", "1", "--crop", "0", "--flip", "false", "--epsilon", "0.1", "--plain", *SHORT)
    said = faal("repair", "mended.safetensors", *of, *data, *short, "--out", "again")
    assert said.status == 0, said.err
    again = checkpoint.load(work / "again" / "best.pt")
    assert (again["architecture"]["offsets"], again["architecture"]["normalize"]) == (True, "0.4:0.3")
    assert torch.equal(again["weights"]["offsets"], offsets)


@pytest.mark.usefixtures("base")
def test_training_from_scratch_is_refused(work: Path, faal: Faal) -> None:
    said = faal("train", "debug", "--data", "npz:data.npz", "--method", "offsets", "--out", "none")
    assert said.status == 2
    assert said.err.count("\n") <= 2
    assert "faal repair CHECKPOINT --method offsets" in said.err
    assert not (work / "none").exists()
