"""`attack_loss: alternate`: every other batch of the run, from the second, is attacked on the CW margin."""

from pathlib import Path

import pytest
import torch
from tests.conftest import toy_data
from torch import Tensor, nn

from faal import checkpoint
from faal import step as steps
from faal.config import Recipe
from faal.inner.pgd import AttackSettings, pgd
from faal.models import Architecture, build_model
from faal.train.loop import train

CPU = torch.device("cpu")


@pytest.fixture
def recipe(recipe: Recipe) -> Recipe:
    """Three batches an epoch, an odd number: the turns go on over the epochs."""
    return recipe.replace({"attack_loss": "alternate", "checkpoint_every": 0, "log_every": 1}, source="test")


class KilledError(Exception):
    """The end of the process."""


def run(recipe: Recipe, out: Path) -> None:
    architecture = Architecture(model="small", num_classes=4, channels=1, width=4)
    net = build_model(architecture, seed=1)
    train(net, architecture, toy_data([12] * 4), recipe, out=out, seed=1, device=CPU, quiet=True)


def recorded_losses(monkeypatch: pytest.MonkeyPatch, *, kill_at: int | None = None) -> list[str]:
    """The losses of the attacks in training, in order."""
    losses: list[str] = []

    def recorded(net: nn.Module, images: Tensor, labels: Tensor, attack: AttackSettings, **named: object) -> Tensor:
        if len(losses) == kill_at:
            raise KilledError
        losses.append(attack.loss)
        return pgd(net, images, labels, attack, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(steps, "pgd", recorded)
    return losses


@pytest.mark.parametrize(("method", "own"), [("faal-at", "ce"), ("faal-trades", "kl")])
def test_own_and_cw_take_turns(
    method: str, own: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = recorded_losses(monkeypatch)
    run(recipe.replace({"method": method}, source="test"), tmp_path)
    assert losses == [own, "cw", own, "cw", own, "cw"]


@pytest.mark.parametrize("kill_at", [1, 2, 3, 4])
def test_a_resumed_run_keeps_the_turns(
    kill_at: int, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe, tmp_path / "whole")
    recorded_losses(monkeypatch, kill_at=kill_at)
    with pytest.raises(KilledError):
        run(recipe, tmp_path / "killed")
    losses = recorded_losses(monkeypatch)
    run(recipe, tmp_path / "killed")
    assert losses == ["ce", "cw", "ce", "cw", "ce", "cw"][kill_at:]
    whole, killed = (checkpoint.load(tmp_path / name / "last.pt")["weights"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
