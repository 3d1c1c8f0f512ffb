"""A tiny trained and audited network, for the tests of the zoo."""

from pathlib import Path

import torch
from tests.conftest import toy_data

from faal import checkpoint
from faal.audit import audit
from faal.config import Recipe, Schedule
from faal.data import DataSet
from faal.models import Architecture, build_model, open_model
from faal.train.loop import train

CPU = torch.device("cpu")
RECIPE = Recipe(
    method="faal-at", model="small", width=4, epochs=1, batch_size=16, lr=Schedule.constant(0.05), crop=1, flip=False,
    epsilon=0.1, step_size=0.05, steps=1,
)  # fmt: skip


def data() -> DataSet:
    return toy_data([12] * 4)


def trained(folder: Path) -> Path:
    """The folder of a run of one epoch, with its audit."""
    toy = data()
    architecture = Architecture(model="small", num_classes=4, channels=1, width=4)
    train(build_model(architecture, seed=1), architecture, toy, RECIPE, out=folder, seed=1, device=CPU, quiet=True)
    audit_file(folder / "best.pt", folder)
    return folder


def audit_file(file: Path, out: Path) -> None:
    """Audit a checkpoint as the command line does."""
    toy = data()
    assert toy.test is not None
    opened = open_model(file, toy)
    audit(
        opened.net, toy.test.images, toy.test.labels, classes=toy.classes, attacks="clean,pgd2", epsilon=0.1,
        block_size=16, out=out, model_record={"name": out.name, **opened.record},
        data_record={"name": toy.name, "split": "test"},
    )  # fmt: skip
    assert opened.record["sha256"] == checkpoint.digest(file)
