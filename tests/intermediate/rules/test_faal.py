"""FAAL's options: as published (`counted`), in other balls, and the epoch in which it begins to act."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from tests.helpers import class_statistics, oracles

from faal.config import Recipe, Schedule
from faal.errors import InputError
from faal.intermediate.class_stats import Need
from faal.intermediate.rules.faal import FAAL
from faal.methods import METHODS, first_epoch

MARGINS = [-0.5, 0.2, -0.1, 0.4, -0.7]


def margins(counts: list[int], means: list[float] = MARGINS) -> object:
    return class_statistics.batch(counts, {Need.MARGIN: means})


class TestCounted:
    """The published objective is over the samples: sum_i w_{y_i} l_{y_i} = sum_c n_c w_c l_c."""

    @pytest.mark.parametrize("counts", [[4, 4, 4, 4, 4], [1, 9, 3, 2, 7], [0, 3, 0, 1, 2]])
    def test_classes_weigh_by_their_counts(self, counts: list[int]) -> None:
        """C w_c with the coefficients n_c l_c; nothing is divided by the classes' shares."""
        rule = FAAL(5, tau=0.5, counted=True, frequencies=torch.tensor([1, 2, 3, 4, 5]))
        expected = 5 * oracles.kldro(np.array(counts) * np.array(MARGINS), 0.5)
        np.testing.assert_allclose(rule.weigh(margins(counts)).robust, expected, rtol=1e-4)

    def test_an_absent_class_beats_every_negative_margin(self) -> None:
        """All present classes are predicted correctly: the class that is absent takes the largest weight of all."""
        rule = FAAL(10, tau=0.5, counted=True)
        means = [-0.1, *[-0.2 - 0.05 * c for c in range(9)]]
        weights = rule.weigh(margins([0, *[14] * 9], means)).robust
        assert int(weights.argmax()) == 0
        assert float(weights[0]) > 4
        alike = FAAL(10, tau=0.5).weigh(margins([0, *[14] * 9], means)).robust
        assert float(alike[0]) == 0

    def test_on_equal_counts_it_is_eq_7(self) -> None:
        one, other = FAAL(5, tau=0.5, counted=True), FAAL(5, tau=0.5)
        torch.testing.assert_close(one.weigh(margins([7] * 5)).robust, other.weigh(margins([7] * 5)).robust)

    def test_it_has_no_smoothing(self) -> None:
        """Published code judges each batch by itself; the pair was taken, and the smoothing passed over."""
        with pytest.raises(InputError, match="leave smoothing at 0"):
            FAAL(3, counted=True, smoothing=0.9)

    @pytest.mark.parametrize("classes", [2, 10, 49, 100])
    def test_tau_zero_is_exactly_one(self, classes: int) -> None:
        counts = [3, 1] + [0] * (classes - 2)
        weights = FAAL(classes, tau=0.0, counted=True).weigh(margins(counts, [0.1] * classes)).robust
        assert weights.tolist() == [1.0] * classes


class TestBalls:
    @pytest.mark.parametrize(
        ("ball", "tau"), [("kl-forward", 0.5), ("kl-forward", 0.05), ("chi2", 0.5), ("chi2", 0.05), ("cvar", 0.5)]
    )
    def test_the_weights_are_worst_in_their_ball(self, ball: str, tau: float) -> None:
        """Against SciPy's SLSQP, over the four classes present of five."""
        present, u = np.array([0, 1, 3, 4]), np.full(4, 0.25)
        losses = np.array(MARGINS)[present]
        room = {
            "kl-forward": lambda w: tau - float(np.sum(w * np.log(np.maximum(w, 1e-12) / u))),
            "chi2": lambda w: tau - float(np.sum(u * (w / u - 1) ** 2)) / 2,
            "cvar": lambda w: float(np.min(u / (1 - tau) - w)),
        }[ball]
        best = minimize(
            lambda w: -float(w @ losses),
            u,
            bounds=[(0, 1)] * 4,
            constraints=[{"type": "ineq", "fun": room}, {"type": "eq", "fun": lambda w: w.sum() - 1}],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 500},
        )
        weights = FAAL(5, tau=tau, ball=ball).weigh(margins([3, 1, 0, 2, 2])).robust.double().numpy()
        assert weights[2] == 0
        w = weights[present] / 4
        assert w.sum() == pytest.approx(1, abs=1e-6)
        assert room(w) > -1e-6
        assert float(w @ losses) == pytest.approx(-best.fun, abs=1e-4)

    def test_the_rows(self) -> None:
        for name in ("kl-forward", "chi2", "cvar"):
            rule = METHODS[f"dro-{name}"].make_rule(Recipe(), torch.ones(3))
            assert isinstance(rule, FAAL)
            assert rule.ball == name
        rule = METHODS["faal-at"].make_rule(Recipe(constants={"ball": "chi2"}), torch.ones(3))
        assert isinstance(rule, FAAL)
        assert rule.ball == "chi2"
        with pytest.raises(InputError, match=r"no constant of dro-chi2 'ball'"):
            METHODS["dro-chi2"].make_rule(Recipe(method="dro-chi2", constants={"ball": "kl"}), torch.ones(3))


class TestFirstEpoch:
    RAMP = Schedule((0.0, 0.5, 0.75), (0.0, 0.25, 0.5))

    @pytest.mark.parametrize(("epochs", "first"), [(200, 100), (40, 20), (7, 4), (2, 1), (1, 1)])
    def test_where_tau_leaves_zero(self, epochs: int, first: int) -> None:
        assert FAAL(4, tau=self.RAMP).first_epoch(epochs) == first
        assert FAAL(4, tau=self.RAMP, frequencies=torch.full((4,), 480)).first_epoch(epochs) == first

    def test_at_once_or_never(self) -> None:
        assert FAAL(4, tau=0.5).first_epoch(40) == 0
        assert FAAL(4, tau=0.0).first_epoch(40) == 40

    def test_unequal_classes_weigh_from_the_first(self) -> None:
        """At tau 0 it is then class-balanced training. So do averages, which note what they see."""
        assert FAAL(2, tau=self.RAMP, frequencies=torch.tensor([5, 4])).first_epoch(40) == 0
        assert FAAL(2, tau=self.RAMP, smoothing=0.9).first_epoch(40) == 0

    def test_of_a_run(self) -> None:
        """The average's beginning counts too."""
        recipe = Recipe(method="faal-at", epochs=40, tau=self.RAMP)
        equal = torch.tensor([48, 48])
        assert first_epoch(recipe, equal) == 20
        assert first_epoch(recipe, torch.tensor([48, 47])) == 0
        for average, start, first in (("step", 0.25, 10), ("epoch", 0.75, 20), ("gated", 0.0, 20), ("step", 0.0, 0)):
            changed = recipe.replace({"average": average, "average_from": start}, source="test")
            assert first_epoch(changed, equal) == first
        absolute = recipe.replace({"average": "gated", "average_gate": 0.2, "average_from": 0.1}, source="test")
        assert first_epoch(absolute, equal) == 4
        assert first_epoch(recipe.replace({"method": "pgd-at"}, source="test"), equal) == 40
        dafa = recipe.replace({"method": "dafa", "epochs": 110}, source="test")
        assert first_epoch(dafa, equal) == 69


def test_it_is_made_from_the_recipe() -> None:
    rule = METHODS["faal-at"].make_rule(Recipe(counted=True), torch.tensor([3, 1]))
    assert isinstance(rule, FAAL)
    assert rule.counted
