"""What the tests of an audit's parts audit."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from faal.audit.blocks import Subject
from faal.config import Threat
from faal.data.images import InMemory


def subject_of(model: nn.Module, images: Tensor, labels: Tensor, **settings: Any) -> Subject:
    """All images in order, on the CPU, at linf epsilon 0.15, in blocks of 16 with seed 7; `settings` change fields."""
    subject = Subject(
        model=model,
        images=InMemory(images),
        labels=labels,
        index=torch.arange(len(labels)),
        device=torch.device("cpu"),
        threat=Threat(epsilon=0.15),
        seed=7,
        block_size=16,
        key="net",
    )
    return replace(subject, **settings)
