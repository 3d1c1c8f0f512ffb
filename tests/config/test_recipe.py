"""Recipes: settings and what is rejected, chains of files, the shipped ones."""

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from faal.config import Recipe, Schedule, load_recipe, recipe_names, repair_recipe
from faal.config.shipped import REPAIR
from faal.errors import InputError
from faal.methods import METHODS
from faal.models import MODELS


class TestSettings:
    def test_reads_every_type(self) -> None:
        recipe = Recipe().replace(
            {
                "method": "trades",
                "width": "16",
                "depth": None,
                "batch-size": 64.0,
                "nesterov": "yes",
                "flip": False,
                "epsilon": "4/255",
                "lr": "0:0.2,9/10:0.02",
                "weight_decay": "2e-4",
            },
            source="test",
        )
        assert (recipe.method, recipe.width, recipe.depth, recipe.batch_size) == ("trades", 16, None, 64)
        assert (recipe.nesterov, recipe.flip, recipe.epsilon, recipe.weight_decay) == (True, False, 4 / 255, 2e-4)
        assert recipe.lr == Schedule((0.0, 0.9), (0.2, 0.02))
        assert isinstance(recipe.batch_size, int)
        assert recipe.replace({"width": "none"}, source="test").width is None

    def test_leaves_the_original_alone(self) -> None:
        recipe = Recipe()
        recipe.replace({"beta": 1}, source="test")
        assert recipe.beta == 6.0
        with pytest.raises(dataclasses.FrozenInstanceError):
            recipe.beta = 1.0  # type: ignore[misc]
        with pytest.raises(TypeError):
            Recipe("trades")  # type: ignore[misc]

    @pytest.mark.parametrize(("key", "nearest"), [("epsilo", "epsilon"), ("step-sise", "step_size"), ("Lr", "lr")])
    def test_names_the_nearest_key(self, key: str, nearest: str) -> None:
        with pytest.raises(InputError, match=rf"no setting \(mine.yaml\) '{key}'; did you mean '{nearest}'\?"):
            Recipe().replace({key: 1}, source="mine.yaml")

    def test_an_unknown_key_far_from_all(self) -> None:
        with pytest.raises(InputError, match=r"'qqqq'; .*lists them all"):
            Recipe().replace({"qqqq": 1}, source="mine.yaml")

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("epochs", "many", "a whole number"),
            ("epochs", 2.5, "a whole number"),
            ("epochs", None, "a whole number"),
            ("width", "wide", "a whole number"),
            ("flip", "perhaps", "true or false"),
            ("flip", None, "true or false"),
            ("beta", "six", "a number such as"),
            ("beta", [6], "a number such as"),
            ("beta", True, "a number such as"),
            ("beta", float("nan"), "a number such as"),
            ("lr", "fast", "a number or a schedule"),
            ("lr", {"1/2": 0.1}, "a number or a schedule"),
            ("lr", None, "a number or a schedule"),
            ("tau", {0: 0.1, 2: 0.5}, "a number or a schedule"),
        ],
    )
    def test_a_value_that_does_not_read(self, name: str, value: object, said: str) -> None:
        with pytest.raises(InputError, match=rf"^mine\.yaml: {name} is {said}.*, not {re.escape(repr(value))}$"):
            Recipe().replace({name: value}, source="mine.yaml")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("epochs", 0),
            ("batch_size", 1),
            ("momentum", 1.5),
            ("weight_decay", -1e-4),
            ("crop", -1),
            ("crop", 65),
            ("select_attack", "autoattack"),
            ("select_attack", "cw10x5"),
            ("select_attack", "pgd0"),
            ("select_attack", "pgd"),
            ("select_attack", "fgsm10"),
            ("step_size", 2),
            ("steps", -1),
            ("beta", -6),
            ("smoothing", 1),
            ("smoothing", -0.1),
            ("average_decay", 1.1),
            ("average_from", 2),
            ("log_every", 0),
            ("checkpoint_every", -1),
            ("lr", -0.1),
            ("lr", "0:0.1,1/2:-0.1"),
            ("tau", -0.5),
            ("awp_gamma", -0.01),
            ("average", "weekly"),
            ("hold_out", "test"),
            ("select", "best"),
            ("precision", "float8"),
            ("statistic", "accuracy"),
        ],
    )
    def test_a_value_out_of_range(self, name: str, value: object) -> None:
        with pytest.raises(InputError, match=rf"^mine\.yaml: {name} is (between|at least|one of|never|pgdK)"):
            Recipe().replace({name: value}, source="mine.yaml")

    def test_a_bound_without_an_end_is_stated_as_one(self) -> None:
        with pytest.raises(InputError, match=r"^test: epochs"):
            Recipe().replace({"epochs": 0}, source="test")
        with pytest.raises(InputError, match=r"^test: crop"):
            Recipe().replace({"crop": 65}, source="test")
        assert Recipe(crop=64, select_attack="pgd100").crop == 64

    def test_nesterov_without_momentum(self) -> None:
        with pytest.raises(InputError, match=r"^test: nesterov"):
            Recipe().replace({"nesterov": "true", "momentum": "0"}, source="test")
        assert Recipe(nesterov=True).nesterov
        assert Recipe(momentum=0).momentum == 0

    def test_every_field_has_its_sentence(self) -> None:
        for item in dataclasses.fields(Recipe):
            assert re.fullmatch(r"[A-Z].*\.", item.metadata["help"]), item.name


