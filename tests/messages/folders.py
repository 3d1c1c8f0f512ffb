"""Folders and files that are written and read, pages and reproduced tables: what is refused, and in which words."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from faal import checkpoint
from faal.errors import refuse_unwritable
from faal.reading import read_tensors
from faal.report import write_report
from faal.study.reproduce.run import published_bases, reproduce
from faal.study.reproduce.scales import required_data, scale_named
from faal.study.reproduce.tables import TABLES
from faal.train.folder import describe


def written(name: str, content: str) -> Path:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(content)
    return Path(name)


def saved(name: str) -> Path:
    torch.save(nn.Linear(2, 2).state_dict(), name)
    return Path(name)


def another_run() -> None:
    written("run/last.pt", "")
    written("run/config.yaml", "recipe: {lr: 0.05}")
    describe(Path("run"), {"recipe": {"lr": 0.07}}, {})


def reproduced(what: str, seeds: int = 1) -> object:
    return reproduce(what, scale="tiny", out=Path("out"), device=torch.device("cpu"), seeds=seeds)


REFUSALS: dict[str, Callable[[], object]] = {
    "file/run cannot be written (file is not a folder); choose another folder with --out": (
        lambda: refuse_unwritable(written("file", "") / "run")
    ),
    "run contains another run (recipe.lr is 0.05 there and 0.07 here); choose another folder with --out, or remove "
    "that one": another_run,
    "weights.pt is not a checkpoint of this program; audit and repair accept third-party weights with --model": (
        lambda: checkpoint.load(saved("weights.pt"))
    ),
    "weights.pt is truncated or damaged (it has 4 bytes); fetch or write it again": (
        lambda: read_tensors(written("weights.pt", "PK\x03\x04"))
    ),
    "weights.pt is a web page, not a checkpoint: the download link opens a page first; fetch the file that it links "
    "to": lambda: read_tensors(written("weights.pt", "<html>")),
    "there is nothing to report; name the folder of a run": lambda: write_report([]),
    "there is no folder gone; name the folder of a run": lambda: write_report([Path("gone")]),
    "2 names were given for 1 folders; give one for each": lambda: write_report([Path("run")], names=["a", "b"]),
    "run has no audit.json; run `faal audit` into that folder first": (
        lambda: write_report([written("run/best.pt", "").parent])
    ),
    "there is no table, figure or row 'table9'; did you mean 'table4'? `faal reproduce --help` lists them all": (
        lambda: reproduced("table9")
    ),
    "--seeds is at least 1, not 0": lambda: reproduced("table1", seeds=0),
    "table2 at scale small is trained on cifar10: add --data cifar10:DIR, the folder of the unpacked official "
    "download, or use --scale tiny, which needs none": (
        lambda: required_data(TABLES["table2"], scale_named("small"), None)
    ),
    "table2 at scale small is on cifar10, not on 'digits'; give --data cifar10:DIR": (
        lambda: required_data(TABLES["table2"], scale_named("small"), "digits")
    ),
    "--base is NAME=FILE or NAME=FILE:NORMALIZE, such as trades=trades.pt:none, not 'trades'": (
        lambda: published_bases(["trades"], TABLES["table1"])
    ),
    "--base trades=gone.pt: there is no file gone.pt; name the checkpoint's path": (
        lambda: published_bases(["trades=gone.pt"], TABLES["table1"])
    ),
}
