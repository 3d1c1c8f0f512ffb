"""Batches of the training set, on the device, in an order that follows from the seed and the epoch."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from faal.data.augment import augment
from faal.data.dataset import Split
from faal.data.images import to_float
from faal.engine import seeds
from faal.engine.seeds import generator
from faal.errors import InputError


class Batch(NamedTuple):
    """One process's part of the batch of one training step.

    Attributes:
        images: (B, channels, H, W) float32 in [0, 1] on the device, augmented, in the memory format of `Batches`.
        labels: (B,) int64 on the device.
        groups: (B,) int64 on the device, the groups that class rules weight: the labels, unless the data has a
            grouping.
        index: (B,) int64 on the device, the samples' indices into the full training set.
        key: (B,) int64 on the device, from which the samples' random numbers of an epoch follow: `index`, or, where a
            sample may be drawn several times, the position of the draw in the epoch.
    """

    images: Tensor
    labels: Tensor
    groups: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which is not used
    key: Tensor


class Batches:
    """One process's part of a training set's batches.

    The order of an epoch depends on the seed and the epoch, not on the number of processes: every process takes its
    contiguous slice of every global batch. The last batch of an epoch may be smaller and is not dropped; if a process
    would get fewer than two samples of it, which BatchNorm cannot normalise, it is merged into the batch before.

    Args:
        split: the full training set.
        indices: (N,) int64, the samples to train on.
        batch_size: samples per step over all processes together.
        seed: the run's seed.
        crop: see `augment`.
        flip: see `augment`.
        device: of the batches; labels, and images that fit, are stored there.
        memory: the images' memory format.
        rank: this process's number.
        world_size: the number of processes.
    """

    def __init__(
        self,
        split: Split,
        indices: Tensor,
        *,
        batch_size: int,
        seed: int,
        crop: int,
        flip: bool,
        device: torch.device | str,
        memory: torch.memory_format = torch.contiguous_format,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        least = 2 * world_size
        if batch_size < least:
            raise InputError(
                f"with a batch of {batch_size} a process has fewer than the two samples that BatchNorm needs; "
                f"choose a batch size of at least {least}"
            )
        if len(indices) < least:
            raise InputError(f"{len(indices)} training images are too few; at least {least} are needed")
        self._images = split.images.to(device)
        self._device = self._images.device
        self._labels, self._groups = split.labels.to(self._device), split.groups.to(self._device)
        self._indices = indices.cpu()
        self._seed, self._crop, self._flip, self._memory = seed, crop, flip, memory
        self._rank, self._world_size = rank, world_size
        starts = list(range(0, len(indices), batch_size))
        if len(starts) > 1 and len(indices) - starts[-1] < least:
            starts.pop()
        self._bounds = [*starts, len(indices)]

    def __len__(self) -> int:
        """Steps per epoch."""
        return len(self._bounds) - 1

    def global_size(self, step: int) -> int:
        """Samples in the batch of a step, over all processes."""
        return self._bounds[step + 1] - self._bounds[step]

    def drawn(self, epoch: int, probabilities: Callable[[], Tensor], start: int = 0) -> Iterator[Batch]:
        """This process's batches of an epoch in which each sample is drawn: first a class, then an image of it.

        Args:
            epoch: the epoch.
            probabilities: called before every batch; returns the classes' probabilities (C,), on the device.
            start: the first step.
        """
        by_class = torch.argsort(self._labels[self._indices.to(self._device)], stable=True)
        by_class = self._indices.to(self._device)[by_class]
        counts = torch.bincount(self._labels[by_class])
        first = counts.cumsum(0) - counts
        for step in range(start, len(self)):
            positions = torch.arange(self._bounds[step], self._bounds[step + 1], device=self._device)
            positions = positions.tensor_split(self._world_size)[self._rank]
            class_draw, image_draw = seeds.uniform(
                positions, 2, seed=self._seed, epoch=epoch, stream=seeds.Stream.DRAW
            ).unbind(1)
            cumulative = probabilities().cumsum(0)
            classes = torch.searchsorted(cumulative, class_draw * cumulative[-1], right=True).clamp_max(
                len(cumulative) - 1
            )
            index = by_class[first[classes] + (image_draw * counts[classes]).long()]
            images = self._images.fetch(index)
            yield self._batch(images, index, positions, epoch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This process's batches of an epoch, from step `start` on. Streamed images are read one batch ahead."""
        order = self._indices[torch.randperm(len(self._indices), generator=generator(self._seed, "order", epoch))]
        steps = range(start, len(self))
        # One copy of the order to the device: a batch of resident images then needs no copy.
        order_on_device = order.to(self._device)
        indices = [self._slice(order_on_device, step) for step in steps]
        if self._images.streams:
            fetched = self._prefetch([self._slice(order, step) for step in steps])
        else:
            fetched = (self._images.fetch(index) for index in indices)
        for index, images in zip(indices, fetched, strict=True):
            yield self._batch(images, index, index, epoch)

    def _batch(self, images: Tensor, index: Tensor, key: Tensor, epoch: int) -> Batch:
        images = augment(images, key=key, seed=self._seed, epoch=epoch, crop=self._crop, flip=self._flip)
        images = images.contiguous(memory_format=self._memory)
        return Batch(images, self._labels[index], self._groups[index], index, key)

    def _slice(self, order: Tensor, step: int) -> Tensor:
        """This process's part of a step's global batch."""
        global_batch = order[self._bounds[step] : self._bounds[step + 1]]
        return global_batch.tensor_split(self._world_size)[self._rank]

    def _prefetch(self, indices: list[Tensor]) -> Iterator[Tensor]:
        """The images of each batch; the next batch is read by a background thread in parallel.

        The background thread uses only the host's memory: work on the device is ordered by the caller's stream, which
        is not current in another thread.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as reader:
            pending = None
            for index in indices:
                following = reader.submit(self._images.read, index)
                if pending is not None:
                    yield to_float(pending.result(), self._device)
                pending = following
            if pending is not None:
                yield to_float(pending.result(), self._device)
