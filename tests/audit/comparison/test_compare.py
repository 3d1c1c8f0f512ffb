import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, t, ttest_1samp
from tests.helpers.comparisons import BASE, CLASSES, LABEL, REPAIRED, made
from torch import Tensor

from faal.audit.comparison.compare import compare
from faal.audit.comparison.conclusion import conclusion
from faal.audit.estimates import estimates, group_accuracies, summarise
from faal.audit.records.result import AuditResult
from faal.audit.records.verdicts import Verdicts, with_all
from faal.audit.run import audit
from faal.audit.statistics.paired import holm, paired_bootstrap, paired_intervals, worst_difference_interval
from faal.data import Grouping
from faal.errors import InputError


def test_one_run_a_side_is_paired_by_sample() -> None:
    found = compare("base", [BASE], "repaired", [REPAIRED])
    assert found.runs == 1
    assert list(found.attacks) == ["clean", "pgd20", "all"]
    robust = found.attacks["all"]
    assert (robust.average.a, robust.average.b) == pytest.approx((0.5, 0.57))
    assert (robust.average.low, robust.average.high) == paired_bootstrap([25], [4], [300], 0.95, seed=0)
    assert robust.balanced.value == pytest.approx(robust.average.value)
    assert (robust.balanced.low, robust.balanced.high) == (robust.average.low, robust.average.high)  # equal classes
    assert (robust.worst.a, robust.worst.b, robust.worst.value) == pytest.approx((0.2, 0.45, 0.25))
    counts = ([70, 60, 20], [66, 60, 45], [0, 0, 25], [4, 0, 0], [100] * 3)
    assert (robust.worst.low, robust.worst.high) == pytest.approx(worst_difference_interval(*counts, 0.95))
    ant, bee, cat = robust.classes
    assert [entry.name for entry in (ant, bee, cat)] == CLASSES
    assert [entry.value for entry in (ant, bee, cat)] == pytest.approx([-0.04, 0, 0.25])
    assert [entry.p for entry in (ant, bee, cat)] == pytest.approx(
        holm([binomtest(0, 4).pvalue, 1, binomtest(0, 25).pvalue])
    )
    assert (cat.low, cat.high) == pytest.approx(paired_intervals(25, 0, 100, 1 - 0.05 / 3))


def test_the_conclusion_speaks_of_the_models_only() -> None:
    text = compare("base", [BASE], "repaired", [REPAIRED]).conclusion
    average = r"Under clean, pgd20 together, repaired is 7\.0 points above base \(\+3\.\d to \+10\.\d\) on average"
    assert re.match(average, text)
    assert "25.0 points above it" in text
    assert "corrected for all 3: cat (+25.0)." in text
    assert "Conclusion: repaired is better than base on average and in the worst class." in text
    assert "these two models, not their training methods" in text


def test_nothing_follows_from_no_difference() -> None:
    same = compare("base", [BASE], "again", [BASE]).conclusion
    assert "equal to base" in same
    assert "not established" in same
    assert "No single class differs" in same
    assert "Conclusion: on average and in the worst class neither is shown to be better." in same


def test_better_and_worse_are_told_apart() -> None:
    traded = made({"pgd20": [20, 20, 60]})
    text = compare("base", [made({"pgd20": [90, 80, 5]})], "traded", [traded]).conclusion
    assert "Conclusion: traded is better than base in the worst class; traded is worse than base on average." in text


def in_many_classes(right: list[int]) -> AuditResult:
    """40 classes of 10 samples, of each the first `right` are predicted correctly."""
    label, place = np.repeat(np.arange(40), 10), np.tile(np.arange(10), 40)
    predicted = with_all(label, {"clean": np.where(place >= np.repeat(right, 10), (label + 1) % 40, label)})
    names = [f"class {c}" for c in range(40)]
    settings = {"classes": names, "level": 0.95, "parameters": {}, "seconds": 1.0}
    return replace(
        BASE,
        data={**BASE.data, "n": 400, "classes": names},
        attacks={name: summarise(label, given, **settings) for name, given in predicted.items()},
        verdicts=Verdicts(label=label, index=np.arange(400), predicted=predicted),
    )


