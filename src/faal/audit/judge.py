"""The verdict on a block: the network's predictions, clean and under an attack, with checks."""

import hashlib
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faal.audit.attacks.backend import Fast
from faal.audit.attacks.protocol import Attack, AttackedBlock
from faal.audit.checks import are_probabilities, check_images, check_logits, forward
from faal.audit.records.examples import Examples, as_bytes, select_rows
from faal.config import Threat
from faal.engine.memory import ChunkedForward
from faal.inner.norms import NORMS

TOLERANCE = 1e-6
"""Per-pixel tolerance of the ball check, for float32 rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CleanVerdict:
    """The clean predictions of a block: `predicted` (B,) int16, whether all outputs are probabilities, the width of the
    model's output, and the SHA-256 of every image, 32 bytes each; `logits`, the dtype of the model's logits, and
    `ties`, the number of images whose two largest are equal; `beyond`, how far images were outside [0, 1] before
    clamping."""

    predicted: NDArray[np.int16]
    seconds: float
    probabilities: bool
    num_classes: int
    images: bytes
    logits: str = "float32"
    ties: int = 0
    beyond: float = 0.0

    @property
    def digest(self) -> str:
        """SHA-256 of all images of the block."""
        return hashlib.sha256(self.images).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackVerdict:
    """The outcome of an attack on a block: `predicted` (B,) int16, seconds, warnings, and some of its adversarial
    examples."""

    predicted: NDArray[np.int16]
    seconds: float
    warnings: tuple[str, ...]
    examples: Examples

    def without_examples(self) -> "AttackVerdict":
        """A copy without the examples, for communication between processes."""
        return replace(self, examples=self.examples.take(np.arange(0)))


@torch.no_grad()
def judge_clean(model: nn.Module, images: Tensor, index: Tensor, num_classes: int | None) -> CleanVerdict:
    """The model's predictions for clean images, with checks of both.

    Args:
        model: the network, in evaluation mode.
        images: (B, channels, H, W) float32, the block.
        index: (B,) int64 on the CPU, the samples' indices in the data, which messages name.
        num_classes: the required width of the output; None accepts any.

    Raises:
        InputError: images outside [0, 1]; an output that is not (B, classes) logits, of another width, or not finite.
    """
    start = time.perf_counter()
    check_images(images, index)
    logits = forward(model, images)
    check_logits(logits, index, num_classes)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    dtype = model.dtype if isinstance(model, ChunkedForward) else logits.dtype
    return CleanVerdict(
        predicted=_int16(logits.argmax(dim=1)),
        seconds=time.perf_counter() - start,
        probabilities=are_probabilities(logits),
        num_classes=logits.shape[1],
        images=image_digests(images),
        logits=str(dtype).removeprefix("torch."),
        ties=int((first == second).sum()),
    )


def judge_attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    index: Tensor,
    clean: CleanVerdict,
    attack: Attack,
    *,
    threat: Threat,
    seed: int,
    fast: Fast | None = None,
) -> AttackVerdict:
    """Attack the samples of a block that are predicted correctly without attack, and confirm the attack's images.

    An adversarial image is accepted if it is within epsilon of its original and within [0, 1], and is misclassified in
    float32, with finite logits. Otherwise the sample is robust, with its clean prediction. A sample on which the attack
    may have stopped because of the logits of `fast`, which the network does not confirm, is attacked again from the
    start on the network, so that rounding does not make a sample robust.

    Args:
        model: the network, in evaluation mode.
        images: (B, channels, H, W) float32 in [0, 1], the block.
        labels: (B,) int64, on the images' device.
        index: (B,) int64 on the CPU, the samples' indices in the data.
        clean: the verdict on the clean block.
        attack: the attack.
        threat: the ball that bounds it.
        seed: the block's seed.
        fast: the copy that the attack runs on; by default it runs on the network.
    """
    start = time.perf_counter()
    before = torch.from_numpy(clean.predicted).to(labels)
    active = before == labels
    warnings: list[str] = []
    block = AttackedBlock(
        images=images, labels=labels, active=active, threat=threat, seed=seed, num_classes=clean.num_classes
    )
    adversarial = attack.run(fast or model, block, warnings.append).detach()
    if fast is not None:
        repeat = active & fast.needs_repeat(adversarial, labels)
        if repeat.any():
            adversarial[repeat] = attack.run(model, replace(block, active=repeat), lambda _: None).detach()[repeat]
    with torch.no_grad():
        logits = model(adversarial)
    inside = _inside(adversarial, images, threat)
    finite = logits.isfinite().all(dim=1)
    misclassified = active & inside & finite & (logits.argmax(dim=1) != labels)
    predicted = torch.where(misclassified, logits.argmax(dim=1), before)
    if rejected := int((active & ~inside).sum()):
        warnings.append(f"{rejected} adversarial images were outside the ball or [0, 1] and were not accepted.")
    if rejected := int((active & inside & ~finite).sum()):
        warnings.append(f"{rejected} adversarial images had an output that is NaN or infinite and were not accepted.")

    rows = misclassified.nonzero().squeeze(1).cpu()
    # One example per class and block is enough.
    rows = rows[torch.from_numpy(select_rows(labels.cpu()[rows].numpy(), index[rows].numpy(), per_class=1))]
    shown = rows.to(labels.device)
    return AttackVerdict(
        predicted=_int16(predicted),
        seconds=time.perf_counter() - start,
        warnings=tuple(warnings),
        examples=Examples(
            index=index[rows].numpy(),
            original=as_bytes(images[shown]),
            adversarial=as_bytes(adversarial[shown]),
            label=labels[shown].cpu().numpy(),
            clean_predicted=clean.predicted[rows.numpy()],
            adversarial_predicted=_int16(predicted[shown]),
            attack=np.full(len(rows), attack.name),
        ),
    )


def _inside(adversarial: Tensor, images: Tensor, threat: Threat) -> Tensor:
    """(B,) bool: within epsilon of the original, and within [0, 1]. False for NaN."""
    distance = NORMS[threat.norm].distance
    in_ball = distance(adversarial, images) <= threat.epsilon + distance(images + TOLERANCE, images)
    return in_ball & ((adversarial >= 0) & (adversarial <= 1)).flatten(1).all(dim=1)


def image_digests(images: Tensor) -> bytes:
    """The SHA-256 of each of (B, channels, H, W) images, 32 bytes each."""
    return b"".join(map(_sha256, images.cpu().numpy()))


def _sha256(image: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


def _int16(classes: Tensor) -> NDArray[np.int16]:
    return classes.to("cpu", torch.int16).numpy()
