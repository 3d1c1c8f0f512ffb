"""A step never waits for its device: between two logs nothing on the host depends on a value there.

A meta tensor has a shape and no values, so that whatever would read one fails.
"""

from contextlib import nullcontext

import pytest
import torch
from tests.conftest import TRAINED

from faal.config import Recipe
from faal.data import Batch
from faal.engine.numerics import Numerics
from faal.inner import boundary, pgd
from faal.models import Architecture, build_model
from faal.step import Learner, StepContext, StepResult, train_step
from faal.train.learner import learner_for

META = torch.device("meta")
CLASSES, SAMPLES = 3, 6


@pytest.fixture(autouse=True)
def _no_casts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be cast on a device without values, not even not at all."""
    for module in (pgd, boundary):
        monkeypatch.setattr(module, "full_precision", lambda images, enabled=True: nullcontext())


def learner_nowhere(recipe: Recipe) -> Learner:
    net = build_model(Architecture(model="small", num_classes=CLASSES, channels=1, width=4), seed=0).to(META)
    learner = learner_for(net, recipe, torch.tensor([9, 6, 3]), seed=0, numerics=Numerics(device=META, bf16=False))
    learner.optimizer.param_groups[0]["fused"] = False  # there is no fused step of nothing
    return learner


def step_nowhere(learner: Learner) -> StepResult:
    labels = torch.empty(SAMPLES, dtype=torch.int64, device=META)
    batch = Batch(torch.empty(SAMPLES, 1, 8, 8, device=META), labels, labels, labels, labels)
    return train_step(learner, batch, StepContext(epoch=0, progress=0.0))


@pytest.mark.parametrize("ball", ["kl", "kl-forward", "chi2", "cvar"])
def test_no_ball_reads_a_value(ball: str) -> None:
    recipe = Recipe(method="faal-at", steps=2, constants={"ball": ball}, smoothing=0.5)
    assert step_nowhere(learner_nowhere(recipe)).weights.shape == (CLASSES,)


@pytest.mark.medium
@pytest.mark.parametrize("name", TRAINED)
def test_no_method_reads_a_value(name: str) -> None:
    result = step_nowhere(learner_nowhere(Recipe(method=name, steps=2)))
    assert result.weights.device == META


def test_reading_a_value_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = learner_nowhere(Recipe(method="faal-at", steps=2))
    weigh = learner.rule.weigh
    monkeypatch.setattr(learner.rule, "weigh", lambda batch: weigh(batch) if batch.counts.sum() > 0 else None)
    with pytest.raises(RuntimeError):
        step_nowhere(learner)
