"""The docs' figures are the benchmarks' files, and the benchmarks' arithmetic is right."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats
from tests.helpers.benches import script

ROOT = Path(__file__).parents[3]


def test_the_results_page_is_made_from_the_files() -> None:
    assert (ROOT / "docs" / "results.md").read_text(encoding="utf-8") == script("tables").page()


def test_the_performance_page_is_made_from_the_files() -> None:
    assert (ROOT / "docs" / "performance.md").read_text(encoding="utf-8") == script("performance").page()


@pytest.mark.parametrize("name", ["results", "performance"])
def test_the_pages_print_commands_of_today(name: str) -> None:
    """Results keep the command of their commit; on a page every one names a module that is there."""
    page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"python -m (benchmarks[\w.]*)", page))
    assert len(modules) > 5
    assert all(importlib.util.find_spec(module) for module in modules)
    assert set(re.findall(r"python (benchmarks/\S+)", page)) == {"benchmarks/NAME.py`."}


def test_an_old_command_is_translated() -> None:
    old = {"command": "OMP_NUM_THREADS=1 python benchmarks/step.py --nets prn18:16"}
    assert script("tables").command(old) == "OMP_NUM_THREADS=1 python -m benchmarks.speed.step --nets prn18:16"
    new = {"command": "faal reproduce table2 --scale tiny"}
    assert script("tables").command(new) == new["command"]


def test_paired_interval_is_students() -> None:
    before, after = [0.2, 0.3, 0.25, 0.4], [0.3, 0.35, 0.4, 0.45]
    found = script("digits").paired(before, after)
    reference = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(np.subtract(after, before)))
    assert (found["low"], found["high"]) == pytest.approx((reference.low, reference.high))


def test_the_smallest_difference_is_found_four_times_in_five() -> None:
    """Against the power of a paired t test from the noncentral t distribution, at the observed spread."""
    rng, n = np.random.default_rng(0), 5
    before, after = rng.normal(0.2, 0.02, n), rng.normal(0.25, 0.02, n)
    rows = [[{"attacks": {"all": {"worst": value}}} for value in values] for values in (before, after)]
    found = script("quirks").compared(*rows, "all", "worst")
    reference = stats.ttest_rel(after, before).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((reference.low, reference.high))
    error = (after - before).std(ddof=1) / np.sqrt(n)
    power = stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, found["detectable"] / error)
    assert power == pytest.approx(0.8, abs=0.03)


def audited(
    runs: Path, name: str, worst: float, *, n: int = 40, attacks: tuple[str, ...] = ("clean", "all"), commit: str = "c"
) -> None:
    (runs / name).mkdir()
    figure = {"average": {"value": 0.5}, "worst": {"class": "cat", "value": worst, "correct": 3}, "worst_tenth": None}
    audit = {"data": {"n": n, "fingerprint": f"f{n}"}, "engine": "fast", "attacks": dict.fromkeys(attacks, figure),
            "environment": {"command": "x", "commit": commit}}  # fmt: skip
    (runs / name / "audit.json").write_text(json.dumps(audit))


def test_repairs_are_paired_by_seed(tmp_path: Path) -> None:
    """Of the seeds that an arm has in common with the control; audits of other images are rejected."""
    repairs = script("repairs")
    worst = {
        "base-1": 0.0,
        "control-1": 0.1,
        "control-2": 0.2,
        "faal-1": 0.3,
        "faal-2": 0.3,
        "faal-3": 0.9,
        "plus-10": 0.4,
    }
    for name, value in worst.items():
        audited(tmp_path, name, value)
    result = repairs.collected(tmp_path, "small")
    assert list(result["arms"]) == ["base", "control", "faal", "plus"]
    assert [row["seed"] for row in result["arms"]["faal"]["seeds"]] == [1, 2, 3]
    assert result["arms"]["base"]["seeds"][0]["attacks"]["all"]["worst"] == {"class": "cat", "value": 0.0}
    reference = stats.ttest_rel([0.3, 0.3], [0.1, 0.2]).confidence_interval(0.95)
    expected = f"worst class +15.0 ({100 * reference.low:+.1f} to {100 * reference.high:+.1f}), 2 seeds"
    assert repairs.differences("small", result["arms"], "faal").endswith(expected)
    assert repairs.differences("small", result["arms"], "plus") == ""
    page = "\n".join(repairs.section("small", result, "made"))
    assert "| FAAL_AT | 3 | 50.0 (50.0) | 50.0 (50.0) |" in page
    assert "nothing is claimed about a worst class" in page


def test_what_was_collected_before_stays(tmp_path: Path) -> None:
    """Runs of another occasion join those of an earlier one, if they were judged on the same images."""
    repairs = script("repairs")
    first, second, third = (tmp_path / name for name in "abc")
    for folder in (first, second, third):
        folder.mkdir()
    with pytest.raises(SystemExit, match=r"audit\.json .*small: base, control"):
        repairs.collected(first, "small")
    for name, value in {"base-1": 0.0, "control-1": 0.1, "faal-1": 0.3}.items():
        audited(first, name, value)
    before = json.loads(json.dumps(repairs.collected(first, "small")))
    audited(second, "faal-1", 0.4, commit="d")
    audited(second, "faal-2", 0.5, commit="d")
    result = repairs.collected(second, "small", before)
    assert list(result["arms"]) == ["base", "control", "faal"]
    found = [(row["seed"], row["attacks"]["all"]["worst"]["value"]) for row in result["arms"]["faal"]["seeds"]]
    assert found == [(1, 0.4), (2, 0.5)]
    assert "made Some runs are of `c`." in "\n".join(repairs.section("small", result, "made"))
    audited(third, "faal-3", 0.9, n=41)
    with pytest.raises(SystemExit, match="evaluated on different images"):
        repairs.collected(third, "small", before)


def test_repairs_of_the_plan_are_printed_beside_the_papers(tmp_path: Path) -> None:
    """The base alone of its seeds; AutoAttack where it ran, with the number of seeds where not all were judged."""
    repairs = script("repairs")
    for name, worst in {"prn18-1": 0.2, "prn18-2": 0.9, "prn18-control-1": 0.2, "prn18-faal-at-awp-1": 0.4}.items():
        audited(tmp_path, name, worst, n=10_000, attacks=("clean", "autoattack", "all"))
    for seed, attacks in ((1, ("clean", "autoattack", "all")), (2, ("clean", "all"))):
        audited(tmp_path, f"prn18-faal-at-{seed}", 0.3, n=10_000, attacks=attacks)
    page = "\n".join(repairs.section("prn18", repairs.collected(tmp_path, "prn18"), "made"))
    assert "| arm | seeds | clean | AutoAttack | all attacks | paper: clean | paper: AutoAttack |" in page
    assert "| the base | 1 | 50.0 (20.0) | 50.0 (20.0) | 50.0 (20.0) | 86.1 (69.7) | 52.5 (24.4) |" in page
    assert "| FAAL_AT | 2 | 50.0 (30.0) | 50.0 (30.0), of 1 | 50.0 (30.0) | 86.2 (69.7) | 50.8 (35.7) |" in page
    assert "| FAAL_AT-AWP | 1 | 50.0 (40.0) | 50.0 (40.0) | 50.0 (40.0) | 85.5 (69.4) | 52.5 (36.9) |" in page
    assert "10,000 test images" in page
    assert "nothing is claimed" not in page


def test_the_search_is_judged_by_the_logs(tmp_path: Path) -> None:
    """On withheld images, in the epoch that was chosen: the one with the highest average + worst class."""
    repairs = script("repairs")
    for name, worst in {"prn18-faal-at-1": 0.1, "prn18-faal-at-2": 0.1, "plus-cw-1": 0.3, "plus-cw-2": 0.2}.items():
        folder = tmp_path / name
        folder.mkdir()
        config = {"recipe": {"select_attack": "cw10"}, "data": {"held_out": 2000, "fingerprint": "f"}}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / "environment.json").write_text(json.dumps({"command": "x", "commit": "c"}))
        (folder / "best.pt").touch()
        epochs = [(0.4, worst), (0.6, worst - 0.05), (0.5, 0.0)]
        lines = [{"event": "batch", "epoch": 0}]
        lines += [{"event": "epoch", "select": {"average": a, "worst": w, "classes": [w]}} for a, w in epochs]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = "\n".join(repairs.section("search", repairs.collected(tmp_path, "search"), "made"))
    assert "evaluated on the 2,000 training images withheld" in page
    assert "| FAAL_AT | 2 | 60.0 (5.0) |" in page
    assert "| every other batch attacked on the margin | 2 | 60.0 (20.0) |" in page
    assert "under withheld images" not in page
    assert "- every other batch attacked on the margin: average +0.0 (+0.0 to +0.0), worst class +15.0" in page


def test_the_studies_are_of_the_plans_networks() -> None:
    """Every arm at the paper's scale is a network of `runs.yaml`, so that no finished run is left out for its name."""
    content = yaml.safe_load((ROOT / "benchmarks" / "experiments" / "runs.yaml").read_text(encoding="utf-8"))
    plan = script("plan").Plan(content, "paper")
    networks = plan.networks
    arms = {name.rpartition("-")[0] for name in networks}
    studies = {name: study for name, study in script("repairs").STUDIES.items() if name != "small"}
    for study in studies.values():
        assert study.base in networks
        assert {study.control, *study.compared} <= set(study.arms)
        assert len(arms & set(study.arms)) >= 3
    named = {arm for study in studies.values() for arm in study.arms}
    repaired = {item.name.rpartition("-")[0] for item in plan.items.values() if item.command[0] == "repair"}
    assert {arm for arm in repaired if not arm.startswith(("prn18-base-", "rn18-"))} <= named


