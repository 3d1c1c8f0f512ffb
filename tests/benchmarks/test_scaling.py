"""`benchmarks/speed/scaling.py` in small, and what it predicts against figures worked out by hand."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.speed.cost import training_forwards
from tests.helpers.benches import BENCHMARKS, script

from faal.config import Recipe
from faal.models import Architecture, build_model


@pytest.fixture(scope="module")
def paper() -> Any:
    return script("paper")


def test_a_ring_by_hand(paper: Any) -> None:
    """1,000 parameters, 4,000 bytes, over 4 processes at 1,000 bytes and 0.01 s per hop.

    The gradients make 6 hops of 1,000 bytes: 6 (1 + 0.01) s. 80 bytes summed: 6 (0.02 + 0.01) s. 500 bytes broadcast:
    0.5 s and 3 hops.
    """
    messages = [paper.Message("all_reduce", 80), paper.Message("broadcast", 500)]
    found = paper.predicted(20.0, 1000, messages, 4, 1000.0, 0.01, hiding=0.25)
    assert found["gradients"] == pytest.approx(6.06)
    assert found["other messages"] == pytest.approx(0.18 + 0.53)
    assert found["without overlap"] == pytest.approx(20 + 0.71 + 6.06)
    assert found["with overlap"] == pytest.approx(20 + 0.71 + 6.06 - 5)
    hidden = paper.predicted(20.0, 1000, messages, 4, 1000.0, 0.01, hiding=0.5)
    assert hidden["with overlap"] == pytest.approx(20.71)  # never less than nothing


def test_further_buckets_cost_their_hops(paper: Any) -> None:
    """60 MiB of gradients: buckets of 1, 25, 25 and 9 MiB."""
    fast = paper.predicted(1.0, 15 * 2**20, [], 2, math.inf, 0.01)
    assert fast["gradients"] == pytest.approx(4 * 2 * 0.01)
    assert paper.predicted(1.0, 2**18, [], 2, math.inf, 0.01)["gradients"] == pytest.approx(2 * 0.01)


def test_one_process_says_nothing(paper: Any) -> None:
    messages = [paper.Message("all_reduce", 80), paper.Message("broadcast", 500)]
    found = paper.predicted(3.0, 10**7, messages, 1, 1.0, 1.0)
    assert found == {"gradients": 0, "other messages": 0, "without overlap": 3, "with overlap": 3}


def test_rows_on_paper(paper: Any) -> None:
    """PreActResNet-18: 11,172,170 parameters, 25.6 GFLOP an image. Strong scaling shares the batch, weak does not."""
    found = paper.on_paper("prn18", rate=1e14, step=None)
    assert found["parameters"] == 11_172_170
    assert found["compute"].startswith("not measured")
    rows = {(row["scaling"], row["GPUs"]): row for row in found["rows"]}
    assert rows["weak", 1]["compute"] == pytest.approx(128 * 25.6e9 / 1e14, rel=0.01)
    assert rows["strong", 1]["efficiency"] == {"without overlap": 1, "with overlap": 1}
    for count in (8, 64):
        strong, weak = rows["strong", count], rows["weak", count]
        assert weak["compute"] == pytest.approx(count * strong["compute"])
        assert (strong["images per GPU"], weak["images per GPU"]) == (128 / count, 128)
        for row in (strong, weak):
            assert 0 < row["efficiency"]["without overlap"] < row["efficiency"]["with overlap"] < 1
        # Twice 7/8 or 63/64 of 45 MB through the link, at the least.
        link = paper.RINGS[count]
        assert weak["gradients"] > 2 * (count - 1) / count * 4 * 11_172_170 / link.bandwidth
        assert strong["efficiency"]["with overlap"] < weak["efficiency"]["with overlap"]


def test_a_measured_step_is_taken(paper: Any) -> None:
    way = {"ways": {"ours": {"median": 0.25}}, "batch": 128, "attack steps": 10}
    step = {"environment": {"device": "GPU", "commit": "abc"}, "nets": {"prn18": way}}
    found = paper.on_paper("prn18", rate=1e14, step=step)
    assert found["compute"] == "measured: GPU, abc"
    assert found["rows"][0]["without overlap"] == 0.25
    assert paper.on_paper("rn18", rate=1e14, step=step)["compute"].startswith("not measured")
    way["attack steps"] = 7
    with pytest.raises(SystemExit, match="other batches or attacks"):
        paper.on_paper("prn18", rate=1e14, step=step)


def test_a_step_costs_what_it_is_priced_at(paper: Any) -> None:
    recipe = Recipe(method="faal-at", steps=paper.ATTACK_STEPS, epochs=1, hold_out="none")
    assert training_forwards(recipe, 1000, paper.CLASSES) == 1000 * paper.FORWARDS
    assert f"costs {paper.BACKWARD} of the {paper.FORWARDS} forwards" in paper.ASSUMED["with overlap"]


def test_a_step_of_a_cpu_is_refused_before_anything_is_measured(
    paper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaling = script("scaling")

    nets = {"prn18": {"ways": {"ours": {"median": 0.25}}, "batch": 128, "attack steps": 10}}
    file = tmp_path / "step.json"
    file.write_text(json.dumps({"environment": {"device": "cpu", "commit": "abc"}, "nets": nets}))
    monkeypatch.setattr(scaling, "measured", lambda settings: pytest.fail("it was measured"))
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--step", str(file), "--out", str(tmp_path / "out.json")])
    with pytest.raises(SystemExit, match="measured on a CPU"):
        scaling.main()


@pytest.mark.slow
def test_in_small(paper: Any, tmp_path: Path) -> None:
    """What was counted is what is put on paper for that network."""
    out = tmp_path / "scaling.json"
    small = ["--steps", "1", "--rounds", "2", "--width", "4", "--batch", "8", "--attack-steps", "1", "--no-threads"]
    command = [sys.executable, "-m", "benchmarks.speed.scaling", *small, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=BENCHMARKS.parent)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    found = result["measured"]["float32"]
    assert [len(way["seconds"]) for way in found["ways"].values()] == [2, 2]
    two = found["ways"]["2 processes, 1 thread each"]
    gain = found["times as fast as one thread"]["2 processes, 1 thread each"]
    assert found["efficiency"]["2 processes, 1 thread each"]["median"] == pytest.approx(gain["median"] / 2)
    assert 0 < two["step"]["least"] <= two["step"]["median"] <= two["step"]["most"]

    net = build_model(Architecture(model="prn18", num_classes=10, width=4))
    counted = [paper.Message(m["kind"], m["bytes"]) for m in found["a step of two says"]["messages"]]
    assert [message for message in counted if message.kind != "gradients"] == paper.messages_of(net)
    sent = sum(message.bytes for message in counted if message.kind == "gradients")
    # With a number for each tensor, which states whether it has a gradient.
    assert sent == 4 * sum(weight.numel() + 1 for weight in net.parameters())
    assert all(m["seconds"] > 0 for m in found["a step of two says"]["messages"])
    floats = [buffer for buffer in net.buffers() if buffer.dtype == torch.float32]
    assert paper.Message("broadcast", 4 * sum(buffer.numel() for buffer in floats)) in counted
    assert set(result["on paper"]["nets"]) == {"prn18", "wrn34-10"}
