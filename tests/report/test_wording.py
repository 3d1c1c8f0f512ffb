import math

import pytest

from faal.report import wording
from faal.report.files.run import Attack, ClassAccuracy, Estimate


def shown(**counts: int) -> tuple[ClassAccuracy, ...]:
    """Classes with so many images each."""
    nothing = Estimate(value=math.nan, low=0, high=1)
    return tuple(ClassAccuracy(name=name, n=n, correct=0, accuracy=nothing) for name, n in counts.items())


def attack(
    worst: float,
    average: float,
    *,
    name: str = "all",
    worst_class: str = "8",
    classes: tuple[ClassAccuracy, ...] = (),
) -> Attack:
    return Attack(
        name=name,
        average=Estimate(value=average, low=average - 0.02, high=average + 0.02),
        balanced=Estimate(value=average, low=average - 0.02, high=average + 0.02),
        worst=Estimate(value=worst, low=worst - 0.07, high=worst + 0.08),
        worst_class=worst_class,
        classes=classes,
        confusion=None,
    )


def plain(text: str) -> str:
    return text.replace(wording.NBSP, " ")


def test_headline_of_one_audit() -> None:
    told = plain(wording.headline(attack(0.31, 0.71)))
    assert told == "Under attack the weakest class, “8”, stands at 31 % (24 to 39); the average is 71 %."


def test_headline_without_attack_does_not_speak_of_one() -> None:
    assert plain(wording.headline(attack(0.9, 0.97, name="clean"))).startswith("Without any attack the weakest class")


def test_comparison_headline_names_each_weakest_class() -> None:
    told = plain(wording.comparison_headline(attack(0.31, 0.71), attack(0.43, 0.70, worst_class="3")))
    assert told == (
        "Under attack the weakest class rose from 31 % (24 to 39), “8”, to 43 % (36 to 51), “3”; "
        "the average fell from 71 % to 70 %."
    )


def test_comparison_headline_of_one_class() -> None:
    told = plain(wording.comparison_headline(attack(0.31, 0.71), attack(0.31, 0.714)))
    assert told == "Under attack the weakest class, “8”, stayed at 31 % (24 to 39); the average stayed at 71 %."


def test_headlines_name_the_classes_that_no_image_shows() -> None:
    one, two = (attack(0.31, 0.71, classes=shown(cat=30, dog=0, eel=n)) for n in (5, 0))
    told = plain(wording.headline(one))
    assert told.startswith("Under attack the weakest class seen, “8”, stands")
    assert told.endswith("the average is 71 %. No image shows “dog”: nothing is known of it.")
    assert plain(wording.comparison_headline(one, two)).endswith(
        "No image shows “dog” and “eel”: nothing is known of them."
    )
    assert "the weakest class seen of 2 models" in plain(wording.best_headline(["a", "b"], [two, two]))
    assert "No image shows 4 groups: nothing" in wording.group_sentence(
        attack(0.3, 0.7, classes=shown(a=0, b=0, c=0, d=0, e=1)), "model"
    )


def test_models_that_were_not_audited_alike_have_no_change() -> None:
    told = plain(wording.apart_headline(["a", "b"], [attack(0.31, 0.71), attack(0.43, 0.70)]))
    assert told == (
        "These models were not audited alike, and their figures do not compare: under attack the weakest class stands "
        "at 31 % (24 to 39) in a and at 43 % (36 to 51) in b."
    )
    assert plain(wording.apart_headline(list("abcd"), [attack(0.31, 0.71)] * 4)).endswith("do not compare.")


def test_best_headline_breaks_ties_by_the_average() -> None:
    told = plain(wording.best_headline(["a", "b", "c"], [attack(0.31, 0.5), attack(0.31, 0.6), attack(0.2, 0.7)]))
    assert "between 20 % and 31 %" in told
    assert "highest in b, whose average is 60 %" in told


@pytest.mark.parametrize(
    ("value", "told"), [(0.714, "71"), (0.004, "0.4"), (0.0, "0"), (1.0, "100"), (0.016, "2"), (math.nan, "–")]
)
def test_whole(value: float, told: str) -> None:
    assert wording.whole(value) == told


@pytest.mark.parametrize(
    ("value", "told"), [(0.113, "+11.3"), (-0.004, "−0.4"), (-0.0001, "0.0"), (0.0, "0.0"), (math.nan, "–")]
)
def test_points(value: float, told: str) -> None:
    assert wording.points(value) == told


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["clean", "pgd20", "autoattack", "all"], "all"),
        (["clean", "pgd20", "autoattack"], "autoattack"),
        (["clean", "pgd20", "cw20"], "cw20"),
        (["clean", "square"], "square"),
        (["clean"], "clean"),
    ],
)
def test_strongest(names: list[str], chosen: str) -> None:
    assert wording.strongest(names) == chosen


def test_listing() -> None:
    assert [wording.listing(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_coverage_names_both_limits() -> None:
    told = " ".join(wording.coverage(0.95))
    assert "test sample" in told
    assert "do not cover the training seed" in told
    assert "upper bound" in told
