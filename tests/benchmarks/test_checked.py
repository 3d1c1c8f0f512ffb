"""`docs/checked.md` is the figures, and the figures are judged as the page says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.checked import agreement, table
from benchmarks.checked.networks import NETWORKS, Audited
from torch import nn

from faal.audit import audit

STORED = json.loads(table.RESULTS.read_text(encoding="utf-8"))["networks"]


def test_the_page_is_made_from_the_figures() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.page()


def test_the_figures_are_of_the_plan() -> None:
    """Each is of an audit that the plan has, on as many images, and says where it was measured."""
    assert set(STORED) <= set(NETWORKS)
    for name, entry in STORED.items():
        plans: dict[str, Audited] = {plan.name: plan for plan in NETWORKS[name].audits}
        for audit_name, row in entry["audits"].items():
            plan = plans[audit_name]
            assert row["n"] == (plan.limit or 10_000)
            assert set(row["attacks"]) == {"clean", *plan.attacks.split(",")} | ({"all"} & set(row["attacks"]))
            assert not row["environment"]["commit"].endswith("dirty")
            for figure in row["attacks"].values():
                assert figure["value"] == figure["correct"] / row["n"]


def test_clean_accuracies_are_those_measured_elsewhere() -> None:
    for name, entry in STORED.items():
        clean, network = table.clean_of(entry), NETWORKS[name]
        if clean is not None and clean["n"] == 10_000 and network.clean is not None:
            assert f"{100 * clean['attacks']['clean']['value']:.2f}" == f"{network.clean:.2f}"


def test_every_robust_accuracy_above_the_published_one_is_explained() -> None:
    assert not [line for line in table.explanations(STORED) if line.endswith("not explained")]


def figures(value: float, n: int = 1000) -> dict[str, Any]:
    figure = {"value": value, "low": value - 0.03, "high": value + 0.03, "worst": {"class": "cat", "value": 0.1}}
    return {"n": n, "engine": "reference", "attacks": {"clean": figure, "pgd20": figure, "all": figure}}


@pytest.mark.parametrize(("value", "below"), [(0.5482, True), (0.5579, True), (0.5581, False), (0.9, False)])
def test_below_is_the_upper_end_of_the_published_interval(value: float, below: bool) -> None:
    """54.82 % of 10,000: 53.84 to 55.80 % by Clopper and Pearson (SciPy's binomtest)."""
    rows = list(table.measured_rows("ResNet-2B", {"audits": {"a": figures(value)}}))
    assert [(attack, found) for attack, _, _, found in rows] == [("pgd20", below)]


class Fickle(nn.Module):
    """Ten classes by the mean of the image; larger than 0.5 is the next class."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = x.flatten(1).mean(dim=1, keepdim=True) * 10 - torch.arange(10.0)
        return -(place**2)


@pytest.mark.usefixtures("_short")
def test_differences_are_listed_sample_by_sample() -> None:
    """A verdict that is changed by hand appears with its image, its class and both sides."""
    labels = torch.arange(10).repeat(2)
    images = (labels / 10)[:, None, None, None].expand(-1, 1, 8, 8) + torch.rand(20, 1, 1, 1) / 50
    net = Fickle()
    result = audit(net, images, labels, attacks="autoattack", epsilon=0.03, block_size=20)
    index = torch.arange(20)
    same = agreement.compared(net, images, labels, result, index + 100, 0.03)
    assert same["differences"] == []
    assert same["equal verdicts"] == same["n"] == 20
    changed = result.verdicts.predicted["autoattack"]
    changed[3] = 3 if changed[3] != 3 else 4
    (row,) = agreement.compared(net, images, labels, result, index + 100, 0.03)["differences"]
    assert (row["image"], row["class"]) == (103, 3)
    assert row["robust in the audit"] != row["robust in pyautoattack"]
    assert (row["margin of pyautoattack's example"] > 0) != row["robust in pyautoattack"]


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """AutoAttack with few steps and queries, wherever it is called."""
    import pyautoattack

    begin = pyautoattack.AutoAttack.__init__

    def brief(self: pyautoattack.AutoAttack, *words: object, **settings: object) -> None:
        begin(self, *words, **settings)
        self.apgd.n_iter = self.apgd_targeted.n_iter = self.fab.n_iter = 5
        self.square.n_queries = 20

    monkeypatch.setattr(pyautoattack.AutoAttack, "__init__", brief)


def test_the_page_says_what_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checked.json"
    path.write_text(json.dumps({"networks": {}}))
    monkeypatch.setattr(table, "RESULTS", path)
    assert table.page().count("not measured yet") == 2 * len(NETWORKS)