@pytest.mark.parametrize(("names", "shown", "count"), [(200, 20, 2), (25, 19, None), (60, 41, 5), (20, 20, 2)])
def test_an_audit_and_a_comparison_have_the_same_worst_tenth(names: int, shown: int, count: int | None) -> None:
    """That of the classes with samples, from 20 of these on."""
    label = np.repeat(np.arange(shown), 10)
    right = np.tile(np.arange(10), shown) < np.repeat(np.arange(shown) % 9, 10)
    per_sample = np.where(right, label, (label + 1) % shown).astype(np.int16)
    found = estimates(
        np.bincount(label, minlength=names), np.bincount(label[right], minlength=names),
        [f"class {c}" for c in range(names)], level=0.95,
    ).worst_tenth  # fmt: skip
    classes = [f"class {c}" for c in range(names)]
    settings: dict[str, Any] = {"classes": classes, "level": 0.95, "parameters": {}, "seconds": 1.0}
    predicted = with_all(label, {"clean": per_sample, "pgd20": per_sample})
    one = replace(
        BASE,
        data={**BASE.data, "n": len(label), "classes": classes},
        attacks={name: summarise(label, given, **settings) for name, given in predicted.items()},
        verdicts=Verdicts(label=label, index=np.arange(len(label)), predicted=predicted),
    )
    both = compare("base", [one], "again", [one]).attacks["all"].worst_tenth
    if count is None:
        assert (found, both) == (None, None)
    else:
        assert found is not None
        assert both is not None
        assert len(found.names) == count
        assert found.value == both.a == pytest.approx(np.sort(np.arange(shown) % 9)[:count].mean() / 10)


def test_the_worst_tenth_and_the_gap_of_several_runs_are_students() -> None:
    """The four lowest of 40 classes on either side, whichever they are."""
    low = [[0, 1, 2, 3, 5], [1, 1, 2, 3, 5], [0, 0, 1, 3, 5]]
    high = [[5, 4, 4, 2, 3], [5, 5, 3, 2, 3], [4, 4, 4, 2, 3]]
    a, b = ([in_many_classes([*first, *[8] * 34, 10]) for first in side] for side in (low, high))
    found = compare("at", a, "faal", b).attacks["all"]
    tenths = [(np.mean(sorted(one)[:4]) - np.mean(sorted(two)[:4])) / 10 for one, two in zip(high, low, strict=True)]
    assert found.worst_tenth is not None
    assert found.worst_tenth.value == pytest.approx(np.mean(tenths))
    expected = ttest_1samp(tenths, 0).confidence_interval(0.95)
    assert (found.worst_tenth.low, found.worst_tenth.high) == pytest.approx((expected.low, expected.high))
    gaps = [(min(two) - min(one)) / 10 for one, two in zip(high, low, strict=True)]
    expected = ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert (found.gap.a, found.gap.value) == pytest.approx((np.mean([1, 0.9, 1]), np.mean(gaps)))
    assert (found.gap.low, found.gap.high) == pytest.approx((expected.low, expected.high))


def test_the_worst_tenth_and_the_gap_of_two_models_come_from_their_own_intervals() -> None:
    a, b = in_many_classes([0, 1, 2, 3, *[8] * 35, 10]), in_many_classes([4, 4, 4, 2, *[8] * 35, 10])
    found = compare("at", [a], "faal", [b]).attacks["all"]
    for name in ("worst_tenth", "gap"):
        one, two, both = (getattr(of, name) for of in (a.attacks["all"], b.attacks["all"], found))
        assert both.value == pytest.approx(two.value - one.value)
        assert (both.value - both.low) ** 2 == pytest.approx((two.value - two.low) ** 2 + (one.high - one.value) ** 2)
        assert (both.high - both.value) ** 2 == pytest.approx((two.high - two.value) ** 2 + (one.value - one.low) ** 2)
    assert compare("base", [BASE], "repaired", [REPAIRED]).attacks["all"].worst_tenth is None  # of three classes


def with_groups(run: AuditResult, **groups: np.ndarray) -> AuditResult:
    named = [Grouping(name, ("north", "south"), torch.from_numpy(index)) for name, index in groups.items()]
    verdicts = replace(run.verdicts, groups=groups)
    return replace(run, verdicts=verdicts, groups=group_accuracies(verdicts, named, level=0.95))


def test_groups_are_compared_like_classes() -> None:
    """North holds the samples that the repair gained: 25 of 100 cats. A grouping of one side only has no partner."""
    site = np.where((LABEL == 2) & (np.arange(300) % 100 < 50), 0, 1)
    a, b = with_groups(BASE, site=site), with_groups(REPAIRED, site=site, camera=site)
    found = compare("base", [a], "repaired", [b])
    assert list(found.groups) == ["site"]
    assert list(found.groups["site"]) == list(found.attacks)
    by_site = found.groups["site"]["all"]
    north, south = by_site.classes
    assert (north.name, north.a, north.b) == ("north", 0.4, pytest.approx(0.9))
    assert (south.name, south.value) == ("south", pytest.approx(-4 / 250))
    assert north.p == pytest.approx(2 * binomtest(0, 25).pvalue)
    assert (by_site.worst.a, by_site.worst.b) == pytest.approx((0.4, 126 / 250))
    assert "Groups of site that differ by more than chance, corrected for all 2: north (+50.0)." in found.conclusion
    assert compare("base", [BASE], "repaired", [b]).groups == {}
    json.dumps(found.to_json())
    with pytest.raises(InputError, match=r"'site'.*--groups"):
        compare("base", [a], "repaired", [with_groups(REPAIRED, site=1 - site)])


