"""Data: `load_data` reads a data set, `hold_out` splits it, `Batches` iterates over batches on the device."""

from faal.data.augment import augment
from faal.data.batches import Batch, Batches
from faal.data.dataset import DataSet, Grouping, Split, fingerprint
from faal.data.groups import grouping, read_groups, weighted_by
from faal.data.images import Images, InMemory, OnDisk
from faal.data.load import load_data, validation_split
from faal.data.splits import HeldOut, hold_out

__all__ = [
    "Batch",
    "Batches",
    "DataSet",
    "Grouping",
    "HeldOut",
    "Images",
    "InMemory",
    "OnDisk",
    "Split",
    "augment",
    "fingerprint",
    "grouping",
    "hold_out",
    "load_data",
    "read_groups",
    "validation_split",
    "weighted_by",
]