def test_repairs_of_other_bases_are_compared_with_their_control(tmp_path: Path) -> None:
    """Of what was finished: an arm without a partner has no difference, a base without runs no table."""
    bases = script("bases")
    figure = {"average": 0.3, "worst": 0.1}
    for name, seed, worst in ((bases.BASE, 1, 0.05), (bases.CONTROL, 1, 0.1), (bases.CONTROL, 2, 0.2),
                              (bases.FAAL, 1, 0.3), (bases.FAAL, 2, 0.3), (bases.AWP, 3, 0.9)):  # fmt: skip
        folder = bases.folder_of(tmp_path / "TRADES", name, seed)
        folder.mkdir(parents=True)
        attacks = dict.fromkeys(("clean", "pgd10", "cw10", "all"), figure | {"worst": worst})
        (folder / "withheld.json").write_text(json.dumps({"seed": seed, "n": 4000, "attacks": attacks}))
    found = bases.collected(tmp_path, 2)
    assert {name: [row["seed"] for row in rows] for name, rows in found["TRADES"].items()} == {
        bases.BASE: [1], bases.CONTROL: [1, 2], bases.FAAL: [1, 2],
    }  # fmt: skip
    assert list(found) == ["TRADES"]
    differences = {"TRADES": {bases.FAAL: bases.against(found["TRADES"][bases.CONTROL], found["TRADES"][bases.FAAL])}}
    result = {"base images": 30_000, "images": 10_000, "epochs": 4, "trained at": ["a"], "withheld": found,
              "differences": differences}  # fmt: skip
    page = "\n".join(bases.section(result, "made"))
    assert "From TRADES:" in page
    assert "4,000 training images that neither bases nor repairs were trained on, about 400 of a class" in page
    reference = stats.ttest_rel([0.3, 0.3], [0.1, 0.2]).confidence_interval(0.95)
    interval = f"+15.0 ({100 * reference.low:+.1f} to {100 * reference.high:+.1f})"
    assert (
        f"| FAAL_AT | 2 | 30.0 (30.0) | 30.0 (30.0) | 30.0 (30.0) | 30.0 (30.0) | +0.0 (+0.0 to +0.0) | {interval} |"
        in page
    )


