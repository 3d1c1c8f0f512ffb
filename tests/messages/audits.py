"""Audits and comparisons: what they refuse, and in which words."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tests.helpers.comparisons import BASE, REPAIRED
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faal.audit import audit
from faal.audit.checks import check_gradient, check_labels, check_model, class_names, pixels_of, training_settings
from faal.audit.comparison.compare import compare
from faal.audit.folder import refuse_another
from faal.audit.records.result import AuditResult
from faal.audit.settings import AuditSettings
from faal.config import Threat, parse_epsilon
from faal.engine.numerics import pick_device

IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(6) % 5
NET = nn.Sequential(nn.Flatten(), nn.Linear(16, 5))
OTHER_THREAT = replace(BASE, threat={"norm": "linf", "epsilon": 0.2})


class Detached(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 5)


def audited(images: Tensor = IMAGES, **settings: Any) -> AuditResult:
    return audit(NET, images, LABELS, **{"attacks": "clean", **settings})


def another_model_in_a_folder() -> None:
    replace(BASE, model={"name": "net", "digest": "a" * 64}).write(Path("run"))
    refuse_another(Path("run"), {"model": {"name": "net", "digest": "b" * 64}})


def an_audit_before_training_went_on() -> None:
    replace(BASE, model={"name": "net", "sha256": "a" * 64}).write(Path("run"))
    Path("run/best.pt").write_bytes(b"weights")
    compare("base", [Path("run")], "repaired", [REPAIRED])


def one_network_twice() -> None:
    one = replace(BASE, model={"name": "net", "digest": "a"})
    compare("base", [one, one], "repaired", [REPAIRED, BASE])


REFUSALS: dict[str, Callable[[], object]] = {
    "the model is a builtin_function_or_method; an audit needs a torch.nn.Module that returns logits": (
        lambda: check_model(len)  # type: ignore[arg-type]
    ),
    "the model's 1.weight is float64; verdicts are float32, so convert it first: model.float()": (
        lambda: check_model(nn.Sequential(nn.Flatten(), nn.Linear(16, 5)).double())
    ),
    "the model has 5 outputs but there are 6 classes; audit it on the classes it was trained for, and name those "
    "without images too": lambda: audited(classes=list("abcdef")),
    "the model's output has no gradient to its images, which attacks need: something in its forward removes it "
    "(argmax, detach, no_grad, NumPy); make it differentiable, or run only the attack clean": (
        lambda: check_gradient(Detached(), IMAGES)
    ),
    "images is a DataLoader; an audit divides the data itself, so pass all images and all labels at once: images, "
    "labels = map(torch.cat, zip(*loader))": lambda: pixels_of(DataLoader(TensorDataset(IMAGES)), "images"),
    "images is a str that is not an array of numbers; pass an array (N, channels, H, W), such as "
    "torch.stack(list_of_images), or an object with len and fetch(index)": lambda: pixels_of("images.npy", "images"),
    "image 2 has values that are NaN or infinite; find their cause, or exclude the image": (
        lambda: audited(torch.where(torch.arange(6).view(6, 1, 1, 1) == 2, torch.nan, IMAGES))
    ),
    "image 2 has values from 2 to 2, outside [0, 1]: clamp the values": (
        lambda: audited(torch.where(torch.arange(6).view(6, 1, 1, 1) == 2, 2, IMAGES))
    ),
    "sample 4 has the label 4, out of range: the 4 classes are 0 to 3": lambda: check_labels(LABELS, 6, 4),
    "sample 0 has the label -1, out of range: classes are numbered from 0": (lambda: check_labels(LABELS - 1, 6, None)),
    "there are 7 images and 6 labels; there must be one label per image": lambda: check_labels(LABELS, 7, 5),
    "classes names 'cat' twice; give every class a unique name": lambda: class_names(["cat", "dog", "cat"]),
    "trained is a float; it is a mapping, such as {'epsilon': '8/255'}": (
        lambda: training_settings(0.1)  # type: ignore[arg-type]
    ),
    "there is no attack 'autoatack'; did you mean 'autoattack'? `faal audit --help` lists them all": (
        lambda: audited(attacks="pgd20,autoatack")
    ),
    "AutoAttack in L2 cannot run on images of 4 x 4 pixels, which its Square attack cannot tile; omit it, choose "
    "another --size, or audit in L-infinity": lambda: audited(attacks="autoattack", norm="l2", epsilon=0.5),
    "level is the nominal coverage of the intervals, a fraction between 0 and 1 such as 0.95, not 95": lambda: (
        AuditSettings.of(level=95)
    ),
    "run already contains an audit of a different model (model aaaaaaaa there, bbbbbbbb here); choose another "
    "folder with --out": another_model_in_a_folder,
    "there is no audit in run (no audit.json); run `faal audit` with --out first": (
        lambda: AuditResult.read(Path("run"))
    ),
    "epsilon 8 is larger than the full range of images in [0, 1]; did you mean 8/255?": lambda: Threat("linf", 8),
    "epsilon 128 is larger than any useful radius of images in [0, 1]; did you mean 128/255?": (
        lambda: Threat("l2", 128)
    ),
    "epsilon is a number in units of images in [0, 1], such as 8/255, not 'eight'": lambda: parse_epsilon("eight"),
    "there is no norm 'l1'; did you mean 'l2'? `faal audit --help` lists them all": lambda: Threat("l1", 0.1),
    "--device is auto, cpu or cuda, not 'gpu'": lambda: pick_device("gpu"),
    "base has 2 audits and other has 1; they are compared in pairs, so pass the same number of each, in the same order "
    "of seeds": lambda: compare("base", [BASE, BASE], "other", [BASE]),
    "both sides are named base; use different names": lambda: compare("base", [BASE], "base", [REPAIRED]),
    "two of the audits of base are of the same network; several runs per side must be several training seeds, so list "
    "each only once": one_network_twice,
    "the audits of base and other have different threats and cannot be paired; audit both on the same data with the "
    "same --epsilon, --limit and --seed": lambda: compare("base", [BASE], "other", [OTHER_THREAT]),
    "the audit in run is of another network than the best.pt in it now; audit that one": (
        an_audit_before_training_went_on
    ),
}
