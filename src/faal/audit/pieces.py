"""A network that holds the activations of a few images at a time, whatever it is asked for."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Pieces(nn.Module):
    """`model`, run on at most `limit` images at once: the memory limit of an audit.

    An attack sees whole blocks and draws its random numbers for whole blocks; only the forward is split. Where a
    gradient is wanted, each piece's activations are dropped and computed again on the way back, one forward more per
    step. Verdicts may differ from the unsplit ones only as far as the device's arithmetic depends on the batch size:
    by rounding.
    """

    def __init__(self, model: nn.Module, limit: int) -> None:
        super().__init__()
        self.model = model
        self.limit = limit

    def forward(self, images: Tensor) -> Tensor:
        if len(images) <= self.limit:
            return self._logits(images)
        pieces = torch.split(images, self.limit)
        if torch.is_grad_enabled() and images.requires_grad:
            return torch.cat([checkpoint(self._logits, piece, use_reentrant=False) for piece in pieces])
        return torch.cat([self._logits(piece) for piece in pieces])

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images)
        return logits
