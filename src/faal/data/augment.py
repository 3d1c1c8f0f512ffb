"""Random crop and flip, per sample, on the device; independent of how samples are batched."""

import torch
import torch.nn.functional as F
from torch import Tensor

from faal.engine.seeds import Stream, uniform


def augment(images: Tensor, *, key: Tensor, seed: int, epoch: int, crop: int, flip: bool) -> Tensor:
    """Shift each image by up to `crop` pixels, filling with zeros, and mirror it with probability 1/2.

    A sample's shift and flip depend only on (seed, epoch, key).

    Args:
        images: (B, channels, H, W) in [0, 1].
        key: (B,) int64 on the images' device, from which the samples' random numbers follow: `Batch.key`.
        seed: the run's seed.
        epoch: the epoch, from 0.
        crop: width in pixels of the zero padding from which a window of the image's size is cropped; 0 for none.
        flip: whether to mirror left and right with probability 1/2.

    Returns:
        (B, channels, H, W), dtype and device of `images`.
    """
    if not (crop or flip):
        return images
    batch, channels, height, width = images.shape
    device = images.device
    rows = torch.arange(height, device=device).expand(batch, height)
    columns = torch.arange(width, device=device).expand(batch, width)
    if flip:
        mirrored = uniform(key, 1, seed=seed, epoch=epoch, stream=Stream.FLIP) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    if crop:
        # Multiples of 2^-24 below 1: times 2 crop + 1 they never round up to it.
        shift = uniform(key, 2, seed=seed, epoch=epoch, stream=Stream.CROP) * (2 * crop + 1)
        corner = shift.to(torch.int64)
        rows, columns = rows + corner[:, :1], columns + corner[:, 1:]
        images = F.pad(images, (crop, crop, crop, crop))
    sample = torch.arange(batch, device=device)[:, None, None, None]
    channel = torch.arange(channels, device=device)[None, :, None, None]
    return images[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
