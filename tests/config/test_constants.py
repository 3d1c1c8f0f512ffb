"""A method's own constants: how they are written and read, what is rejected; and the settings that came with them."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from faal.config import Recipe, Schedule, boolean, load_recipe, recipe_names
from faal.errors import InputError
from faal.intermediate.class_rule import ClassRule, constants_of, settings_of
from faal.intermediate.rules.frl import FRL
from faal.methods import METHODS, first_epoch, steers

COUNTS = torch.tensor([40, 40])


class Every(ClassRule):
    """A rule with a constant of every kind; beta, tau and counted are the recipe's."""

    def __init__(
        self,
        counts: torch.Tensor,
        *,
        beta: float = 1.0,
        tau: Schedule = Schedule.constant(0.0),  # noqa: B008 (frozen)
        counted: bool = True,
        flag: bool = False,
        number: int = 3,
        share: float = 0.25,
        rate: Schedule = Schedule((0.0, 0.5), (0.2, 0.1)),  # noqa: B008 (frozen)
        word: str = "kl",
    ) -> None:
        self.found = locals()


def read(constants: Any, **fixed: Any) -> dict[str, Any]:
    """What the rule is made with."""
    recipe = Recipe(method="mine").replace({"constants": constants}, source="test")
    return settings_of(Every, recipe, fixed)


class TestKinds:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("flag", "true", True), ("flag", "True", True), ("flag", "yes", True), ("flag", "1", True),
            ("flag", "false", False), ("flag", "No", False), ("flag", "0", False),
            ("number", "100", 100), ("number", "1e2", 100), ("number", "-3", -3),
            ("share", "0.5", 0.5), ("share", "7/11", 7 / 11), ("share", "2", 2.0), ("share", "1e-3", 1e-3),
            ("rate", "0.3", Schedule.constant(0.3)), ("rate", "0:0.2,1/2:1/20", Schedule((0.0, 0.5), (0.2, 0.05))),
            ("word", "chi2", "chi2"), ("word", "7", "7"),
        ],
    )  # fmt: skip
    def test_on_the_command_line(self, name: str, text: str, value: object) -> None:
        found = read(f"{name}={text}")[name]
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("flag: true", True), ("flag: no", False), ("flag: 1", True), ("number: 100", 100), ("number: 100.0", 100),
            ("share: 1", 1.0), ("share: 7/11", 7 / 11), ("rate: 1", Schedule.constant(1.0)),
            ("rate: {0: 0.2, 3/4: 0.1}", Schedule((0.0, 0.75), (0.2, 0.1))), ("word: cvar", "cvar"),
        ],
    )  # fmt: skip
    def test_in_a_file(self, tmp_path: Path, text: str, value: object) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(f"beta: 3\nconstants: {{{text}}}\n")
        recipe = load_recipe(str(path))
        found = settings_of(Every, recipe, {})[text.split(":")[0]]
        assert found == value
        assert type(found) is type(value)
        again = Recipe().replace(yaml.safe_load(yaml.safe_dump(recipe.plain())), source="again")
        assert again == recipe

    @pytest.mark.parametrize(
        ("constants", "said"),
        [
            ("flag=perhaps", "flag of mine is true or false, not 'perhaps'"),
            ({"flag": 2}, "flag of mine is true or false, not 2"),
            ({"flag": None}, "flag of mine is true or false, not None"),
            ("number=2.5", "number of mine is a whole number, not 2.5"),
            ("number=many", "number of mine is a whole number, not 'many'"),
            ({"number": True}, "number of mine is a whole number, not True"),
            ("share=half", "share of mine is a number, not 'half'"),
            ("share=1/0", "share of mine is a number, not '1/0'"),
            ("share=inf", "share of mine is a number, not 'inf'"),
            ("share=", "share of mine is a number, not ''"),
            ({"share": False}, "share of mine is a number, not False"),
            ({"share": [1]}, r"share of mine is a number, not \[1\]"),
            ("rate=1/2:0.1", "rate of mine is a number or a schedule such as .*, not '1/2:0.1'"),
            ("rate=0:fast", "rate of mine is a number or a schedule such as .*, not '0:fast'"),
            ({"rate": {0: 0.1, 2: 0.5}}, "rate of mine is a number or a schedule such as"),
        ],
    )
    def test_what_does_not_read(self, constants: object, said: str) -> None:
        with pytest.raises(InputError, match=f"^the constant {said}") as caught:
            read(constants)
        assert "\n" not in str(caught.value)

    def test_every_way_of_true_and_false(self) -> None:
        assert [boolean(text) for text in (True, "yes", "TRUE", 1, "1")] == [True] * 5
        assert [boolean(text) for text in (False, "no", "False", 0, "0")] == [False] * 5
        for text in ("", "2", None, 0.5, "on"):
            with pytest.raises(ValueError, match="neither true nor false"):
                boolean(text)


