"""AutoAttack's verdicts sample by sample: the audit's against those of pyautoattack, called as its documentation does.

One block of images, the same order, the same seed. The audit attacks the images that are predicted correctly, on the
engine that it chooses for the network, and judges every result itself in float32; pyautoattack is given the whole block
and its own judgement is taken.
"""

from typing import Any

import pyautoattack
import torch
from torch import Tensor, nn

from faal.audit import AuditResult
from faal.audit.blocks import block_seed
from faal.engine.determinism import preserve_rng


def by_hand(net: nn.Module, images: Tensor, labels: Tensor, epsilon: float, seed: int) -> tuple[Tensor, Tensor]:
    """pyautoattack's adversarial examples and the classes that it predicts for them, for one batch."""
    with preserve_rng():
        attack = pyautoattack.AutoAttack(
            net, norm="Linf", eps=epsilon, version="standard", seed=seed, device=torch.device("cpu")
        )
        adversarial, predicted = attack.run_standard_evaluation(images, labels, batch_size=len(images))
    return adversarial, predicted


def compared(
    net: nn.Module, images: Tensor, labels: Tensor, result: AuditResult, index: Tensor, epsilon: float
) -> dict[str, Any]:
    """The two verdicts of every sample of an audit of one block, and each difference by itself.

    Args:
        net: the network, in evaluation mode.
        images: those of the block, (B, channels, H, W) in [0, 1].
        labels: (B,) int64.
        result: the audit, with `autoattack`.
        index: (B,) the images' positions in the test set.
        epsilon: radius of the ball.
    """
    adversarial, predicted = by_hand(net, images, labels, epsilon, block_seed(result.seed, 0))
    ours = torch.from_numpy(result.verdicts.correct("autoattack"))
    theirs = predicted == labels
    differences = [
        {
            "image": int(index[place]),
            "class": int(labels[place]),
            "robust in the audit": bool(ours[place]),
            "robust in pyautoattack": bool(theirs[place]),
            "margin of pyautoattack's example": _margin(net, adversarial[place], int(labels[place])),
        }
        for place in (ours != theirs).nonzero().flatten().tolist()
    ]
    return {
        "n": len(labels),
        "robust in the audit": int(ours.sum()),
        "robust in pyautoattack": int(theirs.sum()),
        "equal verdicts": int((ours == theirs).sum()),
        "equal predictions": int((torch.from_numpy(result.verdicts.predicted["autoattack"]) == predicted).sum()),
        "differences": differences,
    }


@torch.no_grad()
def _margin(net: nn.Module, image: Tensor, label: int) -> float:
    """Largest other logit minus the true class's: above 0 where the network misclassifies."""
    logits = net(image[None])[0]
    others = logits.clone()
    others[label] = -torch.inf
    return float(others.max() - logits[label])
