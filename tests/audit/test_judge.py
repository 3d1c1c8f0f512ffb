from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from faal.audit.attacks.protocol import AttackedBlock
from faal.audit.judge import AttackVerdict, judge_attack, judge_clean
from faal.config import Threat
from faal.errors import InputError


class Sums(nn.Module):
    """Two classes: the logit of class 1 is the mean pixel, that of class 0 one half; NaN for an image above 0.9."""

    def forward(self, images: Tensor) -> Tensor:
        mean = images.flatten(1).mean(dim=1)
        mean = torch.where(mean > 0.9, torch.nan, mean)
        return torch.stack([torch.full_like(mean, 0.5), mean], dim=1)


@dataclass(frozen=True)
class Scripted:
    """An attack that returns a given change of all images, whichever are active."""

    change: Callable[[Tensor], Tensor]
    name: str = "scripted"

    def parameters(self, **_: Any) -> dict[str, Any]:
        return {}

    def caveats(self, **_: Any) -> tuple[str, ...]:
        return ()

    def run(self, model: nn.Module, block: AttackedBlock, warn: Callable[[str], None]) -> Tensor:
        return self.change(block.images)


IMAGES = torch.tensor([0.2, 0.45, 0.55, 0.48]).view(4, 1, 1, 1).expand(4, 1, 2, 2).clone()
LABELS = torch.tensor([0, 0, 1, 1])  # the last is misclassified without attack
INDEX = torch.tensor([10, 11, 12, 13])


def judged(change: Callable[[Tensor], Tensor], epsilon: float = 0.1) -> AttackVerdict:
    clean = judge_clean(Sums(), IMAGES, INDEX, 2)
    assert clean.predicted.tolist() == [0, 0, 1, 0]
    return judge_attack(Sums(), IMAGES, LABELS, INDEX, clean, Scripted(change), threat=Threat(epsilon=epsilon), seed=0)


def test_a_success_counts_and_is_an_example() -> None:
    verdict = judged(lambda x: torch.where(x < 0.5, x + 0.1, x - 0.1))
    assert verdict.predicted.tolist() == [0, 1, 0, 0]
    assert verdict.predicted.dtype == np.int16
    assert verdict.warnings == ()
    examples = verdict.examples
    assert examples.index.tolist() == [11, 12]
    assert examples.label.tolist() == [0, 1]
    assert examples.clean_predicted.tolist() == [0, 1]
    assert examples.adversarial_predicted.tolist() == [1, 0]
    assert examples.attack.tolist() == ["scripted", "scripted"]
    assert examples.original[:, 0, 0, 0].tolist() == [115, 140]
    assert examples.adversarial[:, 0, 0, 0].tolist() == [140, 115]


def test_rounding_is_tolerated_and_nothing_more() -> None:
    assert judged(lambda x: x + 0.1 + 5e-7).predicted.tolist() == [0, 1, 1, 0]
    verdict = judged(lambda x: x + 0.1 + 5e-6)
    assert verdict.predicted.tolist() == [0, 0, 1, 0]
    assert "3 adversarial images were outside the ball" in verdict.warnings[0]


@pytest.mark.parametrize("value", [-0.05, 1.0 + 1e-6, float("nan")])
def test_an_image_outside_its_range_does_not_count(value: float) -> None:
    verdict = judged(lambda x: torch.full_like(x, value), epsilon=1.0)
    assert verdict.predicted.tolist() == [0, 0, 1, 0]
    assert len(verdict.examples) == 0
    assert "outside the ball or [0, 1]" in verdict.warnings[0]


def test_an_output_of_nan_does_not_count() -> None:
    verdict = judged(lambda x: torch.full_like(x, 0.95), epsilon=1.0)
    assert verdict.predicted.tolist() == [0, 0, 1, 0]
    assert "NaN" in verdict.warnings[0]


def test_a_sample_misclassified_without_attack_cannot_be_corrected_by_it() -> None:
    assert judged(lambda x: x + 0.05).predicted[3] == 0


def test_a_sample_misclassified_without_attack_is_no_example() -> None:
    verdict = judged(lambda x: x)
    assert verdict.predicted.tolist() == [0, 0, 1, 0]
    assert len(verdict.examples) == 0


def test_the_digest_is_of_the_images_alone() -> None:
    first = judge_clean(Sums(), IMAGES, INDEX, 2)
    assert judge_clean(Sums(), IMAGES, INDEX + 1, None).digest == first.digest
    assert judge_clean(Sums(), IMAGES + 1e-6, INDEX, 2).digest != first.digest


def test_probabilities_are_detected() -> None:
    soft = nn.Sequential(Sums(), nn.Softmax(dim=1))
    assert judge_clean(soft, IMAGES, INDEX, 2).probabilities
    assert not judge_clean(Sums(), IMAGES, INDEX, 2).probabilities


def test_verdicts_without_examples_have_no_images() -> None:
    verdict = judged(lambda x: torch.where(x < 0.5, x + 0.1, x - 0.1))
    without = verdict.without_examples()
    assert len(without.examples) == 0
    assert replace(without, examples=verdict.examples) != without
    assert without.predicted is verdict.predicted


@pytest.mark.parametrize(
    ("net", "images", "message"),
    [
        (Sums(), IMAGES + 0.6, r"image 11 has values from 1.05 to 1.05, outside \[0, 1\]: clamp"),
        (Sums(), IMAGES * 255, "divide by 255"),
        (Sums(), IMAGES - 0.3, r"image 10 has values from -0.1 to -0.1, outside \[0, 1\]: clamp"),
        (Sums(), IMAGES - 0.6, "undo the normalisation"),
        (Sums(), IMAGES * torch.nan, "image 10 has values that are NaN or infinite"),
        (Sums(), torch.full_like(IMAGES, 0.95), "output for image 10 is NaN"),
        (nn.Flatten(), IMAGES, "has 4 outputs but there are 2 classes"),
        (nn.Identity(), IMAGES, r"returns shape \(4, 1, 2, 2\) for 4 images"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3, 2)), IMAGES, r"does not accept images of shape \(1, 2, 2\)"),
    ],
)
def test_input_without_a_valid_figure_is_refused(net: nn.Module, images: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge_clean(net, images, INDEX, 2)


def test_any_width_is_accepted_where_none_is_required_but_one_output_is_too_few() -> None:
    assert judge_clean(nn.Flatten(), IMAGES, INDEX, None).num_classes == 4
    with pytest.raises(InputError, match="one output"):
        judge_clean(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), IMAGES, INDEX, None)