class TestNames:
    def test_several_at_once(self) -> None:
        found = read("share=0.5   number=7 flag=yes")
        assert (found["share"], found["number"], found["flag"]) == (0.5, 7, True)
        assert "word" not in found
        assert {"beta", "tau", "counted"} <= set(found)

    def test_dashes_count_as_underscores(self) -> None:
        recipe = Recipe(method="frl-rwrm").replace({"constants": "margin-rate=0.1"}, source="test")
        rule = METHODS["frl-rwrm"].make_rule(recipe, COUNTS)
        assert isinstance(rule, FRL)
        assert rule.margin_rate == 0.1

    @pytest.mark.parametrize("constants", ["lambda1", "share=0.5 flag", ["share"], 3, "a b=1"])
    def test_what_is_no_list_of_pairs(self, constants: object) -> None:
        with pytest.raises(InputError, match=r"^test: constants is a list"):
            read(constants)

    def test_they_add_to_those_there_are(self) -> None:
        """As on the command line, over a recipe's own; written there or in YAML they are the same run."""
        recipe = Recipe().replace({"constants": {"a": 1.5, "b": 2}}, source="test")
        added = recipe.replace({"constants": "b=3 c=0:0.1,1/2:0.2 d=1/4 e=true"}, source="test")
        assert added.constants == {"a": 1.5, "b": 3, "c": "0:0.1,1/2:0.2", "d": 0.25, "e": True}
        assert recipe.constants == {"a": 1.5, "b": 2}

    @pytest.mark.parametrize("constants", ["", {}])
    def test_none(self, constants: object) -> None:
        assert Recipe().replace({"constants": constants}, source="test").constants == {}

    def test_the_nearest_is_named(self) -> None:
        recipe = Recipe(method="cfa-at", constants={"lamda1": 0.3})
        said = (
            r"^there is no constant of cfa-at 'lamda1'; did you mean 'lambda1'\? `faal methods cfa-at` lists them all$"
        )
        with pytest.raises(InputError, match=said):
            METHODS["cfa-at"].make_rule(recipe, COUNTS)

    def test_what_the_recipe_or_the_row_decides_is_no_constant(self) -> None:
        """Beta is a setting; whether margins move is what the row is."""
        assert set(constants_of(Every)) == {"flag", "number", "share", "rate", "word"}
        for name in ("beta", "tau", "counts"):
            with pytest.raises(InputError, match=f"no constant of mine '{name}'"):
                read({name: 1})
        with pytest.raises(InputError, match="no constant of mine 'flag'"):
            read("flag=1", flag=True)
        for name, constant in (
            ("frl-rw", "margins"),
            ("cfa-at", "lambda2"),
            ("cfa-trades", "regularised"),
            ("dro-cvar", "ball"),
        ):
            assert constant not in METHODS[name].constants
            with pytest.raises(InputError, match=f"no constant of {name} '{constant}'"):
                METHODS[name].make_rule(Recipe(method=name, constants={constant: 1}), COUNTS)

    def test_a_method_without_constants(self) -> None:
        with pytest.raises(InputError, match="no constant of pgd-at 'eta'"):
            METHODS["pgd-at"].make_rule(Recipe(constants={"eta": 1}), COUNTS)

    @pytest.mark.parametrize("name", METHODS)
    def test_every_constant_can_be_set(self, name: str) -> None:
        """To its own default, as it is written."""

        def written(value: Any) -> str:
            if not isinstance(value, Schedule):
                return str(value)
            return ",".join(f"{s}:{v}" for s, v in zip(value.starts, value.values, strict=True))

        text = " ".join(f"{key}={written(value)}" for key, value in METHODS[name].constants.items())
        recipe = Recipe(method=name).replace({"constants": text}, source="test")
        rule, plain = METHODS[name].make_rule(recipe, COUNTS), METHODS[name].make_rule(Recipe(method=name), COUNTS)
        mine = {k: v for k, v in vars(rule).items() if not isinstance(v, torch.Tensor | ClassRule)}
        assert mine == {k: vars(plain)[k] for k in mine}


class TestNewSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("average_span", 1.5), ("average_span", -0.1), ("select_on", "train"), ("attack_loss", "dlr"),
            ("attack_start", "random"), ("attack_mode", "evaluation"), ("hold_out", "steer"),
        ],
    )  # fmt: skip
    def test_out_of_range(self, name: str, value: object) -> None:
        with pytest.raises(InputError, match=rf"^mine\.yaml: {name} is (between|one of)"):
            Recipe().replace({name: value}, source="mine.yaml")

    def test_the_gate_may_be_unset(self) -> None:
        recipe = Recipe().replace({"average_gate": "0.2"}, source="test")
        assert recipe.average_gate == 0.2
        assert recipe.replace({"average_gate": "none"}, source="test").average_gate is None
        with pytest.raises(InputError, match="average_gate is a number"):
            Recipe().replace({"average_gate": "open"}, source="test")

    def test_averaging_begins_after_the_first_decay_where_the_gate_is_relative(self) -> None:
        lr = Schedule((0.0, 0.5, 0.75), (0.1, 0.01, 0.001))
        recipe = Recipe(average="gated", lr=lr)
        assert recipe.averaging_starts == 0.5
        assert recipe.replace({"average_from": 0.6}, source="test").averaging_starts == 0.6
        assert recipe.replace({"average_gate": 0.2}, source="test").averaging_starts == 0
        assert recipe.replace({"average": "epoch"}, source="test").averaging_starts == 0
        warmed = recipe.replace({"lr": "0:0.1,1/10:0.4,1/2:0.01"}, source="test")
        assert warmed.averaging_starts == 0.5
        from_below = recipe.replace({"lr": "0:0.01,1/20:0.1,1/2:0.01,3/4:0.001"}, source="test")
        assert from_below.averaging_starts == 0.5
        assert recipe.replace({"lr": 0.1}, source="test").averaging_starts == 1

    def test_the_average_spans_a_part_of_the_run(self) -> None:
        """1/24 of 200 epochs is CFA's 0.88; of 24 epochs or fewer the last one alone."""
        recipe = Recipe(average="epoch", average_span=1 / 24, epochs=200)

        def decay(steps: int, **settings: object) -> float:
            return recipe.replace(settings, source="test").averaging_decay(steps)

        assert decay(390) == pytest.approx(0.88)
        assert decay(390, epochs=48) == pytest.approx(0.5)
        assert decay(390, epochs=24) == 0
        assert decay(390, epochs=6) == 0
        assert decay(390, average="step", epochs=2, average_span=1 / 4) == pytest.approx(1 - 1 / 195)
        assert decay(1, average="step", epochs=2, average_span=1 / 4) == 0
        assert decay(390, average_span="none", average_decay=0.7) == 0.7

    def test_the_usual_decays(self) -> None:
        """The field's per step, CFA's per epoch: 0.999 by the epoch would keep the first of 100 epochs at 90 %."""
        decays = {kind: Recipe(average=kind).averaging_decay(390) for kind in ("step", "epoch", "gated")}
        assert decays == {"step": 0.999, "epoch": 0.88, "gated": 0.88}


class TestRivals:
    """Their shipped recipes have their own constants where the common protocol leaves them any."""

    @pytest.mark.parametrize(
        "study", ["cifar10-prn18", "cifar10-wrn34-10", "cifar100-rn18", "digits-small", "mnist-small"]
    )
    def test_constants(self, study: str) -> None:
        for form in ("rw", "rwrm"):
            frl = load_recipe(f"{study}-frl-{form}-repair")
            assert (frl.epochs, frl.beta) == (80, 1.5)
            assert frl.lr.at(39 / 80) == pytest.approx(10 * frl.lr.at(40 / 80))
        for name in ("cfa-at", "cfa-trades"):
            cfa = load_recipe(f"{study}-{name}")
            assert (cfa.average, cfa.average_gate, cfa.average_span, cfa.beta) == ("gated", None, 1 / 24, 6)
            assert cfa.averaging_starts == cfa.lr.starts[1]
        dafa = METHODS["dafa"].make_rule(load_recipe(f"{study}-dafa"), COUNTS)
        assert vars(dafa)["strength"] == (1.5 if study == "cifar100-rn18" else 1.0)
        assert load_recipe(f"{study}-csr-repair").epochs == 2

    @pytest.mark.parametrize("name", METHODS)
    def test_what_is_published_reads(self, name: str) -> None:
        recipe = Recipe(method=name).replace(METHODS[name].published, source="published")
        METHODS[name].make_rule(recipe, COUNTS)

    @pytest.mark.parametrize("name", ["frl-rw", "frl-rwrm", "cfa-at", "cfa-trades", "wat"])
    def test_what_steers_by_withheld_images_does_so_as_published(self, name: str) -> None:
        """Its code chooses on the test set, yet evaluates on a part of the training set that it does not train on."""
        assert METHODS[name].published["hold_out"] == "both"
        assert METHODS[name].published["select_on"] == "test"

    @pytest.mark.medium
    def test_what_is_gated_steers(self) -> None:
        gated = [recipe for recipe in map(load_recipe, recipe_names()) if recipe.average == "gated"]
        assert {recipe.method for recipe in gated} == {name for name, row in METHODS.items() if row.gated}
        for recipe in gated:
            assert steers(recipe)
            assert 0 <= first_epoch(recipe, COUNTS) <= recipe.epochs
