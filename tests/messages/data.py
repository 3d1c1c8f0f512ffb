"""Data, groups and the parts of a training set: what is refused, and in which words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import toy_data

from faal.cli.options import parse_size
from faal.config import Recipe
from faal.data import DataSet, Split, grouping, load_data
from faal.data.batches import Batches
from faal.data.groups import read_groups, weighted_by
from faal.data.images import InMemory, OnDisk
from faal.data.official.fetch import fetch
from faal.data.official.sources import SOURCES
from faal.train.parts import parts_of

CPU = torch.device("cpu")
PIXELS = np.zeros((4, 8, 8), dtype=np.uint8)


def written(name: str, content: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(content)
    return name


def without_folder(name: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(Path("cache").absolute()))
        return load_data(name)


def arrays(**named: np.ndarray) -> object:
    np.savez("pets.npz", **named)  # type: ignore[arg-type]
    return load_data("npz:pets.npz")


def folder(*names: str) -> object:
    """A data folder of images of one pixel."""
    for name in names:
        path = Path(written(f"pets/{name}", "no image"))
        if path.suffix == ".png":
            Image.new("L", (1, 1)).save(path)
    return load_data("folder:pets")


def table(text: str, *files: str) -> object:
    split = Split(InMemory(torch.zeros(len(files) or 3, 1, 8, 8)), torch.zeros(len(files) or 3, dtype=torch.int64))
    return read_groups(written("groups.csv", text), replace(split, files=files or None))


def weighed(columns: str, row: str) -> DataSet:
    return weighted_by(toy_data([3, 3]), written("groups.csv", "\n".join([columns, *[row] * 6])))


def parts(data: DataSet, **settings: Any) -> object:
    return parts_of(data, Recipe().replace(settings, source="mine.yaml"), steers=False, device=CPU)


def one_batch_of(images: int) -> object:
    split = toy_data([3, 3]).train
    assert split is not None
    return Batches(split, torch.arange(images), batch_size=16, seed=0, crop=0, flip=False, device=CPU)


REFUSALS: dict[str, Callable[[], object]] = {
    "there is no data set 'cifra10'; did you mean 'cifar10'? `faal train --help` lists them all": (
        lambda: load_data("cifra10:folder")
    ),
    "'cifar10:' is not a data set; write cifar10[:DIR]": lambda: load_data("cifar10:"),
    "there is no cifar-10-batches-py and no cifar-10-batches-bin in cache/faal/cifar10 and data; run `faal data "
    "cifar10`, or write cifar10:DIR with the folder that the official download unpacks to": lambda: without_folder(
        "cifar10"
    ),
    "there is no MNIST in cache/faal/mnist and data/MNIST/raw, nor in MNIST/raw there: run `faal data mnist`, put "
    "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each plain "
    "or as .gz, into cache/faal/mnist, or write mnist:DIR with the folder that they are in": lambda: without_folder(
        "mnist"
    ),
    "http://127.0.0.1:9/cifar-10-python.tar.gz could not be fetched (its address is not https); the same command "
    "continues, or put cifar-10-python.tar.gz from http://127.0.0.1:9/ into root, and run the same command": (
        lambda: fetch(replace(SOURCES["cifar10"], address="http://127.0.0.1:9/"), Path("root"))
    ),
    "there is no labels.npy in gone; cifar10-c:DIR:CORRUPTION:SEVERITY needs the unpacked folder CIFAR-10-C": (
        lambda: load_data("cifar10-c:gone:fog:1")
    ),
    "there is no cifar10.1_v6_data.npy in gone; cifar10.1:DIR is the folder with cifar10.1_v6_data.npy and "
    "cifar10.1_v6_labels.npy, and cifar10.1:DIR:v4 reads the first version": lambda: load_data("cifar10.1:gone"),
    "there is no cifar-10-batches-py and no cifar-10-batches-bin in gone; cifar10:DIR is the folder that the official "
    "download unpacks to": lambda: load_data("cifar10:gone"),
    "there is no folder gone; folder:DIR needs DIR/train/CLASS and DIR/test/CLASS": lambda: load_data("folder:gone"),
    "there is no file gone.npz; npz:FILE needs a file written by numpy.savez": lambda: load_data("npz:gone.npz"),
    "text.npz is truncated, damaged or not an .npz file; write it again with numpy.savez": (
        lambda: load_data("npz:" + written("text.npz", "text"))
    ),
    "pets.npz lacks y_test; x_test and y_test belong together, and it contains x_test": lambda: arrays(x_test=PIXELS),
    "pets.npz has 4 images in x_test and 3 labels in y_test; each image needs one label": (
        lambda: arrays(x_test=PIXELS, y_test=np.arange(3))
    ),
    "npz:pets.npz (test part) has images from 300 to 300; they must be in [0, 1]: divide by 255, and clamp the "
    "values": (lambda: arrays(x_test=np.full((4, 8, 8), 300.0, dtype=np.float32), y_test=np.arange(4))),
    "pets.npz contains Python objects, which could run code; store plain arrays instead": (
        lambda: arrays(x_test=PIXELS, y_test=np.array([{}] * 4, dtype=object))
    ),
    "npz:pets.npz has training images of 8x8 with 1 channel and test images of 4x8 with 1 channel; give both the "
    "same channels, and one size with --size H,W": (
        lambda: arrays(x_train=PIXELS, y_train=np.arange(4), x_test=PIXELS[:, :4], y_test=np.arange(4))
    ),
    "pets contains neither a folder train nor a folder test; put the class folders into these": (
        lambda: folder("cat/a.png")
    ),
    "folder:pets has 1 class; a classifier needs at least two": lambda: folder("test/cat/a.png"),
    "pets/test/cat contains images that would be left out of the class (b.gif): only .png, .jpg, .jpeg, .webp, .bmp "
    "are read; convert them, or move them out of the folder": (
        lambda: folder("test/cat/a.png", "test/cat/b.gif", "test/dog/a.png")
    ),
    "pets/test/cat contains a folder with images that would be left out of the class (pets/test/cat/more/b.png): "
    "folders within a class are not read; move its images into pets/test/cat, or the folder out of it": (
        lambda: folder("test/cat/a.png", "test/cat/more/b.png", "test/dog/a.png")
    ),
    "images are (2, 4, 4) of float32; they must be (N, channels, H, W), with a pixel or more each, uint8, or "
    "float32 in [0, 1]": lambda: InMemory(torch.zeros(2, 4, 4)),
    "labels are int32 on cpu; they must be int64 on the CPU": (
        lambda: Split(InMemory(torch.zeros(2, 1, 4, 4)), torch.zeros(2, dtype=torch.int32))
    ),
    "text.png is not a readable image (it is not a PNG, JPEG, WebP or BMP image that can be decoded); replace or "
    "delete it": lambda: OnDisk([Path(written("text.png", "text"))], (1, 8, 8)).read(torch.tensor([0])),
    "--size is H,W in pixels, such as 32,32, not '32'": lambda: parse_size("32"),
    "1 training images are too few; at least 2 are needed": lambda: one_batch_of(1),
    "sample 1 has no group in 'camera'; give it one, such as 'unknown'": lambda: grouping("camera", ["a", ""]),
    "'id' has 6 values for 6 samples: it names samples, not groups; choose another column, as FILE:COLUMN": (
        lambda: grouping("id", range(6))
    ),
    "groups.csv has 2 rows for 3 samples; it needs one each, in order": lambda: table("camera\nA\nB\n"),
    "groups.csv has no row for test/b.png; its column 'file' names the images, by paths below the folder such as "
    "test/CLASS/NAME.png: give each image a row": lambda: table(
        "file,camera\ntest/a.png,A\n", "test/a.png", "test/b.png"
    ),
    "groups.csv has two rows for test/a.png, and they differ; keep one of them": (
        lambda: table("file,camera\ntest/a.png,A\ntest/a.png,B\n", "test/a.png")
    ),
    "there is no column 'camra'; did you mean 'camera'? the header of groups.csv lists them all": (
        lambda: weighted_by(toy_data([3]), written("groups.csv", "camera\nA\nA\nB\n") + ":camra")
    ),
    "groups.csv has the columns camera, site; training uses one of them: write groups.csv:camera": (
        lambda: weighed("camera,site", "A,north")
    ),
    "toy has no training image of class 'class1'; remove the class or add images": (
        lambda: parts(toy_data([30, 0, 30]))
    ),
    "a limit of 1 training images leaves none of class 'class1'; raise --limit": (
        lambda: parts(toy_data([30, 30]), limit=1)
    ),
    "toy has no test images to choose the epoch on; leave select_on at held-out": (
        lambda: parts(replace(toy_data([30, 30]), test=None), select_on="test")
    ),
}
