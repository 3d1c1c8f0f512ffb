"""Storage of images, from which batches are fetched.

Batches are float32 in [0, 1] on the target device. The images are stored as one uint8 tensor on the device, as a
tensor in the host's memory if it is too large for the device, or as files that are decoded on demand.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from faal.data.readers.image_files import decoded, threads
from faal.errors import InputError

RESIDENT_LIMIT = 2 * 1024**3
"""Bytes of decoded uint8 up to which a split is stored in memory and on the device. Larger ones are streamed."""

COLOURED = (
    "Gray images were given three equal channels: an attack changes each separately, while a gray camera has only one, "
    "so that robust accuracy may be lower than under attacks on one gray channel."
)
"""The note on images that `in_rgb` changed."""


class Images(Protocol):
    """N images of one shape (channels, H, W).

    Attributes:
        shape: (channels, H, W).
        device: the device of the batches that `fetch` returns.
        streams: whether `read` reads from the host's memory or disk, so that prefetching saves time.
    """

    shape: tuple[int, int, int]
    device: torch.device
    streams: bool

    def __len__(self) -> int:
        """N."""
        ...

    def read(self, index: Tensor) -> Tensor:
        """Pixels as stored: (B,) int64 -> (B, channels, H, W), uint8 or float32, on the storage's own device."""
        ...

    def fetch(self, index: Tensor) -> Tensor:
        """(B,) int64, on any device -> (B, channels, H, W) float32 in [0, 1] on `device`."""
        ...

    def take(self, index: Tensor) -> "Images":
        """The images at `index` (M,), in that order."""
        ...

    def to(self, device: torch.device | str) -> "Images":
        """The same images, with batches on `device`."""
        ...


def to_float(pixels: Tensor, device: torch.device) -> Tensor:
    """Stored pixels -> float32 in [0, 1] on `device`, converted there: uint8 needs a quarter of the copied bytes."""
    pixels = pixels.to(device, non_blocking=device.type == "cuda")
    if pixels.dtype != torch.uint8:
        return pixels
    # Divided by a tensor, not by the number 255: for a number, CUDA multiplies by its reciprocal, whose rounding
    # differs from the CPU's division.
    return pixels.float() / torch.full((), 255.0, device=device)


class InMemory(Images):
    """Images in one tensor, on the device where it is small enough and in the host's memory otherwise.

    Args:
        pixels: (N, channels, H, W), uint8, or float32 in [0, 1].
        device: of the batches; the tensor's own device by default.
    """

    def __init__(self, pixels: Tensor, device: torch.device | None = None) -> None:
        empty = pixels.shape[:1] != (0,) and 0 in pixels.shape[1:]
        if pixels.ndim != 4 or empty or pixels.dtype not in (torch.uint8, torch.float32):
            raise InputError(
                f"images are {_described(pixels)}; they must be (N, channels, H, W), with a pixel or more "
                "each, uint8, or float32 in [0, 1]"
            )
        self.pixels = pixels
        self.shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
        self.device = device or pixels.device
        self.streams = self.device != pixels.device

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, index: Tensor) -> Tensor:
        pixels = self.pixels.index_select(0, index.to(self.pixels.device))
        return _pinned(pixels, self.device)

    def fetch(self, index: Tensor) -> Tensor:
        return to_float(self.read(index), self.device)

    def take(self, index: Tensor) -> "InMemory":
        return InMemory(self.pixels.index_select(0, index.to(self.pixels.device)), self.device)

    def to(self, device: torch.device | str) -> "InMemory":
        device = _indexed(device)
        resident = device.type == "cpu" or self.pixels.nbytes <= RESIDENT_LIMIT
        return InMemory(self.pixels.to(device) if resident else self.pixels, device)

    def in_rgb(self) -> "InMemory":
        """Gray images with three equal channels; RGB images unchanged."""
        return self if self.shape[0] == 3 else InMemory(self.pixels.expand(-1, 3, -1, -1).contiguous(), self.device)

    def resized(self, height: int, width: int) -> "InMemory":
        """The images at another size, bilinear with antialiasing; the dtype is unchanged."""
        chunks = []
        for first in range(0, len(self), 1024):
            pixels = self.pixels[first : first + 1024]
            chunk = F.interpolate(pixels.float(), size=(height, width), mode="bilinear", antialias=True)
            ceiling = 255.0 if pixels.dtype == torch.uint8 else 1.0
            chunk = chunk.clamp_(0, ceiling)
            chunks.append(chunk.round_().to(torch.uint8) if pixels.dtype == torch.uint8 else chunk)
        return InMemory(torch.cat(chunks), self.device)


class OnDisk(Images):
    """Image files, decoded by a pool of threads when a batch is read.

    Colours are read as stored: alpha is dropped, a palette resolved, an orientation tag not applied; of several frames
    the first is read. Files of more than 8 bits per channel are rejected.

    Args:
        paths: the N files.
        shape: (channels, H, W) that every image is converted to: 1 channel (gray) or 3 (RGB); a file of another size is
            resized, bilinear with antialiasing.
        device: of the batches; the CPU by default.
    """

    def __init__(self, paths: Sequence[Path], shape: tuple[int, int, int], device: torch.device | None = None) -> None:
        self.paths = paths
        self.shape = shape
        self.device = device or torch.device("cpu")
        self.streams = True

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: Tensor) -> Tensor:
        """As `Images.read`. Raises InputError with the file's name where one does not decode."""
        pixels = torch.empty(len(index), *self.shape, dtype=torch.uint8)
        rows = pixels.numpy()

        def fill(row: int, image: int) -> None:
            rows[row] = decoded(self.paths[image], self.shape)

        list(threads().map(fill, range(len(index)), index.tolist()))
        return _pinned(pixels, self.device)

    def fetch(self, index: Tensor) -> Tensor:
        return to_float(self.read(index), self.device)

    def take(self, index: Tensor) -> "OnDisk":
        return OnDisk([self.paths[image] for image in index.tolist()], self.shape, self.device)

    def to(self, device: torch.device | str) -> "OnDisk":
        return OnDisk(self.paths, self.shape, _indexed(device))


def _described(pixels: Tensor) -> str:
    return f"{tuple(pixels.shape)} of {str(pixels.dtype).removeprefix('torch.')}"


def _indexed(device: torch.device | str) -> torch.device:
    """The device with its number, so that `cuda` and `cuda:0` compare equal."""
    return torch.empty(0, device=device).device


def _pinned(pixels: Tensor, device: torch.device) -> Tensor:
    """Pixels in page-locked memory where they will be copied to a GPU: only then the copy overlaps with computation."""
    return pixels.pin_memory() if device.type == "cuda" and pixels.device.type == "cpu" else pixels
