import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from faal.errors import InputError
from faal.report.files.demo import ATTACKS, ROLES, is_demo, read_demo, robust_accuracy, t_interval
from faal.report.files.read import read_run
from faal.report.sections import demo as demo_section

Write = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_t_interval_against_scipy(count: int) -> None:
    values = np.random.default_rng(count).random(count)
    low, high = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    found = t_interval(values.tolist(), 0.95)
    np.testing.assert_allclose([found.value, found.low, found.high], [values.mean(), low, high], rtol=1e-10)


def test_one_seed_has_no_interval() -> None:
    found = t_interval([0.3], 0.95)
    assert found.value == 0.3
    assert np.isnan([found.low, found.high]).all()


def test_read(tmp_path: Path, demo_folder: Write) -> None:
    content = demo_folder(tmp_path, seeds=(3, 1))
    demo = read_demo(tmp_path)
    assert is_demo(tmp_path)
    assert demo.seeds == (3, 1)
    for role in ROLES:
        assert [point.worst for point in demo.points[role]] == [entry[role]["worst"] for entry in content["seeds"]]
        assert demo.autoattack[role].average == content["autoattack"][role]["average"]
        assert demo.first[role].name == role


def test_differences_are_paired_by_seed(tmp_path: Path, demo_folder: Write) -> None:
    content = demo_folder(tmp_path)
    gains = [entry["repaired"]["worst"] - entry["control"]["worst"] for entry in content["seeds"]]
    found = demo_section.difference(read_demo(tmp_path), "repaired", "control", "worst", 0.95)
    assert found == t_interval(gains, 0.95)


@pytest.mark.medium
def test_without_autoattack(tmp_path: Path, demo_folder: Write) -> None:
    content = demo_folder(tmp_path)
    del content["autoattack"]
    (tmp_path / "demo.json").write_text(json.dumps(content))
    demo = read_demo(tmp_path)
    foot = demo_section.seeds_section(demo, 0.95).tables[0].foot
    assert [row[0].text for row in foot] == ["Mean", "Change from base"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"seeds": []}, "has no seed"),
        ({}, "not a demo's result"),
        ({"seeds": [{"seed": 0, "base": {"average": 1, "worst": 1}}]}, "not a demo's result .*control"),
        ({"seeds": "soon"}, "not a demo's result"),
    ],
)
def test_damaged(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    (tmp_path / "demo.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_demo(tmp_path)


def test_accuracies_that_do_not_follow_from_the_verdicts(tmp_path: Path, demo_folder: Write) -> None:
    """Of every seed whose runs are there, and of AutoAttack; without the runs, what no verdicts could give."""
    content = demo_folder(tmp_path, attacks=(*ATTACKS, "autoattack", "all"))
    for role in ROLES:
        verdicts = read_run(tmp_path / "seed-0" / role).verdicts
        assert verdicts is not None
        content["seeds"][0][role] = asdict(robust_accuracy(verdicts.label, verdicts.correct, ATTACKS))
        content["autoattack"][role] = asdict(robust_accuracy(verdicts.label, verdicts.correct, ["autoattack"]))
    path = tmp_path / "demo.json"
    path.write_text(json.dumps(content))
    read_demo(tmp_path)
    for entry in (content["seeds"][0], content["seeds"][2], content["autoattack"]):
        for role in ROLES:
            kept = entry[role]
            changes = [{"worst": 1.5}, {"worst": -0.1}, {"average": None}, {"average": kept["worst"] / 2}]
            for change in changes if entry is content["seeds"][2] else [*changes, {"worst": kept["worst"] - 0.01}]:
                entry[role] = {**kept, **change}
                path.write_text(json.dumps(content))
                with pytest.raises(InputError, match=f"/{role} that do not follow from its verdicts"):
                    read_demo(tmp_path)
            entry[role] = kept
