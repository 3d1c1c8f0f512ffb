"""Random numbers that depend only on (seed, epoch, sample).

A generator's next number depends on earlier draws. Random starts and augmentation must not: they must be equal for
one process and for many, on a CPU and on a GPU, before and after a resume. So they are computed by a hash: each number
is a function of the run's seed, the epoch, the sample's key (its index in the training set, or the position of a draw
where it may occur several times), a stream (the purpose of the number) and the number's position in the sample.
"""

import hashlib
import math
from enum import IntEnum

import torch
from torch import Tensor


class Stream(IntEnum):
    """The purpose of a number. Two streams never share numbers."""

    START = 1
    CROP = 2
    FLIP = 3
    RESTART = 4
    DRAW = 5


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from any number of parts, equal on every machine. For generators and seeds of other libraries."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded from `parts`; for permutations and splits."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int32 (torch's own shift preserves the sign)."""
    return (x >> bits) & ((1 << (32 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """A bijection of 32-bit words in which every input bit flips every output bit half of the time.

    Two rounds of xor-shift and odd multiplication; int32 multiplication wraps, on every device.
    """
    x = x ^ _shift_right(x, 16)
    x = x * 0x21F0AAAD
    x = x ^ _shift_right(x, 15)
    x = x * 0x735A2D97
    return x ^ _shift_right(x, 15)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >= 1 << 31 else word


def uniform(index: Tensor, count: int, *, seed: int, epoch: int, stream: Stream) -> Tensor:
    """Uniform numbers in [0, 1), one row per sample.

    Args:
        index: (B,) int64, the key of each sample, unique within the epoch (`Batch.key`).
        count: the number of random numbers per sample.
        seed: the run's seed.
        epoch: the epoch, from 0.
        stream: the purpose of the numbers.

    Returns:
        (B, count) float32 on the device of `index`; multiples of 2^-24.
    """
    key = derive_seed(seed, epoch, int(stream))
    low, high = _signed(key & 0xFFFFFFFF), _signed(key >> 32)
    sample = _mix(_mix(index.to(torch.int32) ^ low) ^ high)
    position = torch.arange(count, device=index.device, dtype=torch.int32) * _signed(0x9E3779B9)
    words = _mix(_mix(sample[:, None] + position[None, :]) ^ high)
    return _shift_right(words, 8).to(torch.float32) * 2.0**-24


def normal(index: Tensor, count: int, *, seed: int, epoch: int, stream: Stream) -> Tensor:
    """Standard normal numbers (B, count) by the Box-Muller transform of `uniform`."""
    half = (count + 1) // 2
    u = uniform(index, 2 * half, seed=seed, epoch=epoch, stream=stream)
    radius = torch.sqrt(-2.0 * torch.log1p(-u[:, :half]))
    angle = 2.0 * math.pi * u[:, half:]
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)[:, :count]