def test_the_bootstrap_has_a_seed() -> None:
    first, again, other = (compare("base", [BASE], "repaired", [REPAIRED], seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first.seed == 5
    assert first.attacks["all"].average != other.attacks["all"].average


def test_unequal_classes_are_resampled_each_by_itself() -> None:
    few = np.r_[0:100, 100:150, 200:300]

    def fewer(full: AuditResult) -> AuditResult:
        predicted = {name: given[few] for name, given in full.verdicts.predicted.items()}
        return replace(full, verdicts=Verdicts(label=LABEL[few], index=few, predicted=predicted))

    found = compare("base", [fewer(BASE)], "repaired", [fewer(REPAIRED)]).attacks["all"]
    expected = paired_bootstrap([0, 0, 25], [4, 0, 0], [100, 50, 100], 0.95, seed=0)
    assert (found.balanced.low, found.balanced.high) == pytest.approx(expected)
    assert found.balanced.low != found.average.low


def test_several_runs_are_paired_in_their_order() -> None:
    before = [made({"pgd20": [70, 60, worst]}) for worst in (20, 24, 23)]
    after = [made({"pgd20": [66, 60, worst]}) for worst in (45, 44, 40)]
    found = compare("at", before, "faal", after)
    worst = found.attacks["pgd20"].worst
    expected = ttest_1samp([0.25, 0.20, 0.17], 0).confidence_interval(0.95)
    assert (worst.low, worst.high) == pytest.approx((expected.low, expected.high))
    assert worst.value == pytest.approx((0.25 + 0.20 + 0.17) / 3)
    average = found.attacks["pgd20"].average
    expected = ttest_1samp(np.array([21, 16, 13]) / 300, 0).confidence_interval(0.95)
    assert (average.low, average.high) == pytest.approx((expected.low, expected.high))
    cat = found.attacks["pgd20"].classes[2]
    expected = ttest_1samp([0.25, 0.20, 0.17], 0).confidence_interval(1 - 0.05 / 3)
    assert (cat.low, cat.high) == pytest.approx((expected.low, expected.high))
    # All three runs lose the same 4 points of ants, with a spread of half a sample: Holm multiplies cat's p by 2.
    assert cat.p == pytest.approx(2 * ttest_1samp([0.25, 0.20, 0.17], 0).pvalue)
    ant = found.attacks["pgd20"].classes[0]
    assert ant.p == pytest.approx(3 * 2 * t.sf(0.04 / (0.005 / np.sqrt(3)), 2))
    assert "from 3 pairs of runs" in found.conclusion
    assert "This is about the two methods" in found.conclusion
    assert "not their training methods" not in found.conclusion


def test_all_is_of_the_attacks_that_both_have() -> None:
    more = made({"clean": [95, 90, 85], "pgd20": [70, 60, 20], "autoattack": [60, 50, 5]})
    found = compare("base", [BASE], "more", [more])
    assert list(found.attacks) == ["clean", "pgd20", "all"]
    assert found.attacks["all"].worst.value == 0


def test_folders_are_read_and_the_outcome_is_plain(tmp_path) -> None:  # type: ignore[no-untyped-def]
    BASE.write(tmp_path / "a")
    REPAIRED.write(tmp_path / "b")
    found = compare("base", [tmp_path / "a"], "repaired", [str(tmp_path / "b")])
    assert found == compare("base", [BASE], "repaired", [REPAIRED])
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["attacks"]["all"]["classes"][2]["name"] == "cat"
    assert plain["attacks"]["all"]["worst"]["value"] == pytest.approx(0.25)


def other_verdicts(**change: Any) -> AuditResult:
    return replace(BASE, verdicts=replace(BASE.verdicts, **change))


def other_settings() -> AuditResult:
    attacks = {**BASE.attacks, "pgd20": replace(BASE.attacks["pgd20"], parameters={"steps": 21})}
    return replace(BASE, attacks=attacks)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(BASE, threat={"norm": "linf", "epsilon": 0.2}), "base and other have different threats"),
        (replace(BASE, data={**BASE.data, "classes": ["ant", "cat", "bee"]}), "different classes"),
        (other_verdicts(index=np.arange(300) + 1), "different samples"),
        (other_verdicts(label=LABEL[::-1]), "different labels"),
        (replace(BASE, data={**BASE.data, "name": "plants"}), "different data"),
        (other_settings(), "ran pgd20 with different settings"),
    ],
)
def test_audits_that_cannot_be_paired_are_refused(other: AuditResult, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare("base", [BASE], "other", [other])
    with pytest.raises(InputError, match=message):
        compare("base", [BASE, BASE], "other", [BASE, other])


def test_audits_of_other_images_under_equal_labels_are_refused(problem) -> None:  # type: ignore[no-untyped-def]
    def of(images: Tensor, block_size: int) -> AuditResult:
        return audit(problem.net, images, problem.labels, attacks="clean", block_size=block_size)

    one, again, other = of(problem.images, 16), of(problem.images, 25), of(problem.images.roll(5, 0), 16)
    assert len(one.data["fingerprint"]) == 64
    assert compare("one", [one], "again", [again]).attacks["all"].average.value == 0
    with pytest.raises(InputError, match="different images"):
        compare("one", [one], "other", [other])
    renamed = replace(again, data={**again.data, "name": "moved"})
    assert compare("one", [replace(one, data={**one.data, "name": "first"})], "moved", [renamed]).runs == 1
    unknown = replace(other, data={key: value for key, value in other.data.items() if key != "fingerprint"})
    assert compare("one", [one], "older", [unknown]).runs == 1


def test_as_many_runs_on_either_side() -> None:
    with pytest.raises(InputError, match="base has 2 audits"):
        compare("base", [BASE, BASE], "other", [BASE])
    with pytest.raises(InputError, match="0 audits"):
        compare("base", [], "other", [])


def test_two_sides_of_one_name_are_refused() -> None:
    with pytest.raises(InputError, match="both sides are named base"):
        compare("base", [BASE], "base", [REPAIRED])


def test_one_network_is_not_several_runs() -> None:
    one, other = (replace(BASE, model={"name": "net", "digest": digest}) for digest in ("abc", "def"))
    with pytest.raises(InputError, match="base are of the same network"):
        compare("base", [one, one], "other", [other, BASE])
    assert compare("base", [one, other], "again", [one, other]).runs == 2
    copies = [replace(run, model={**run.model, "weights": "same"}) for run in (one, other)]  # under two names
    with pytest.raises(InputError, match="copies are of the same network"):
        compare("base", [one, other], "copies", copies)


def test_a_network_compared_with_itself_is_noticed() -> None:
    one, other, third = (replace(BASE, model={"name": "net", "weights": digest}) for digest in ("abc", "def", "ghi"))
    assert compare("base", [one], "again", [one]).conclusion.startswith("Both sides are the same network: ")
    assert "partly the same networks (1 of 2)" in compare("a", [one, other], "b", [one, third]).conclusion
    assert "same network" not in compare("a", [one], "b", [other]).conclusion


def test_classes_without_samples_are_named() -> None:
    wider = {"data": {**BASE.data, "classes": [*CLASSES, "dog", "eel"]}}
    text = compare("base", [replace(BASE, **wider)], "repaired", [replace(REPAIRED, **wider)]).conclusion
    assert text.startswith(
        "2 of 5 classes have no samples (dog, eel): all differences, also that of a worst tenth, are those of the "
        "other classes."
    )


def test_a_rise_of_the_worst_class_beside_no_single_one_is_explained() -> None:
    """Holm's p-values are set by hand to where the minimum rises and no class by more than its correction allows."""
    a, b = made({"pgd20": [40, 41, 42]}), made({"pgd20": [53, 54, 55]})
    found = compare("a", [a], "b", [b])
    named = [entry.name for entry in found.attacks["all"].classes if entry.p < 0.05]
    assert (named, found.attacks["all"].worst.established) == (CLASSES, True)
    robust = found.attacks["all"]
    unsure = replace(robust, classes=tuple(replace(entry, p=0.06) for entry in robust.classes))
    text = conclusion("a", "b", 1, 0.95, ["pgd20"], unsure, {})
    assert "corrected for all 3; the worst class of one side is above the other's, which does not show" in text
    level = replace(unsure, worst=replace(unsure.worst, low=-0.1))
    assert "corrected for all 3. " in conclusion("a", "b", 1, 0.95, ["pgd20"], level, {})


def test_an_audit_of_another_network_than_lies_beside_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"weights")
    known = hashlib.sha256(b"weights").hexdigest()
    replace(BASE, model={"name": "net", "sha256": known}).write(tmp_path)
    assert compare("base", [tmp_path], "repaired", [REPAIRED]).runs == 1
    (tmp_path / "best.pt").write_bytes(b"weights of a later epoch")
    with pytest.raises(InputError, match=r"best\.pt"):
        compare("base", [tmp_path], "repaired", [REPAIRED])