def test_candidates_are_chosen_on_withheld_images_alone() -> None:
    """The highest average + worst class over the seeds, the first of equals; other arms and the test have no say."""
    plus = script("plus")

    def row(seed: int, average: float, worst: float) -> dict[str, Any]:
        figure = {"average": average, "worst": worst}
        return {"seed": seed, "n": 4000, "attacks": dict.fromkeys(("clean", "pgd10", "cw10", "cw20", "all"), figure)}

    first, second, third = list(plus.CANDIDATES)[:3]
    rows = {name: [row(1, 0.3, 0.1), row(2, 0.3, 0.1)] for name in plus.CANDIDATES}
    assert plus.chosen(rows) == first == plus.FAAL
    rows |= {second: [row(1, 0.2, 0.4), row(2, 0.3, 0.1)], third: [row(1, 0.3, 0.2), row(2, 0.3, 0.1)]}
    assert plus.chosen(rows | {next(iter(plus.FURTHER)): [row(1, 0.9, 0.9)]}) == second

    found = plus.against(rows[first], [*rows[third], row(3, 0.9, 0.9)])
    reference = stats.ttest_rel([0.2, 0.1], [0.1, 0.1]).confidence_interval(0.95)
    assert (found["all worst"]["low"], found["all worst"]["high"]) == pytest.approx((reference.low, reference.high))
    assert plus.against(rows[first], [row(1, 0.9, 0.9)]) == {}
    test = {plus.BASE: [row(1, 0.3, 0.0)], first: rows[first], second: rows[second]}
    result = {
        "trained at": ["a", "b"], "training images": 10_000, "choosing": 2, "chosen": second,
        "withheld": rows, "test": test,
        "differences": {
            "withheld": {third: found},
            "test": {f"{second} - {first}": plus.against(rows[first], rows[second])},
        },
    }  # fmt: skip
    page = "\n".join(plus.section(result, "made"))
    assert f"| {third} | 2 | 30.0 (15.0) | 30.0 (15.0) | 30.0 (15.0) | 30.0 (15.0) | +0.0 (+0.0 to +0.0) | +5.0" in page
    assert f"“{second}” is chosen." in page
    assert "made The repairs were trained at `a`, `b`." in page
    assert f"| {second} | 2 | 25.0 (25.0) | 25.0 (25.0) |" in page
    assert f"- {second} - {first}: average -5.0" in page
    assert "It is not shown to be better" in page
    better = {
        "all average": {"mean": 0.1, "low": 0.0, "high": 0.2},
        "all worst": {"mean": 0.1, "low": 0.05, "high": 0.2},
    }
    won = result | {"differences": {"withheld": {}, "test": {f"{second} - {first}": better}}}
    assert "It is better than FAAL's repair" in "\n".join(plus.section(won, "made"))
    assert "no change is chosen" in "\n".join(plus.section(result | {"chosen": first}, "made"))


def test_the_arms_of_the_search_are_repairs() -> None:
    """Each differs from FAAL's repair by what it says, withholds nothing more, and ends with its last epoch."""
    plus = script("plus")
    plain = plus.recipe_of(plus.ARMS[plus.FAAL])
    assert (plain.method, plain.epochs, plain.tau.at(0), plain.hold_out, plain.select) == (
        "faal-at",
        2,
        0.5,
        "none",
        "last",
    )
    for arm in plus.ARMS.values():
        recipe = plus.recipe_of(arm)
        changed = {name for name, value in recipe.plain().items() if value != plain.plain()[name]}
        assert changed <= {"method", *arm.settings}
        assert changed or arm == plus.ARMS[plus.FAAL]