class TestFiles:
    def write(self, path: Path, text: str) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def test_a_chain_of_bases(self, tmp_path: Path) -> None:
        self.write(tmp_path / "deep" / "ground.yaml", "epochs: 7\nbeta: 3\nlr: {0: 0.1, 1/2: 0.01}\n")
        self.write(tmp_path / "middle.yaml", "base: deep/ground\nbeta: 4\nwidth: 8\n")
        top = self.write(tmp_path / "top.yaml", "base: middle\nwidth: 16\nepsilon: 4/255\n")
        recipe = load_recipe(top)
        assert (recipe.epochs, recipe.beta, recipe.width, recipe.epsilon) == (7, 4.0, 16, 4 / 255)
        assert recipe.lr == Schedule((0.0, 0.5), (0.1, 0.01))
        assert recipe.momentum == Recipe().momentum

    def test_a_base_of_its_own(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.yaml", "base: a\n")
        with pytest.raises(InputError, match="is its own base"):
            load_recipe(path)

    def test_a_circle_of_bases_through_folders(self, tmp_path: Path) -> None:
        self.write(tmp_path / "x" / "a.yaml", "base: ../y/b\n")
        path = self.write(tmp_path / "y" / "b.yaml", "base: ../x/a\n")
        with pytest.raises(InputError, match=r"own base.*a\.yaml"):
            load_recipe(path)

    def test_a_missing_base(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.yaml", "base: nowhere\n")
        with pytest.raises(InputError, match=r"no recipe file .*nowhere\.yaml"):
            load_recipe(path)

    def test_another_norm_brings_its_own_radius_and_step(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a.yaml", "base: debug\nnorm: l2\nepsilon: 0.5\n")
        with pytest.raises(InputError, match=r"a\.yaml: norm l2 .*step_size"):
            load_recipe(path)
        path = self.write(tmp_path / "b.yaml", "norm: l2\n")
        with pytest.raises(InputError, match="epsilon and step_size"):
            load_recipe(path)
        path = self.write(tmp_path / "c.yaml", "base: debug\nnorm: l2\nepsilon: 0.5\nstep-size: 0.1\n")
        assert (load_recipe(path).norm, load_recipe(path).step_size) == ("l2", 0.1)

    def test_a_shipped_recipe_as_base(self, tmp_path: Path) -> None:
        mine = self.write(tmp_path / "mine.yaml", "base: cifar10-wrn34-10-faal-trades\nbeta: 5\n")
        assert load_recipe(mine) == dataclasses.replace(load_recipe("cifar10-wrn34-10-faal-trades"), beta=5.0)

    def test_a_file_beside_it_comes_before_a_shipped_recipe(self, tmp_path: Path) -> None:
        self.write(tmp_path / "debug.yaml", "epochs: 77\n")
        assert load_recipe(self.write(tmp_path / "a.yaml", "base: debug\n")).epochs == 77
        assert load_recipe(self.write(tmp_path / "b.yaml", "base: debug.yaml\n")).epochs == 77

    def test_a_runs_configuration_is_its_recipe(self, tmp_path: Path) -> None:
        recipe = load_recipe("cifar10-prn18-faal-trades-repair")
        run = {"recipe": recipe.plain(), "seed": 3, "data": {"name": "digits"}}
        assert load_recipe(self.write(tmp_path / "config.yaml", yaml.safe_dump(run))) == recipe

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("- 1\n- 2\n", r"`setting: value` lines, but .*odd\.yaml contains a list"),
            ("", r"`setting: value` lines, but .*odd\.yaml contains nothing"),
            ("faal", r"`setting: value` lines, but .*odd\.yaml contains a single value"),
            ("beta: [1\n", "cannot be read as YAML"),
            ("beta: 6\nbetta: 7\n", r"\(odd.yaml\) 'betta'; did you mean 'beta'"),
            ("beta: much\n", r"^odd.yaml: beta is a number"),
            ("epochs: 3\nlr: 0.1\nepochs: 4\n", "'epochs' is given twice, in lines 1 and 3"),
            ("lr: {0: 0.1, 0: 0.2}\n", "'0' is given twice"),
            ("lr:\n  0: 0.1\n  0.0: 0.2\n", "'0.0' is given twice, in lines 2 and 3"),
            ("lr:\n  0: 0.1\n  0.5: 0.2\n  1/2: 0.3\n", "each start is larger"),
            ("step-size: 0.1\nstep_size: 0.2\n", "step_size is given twice, with a dash and with an underscore"),
            ("constants: lambda1=1 lambda1=2\n", "lambda1 is given twice"),
            ("constants: {some-rate: 1, some_rate: 2}\n", "some_rate is given twice"),
            ("method: !!python/object/apply:os.system ['true']\n", "cannot be read as YAML"),
        ],
    )
    def test_a_file_that_is_no_recipe(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(InputError, match=said) as caught:
            load_recipe(self.write(tmp_path / "odd.yaml", text))
        assert "\n" not in str(caught.value)

    def test_a_key_may_replace_one_that_is_merged_in(self, tmp_path: Path) -> None:
        text = "lr: &rates {0: 0.1, 1/2: 0.2}\ntau: &more {<<: *rates, 1/2: 0.3}\nawp_gamma: {<<: *more, 0: 0.4}\n"
        recipe = load_recipe(self.write(tmp_path / "merged.yaml", text))
        assert recipe.tau.values == (0.1, 0.3)
        assert recipe.awp_gamma.values == (0.4, 0.3)

    def test_what_is_no_file_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "folder.yaml").mkdir()
        (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00\x81")
        for name in ("folder.yaml", "bytes.yaml"):
            with pytest.raises(InputError, match="cannot be read as YAML"):
                load_recipe(str(tmp_path / name))

    def test_an_unknown_name(self) -> None:
        with pytest.raises(InputError, match=r"'cifar10-prn18-faal-tradse'.*'cifar10-prn18-faal-trades'"):
            load_recipe("cifar10-prn18-faal-tradse")

    def test_the_files_others_start_from_are_no_recipes(self) -> None:
        assert not [name for name in recipe_names() if "_" in name]
        with pytest.raises(InputError, match="no recipe 'cifar10-prn18-_scratch'"):
            load_recipe("cifar10-prn18-_scratch")


STUDIES = (
    "cifar10-prn18", "cifar10-wrn34-10", "cifar100-rn18", "digits-small", "fashion-mnist-small", "mnist-small",
)  # fmt: skip
OF_THE_PAPER = (
    "pgd-at trades mart at-awp trades-awp faal-at faal-trades faal-mart faal-at-awp faal-trades-awp".split()  # noqa: SIM905
)


class TestShipped:
    @pytest.mark.medium
    @pytest.mark.parametrize("name", recipe_names())
    def test_parses_and_names_what_exists(self, name: str) -> None:
        recipe = load_recipe(name)
        assert recipe.method in METHODS
        assert recipe.model in MODELS
        method = name.removesuffix("-repair").removeprefix(next((s for s in STUDIES if name.startswith(s)), "") + "-")
        assert recipe.method == ("faal-at" if name == "debug" else method)
        # FRL was fine-tuned for 80 epochs, everything else for two.
        repair = 80 if method.startswith("frl") else 2
        assert recipe.epochs == (repair if name.endswith("-repair") or name == "debug" else recipe.epochs)
        assert Recipe().replace(recipe.plain(), source="plain") == recipe
        assert Recipe().replace(yaml.safe_load(yaml.safe_dump(recipe.plain())), source="YAML") == recipe

    def test_every_row_has_both(self) -> None:
        wanted = {f"{study}-{method}" for study in STUDIES for method in (*OF_THE_PAPER, "standard")}
        wanted |= {f"{study}-{method}-repair" for study in STUDIES for method in OF_THE_PAPER}
        assert wanted | {"debug"} <= set(recipe_names())

    @pytest.mark.parametrize("study", ["cifar10-prn18", "cifar10-wrn34-10"])
    def test_the_papers_constants_on_cifar10(self, study: str) -> None:
        scratch, repair = load_recipe(f"{study}-faal-trades"), load_recipe(f"{study}-faal-trades-repair")
        for recipe in (scratch, repair):
            assert (recipe.epsilon, recipe.step_size, recipe.steps, recipe.beta) == (8 / 255, 2 / 255, 10, 6)
            assert (recipe.batch_size, recipe.momentum, recipe.weight_decay) == (128, 0.9, 5e-4)
            assert (recipe.crop, recipe.flip, recipe.smoothing, recipe.statistic) == (4, True, 0, "margin")
        assert [repair.lr.at(e / 2) for e in range(2)] == [0.01, 0.001]
        assert repair.tau == Schedule.constant(0.5)
        epochs = (0, 99, 100, 149, 150, 199)
        assert scratch.epochs == 200
        assert [scratch.lr.at(e / 200) for e in epochs] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
        assert [scratch.tau.at(e / 200) for e in epochs] == [0, 0, 0.25, 0.25, 0.5, 0.5]
        assert (scratch.average, scratch.average_from) == ("epoch", 0.5)

    def test_the_papers_constants_on_cifar100(self) -> None:
        scratch, repair = load_recipe("cifar100-rn18-faal-at"), load_recipe("cifar100-rn18-faal-at-repair")
        assert scratch.epochs == 100
        assert [scratch.lr.at(e / 100) for e in (0, 74, 75, 89, 90, 99)] == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
        assert scratch.tau.at(0.99) == repair.tau.at(0.0) == 0.05

    @pytest.mark.parametrize(
        ("data", "model", "classes", "setting"),
        [
            ("cifar10", "prn18", 10, "cifar10-prn18"),
            ("cifar10", "wrn34-10", 10, "cifar10-wrn34-10"),
            ("cifar100", "timm:resnet18", 100, "cifar100-rn18"),
            ("digits", "prn18", 10, "digits-small"),
            ("fashion-mnist", "small", 10, "fashion-mnist-small"),
            ("mnist", "nets:mine", 10, "mnist-small"),
            ("kmnist", "small", 10, "mnist-small"),
            ("emnist-letters", "small", 26, "mnist-small"),
            ("emnist-byclass", "small", 62, "cifar100-rn18"),
            ("idx", "small", 10, "cifar10-prn18"),
            ("folder", "wrn34-10", 7, "cifar10-prn18"),
            ("folder", "nets:mine", 200, "cifar100-rn18"),
        ],
    )
    def test_what_repairs_where_no_recipe_is_named(self, data: str, model: str, classes: int, setting: str) -> None:
        name = repair_recipe(data, model, classes)
        assert name == f"{setting}{REPAIR}"
        assert load_recipe(name).epochs == 2

    def test_awp_as_published(self) -> None:
        assert load_recipe("cifar10-wrn34-10-at-awp").awp_gamma == Schedule.constant(0.01)
        trades = load_recipe("cifar10-wrn34-10-trades-awp").awp_gamma
        assert [trades.at(e / 200) for e in (0, 9, 10, 199)] == [0, 0, 0.005, 0.005]  # a warm-up of 10 epochs
        assert load_recipe("cifar10-wrn34-10-faal-at-awp-repair").awp_gamma == Schedule.constant(0.005)
