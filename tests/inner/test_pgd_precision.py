"""The KL attack under bfloat16: its start is so close to the image that their logits are equal, or differ by noise."""

from contextlib import nullcontext

import pytest
import torch

from faal.inner import boundary, pgd
from faal.models import Architecture, build_model


def agreement(*, at_boundary: bool) -> float:
    """The share of pixels that the attack moves in one direction in bfloat16 and in float32."""
    net = build_model(Architecture(model="prn18", num_classes=10, channels=3, width=8), seed=1).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(16, 3, 16, 16, generator=generator)
    noise = torch.randn(images.shape, generator=generator)
    with torch.no_grad():
        labels = net(images).argmax(dim=1)
    found = []
    for low in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low, cache_enabled=False):
            search = boundary.crossing if at_boundary else pgd.pgd
            attack = pgd.AttackSettings(steps=3, loss="kl", start="gaussian")
            result = search(net, images, labels, attack, epsilon=8 / 255, step_size=2 / 255, noise=noise)
        found.append(((result[1] if at_boundary else result) - images).sign())
    return float((found[0] == found[1]).float().mean())


@pytest.mark.parametrize("at_boundary", [False, True])
def test_the_first_step_in_full_precision_sets_the_direction(
    at_boundary: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = agreement(at_boundary=at_boundary)
    for module in (pgd, boundary):
        monkeypatch.setattr(module, "full_precision", lambda images, enabled=True: nullcontext())
    blunt = agreement(at_boundary=at_boundary)
    assert sharp > 0.85
    assert blunt < sharp - 0.1
