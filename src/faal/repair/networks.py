"""Builds the candidates of a repair in one module."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from faal import checkpoint
from faal.models.offsets import OFFSETS, Offset, with_offsets, without_offsets
from faal.repair.blends import blended
from faal.repair.candidates import RepairCandidate
from faal.train.folder import epoch_file


class StoredEpochs(Mapping[int, dict[str, Tensor]]):
    """The weights of a fine-tune's epochs, by number, each read when it is needed: all of them may exceed the memory.

    Args:
        out: the folder of the repair.
        count: the number of epochs.
    """

    def __init__(self, out: Path, count: int) -> None:
        self.out, self.count = out, count

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        weights: dict[str, Tensor] = checkpoint.load(self.out / epoch_file(number))["weights"]
        return weights

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def __len__(self) -> int:
        return self.count


class Networks:
    """The base, and networks of its architecture with other weights.

    Args:
        net: the base on the device, an `Offset` where it has offsets.
        num_classes: C.
    """

    def __init__(self, net: nn.Module, num_classes: int) -> None:
        self.net, self.num_classes = net, num_classes
        self.base = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}

    def weights(self, candidate: RepairCandidate, epochs: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """A candidate's state dict without its own offsets; `epochs`: those of the epochs, by number."""
        if candidate.epoch is None:
            return self.base
        return blended(self.base, epochs[candidate.epoch], candidate.share)

    def load(self, weights: Mapping[str, Tensor], offsets: tuple[float, ...] | None) -> nn.Module:
        """The module with these weights, in evaluation mode; with offsets an `Offset`."""
        self.net.load_state_dict(dict(weights))
        self.net.eval()
        if offsets is None:
            return self.net
        values = torch.tensor(offsets, dtype=torch.float32, device=next(iter(self.net.state_dict().values())).device)
        if isinstance(self.net, Offset):
            self.net.offsets.copy_(values)
            return self.net
        return Offset(self.net, values)

    def stored(self, weights: Mapping[str, Tensor], offsets: tuple[float, ...] | None) -> dict[str, Tensor]:
        """The state dict of a candidate in its checkpoint."""
        if offsets is None:
            return dict(weights)
        inner = without_offsets(weights) if OFFSETS in weights else weights
        return with_offsets(inner, torch.tensor(offsets, dtype=torch.float32))

    def load_stored(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The module with the state dict of a candidate's checkpoint."""
        if OFFSETS not in weights or isinstance(self.net, Offset):
            return self.load(weights, None)
        return self.load(without_offsets(weights), tuple(weights[OFFSETS].tolist()))
