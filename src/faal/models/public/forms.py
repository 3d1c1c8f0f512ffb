"""Which form of a network a third-party file of weights is of, where public code has several under one name.

The tensors' names and shapes exclude some forms. Where several remain, they are told apart by what they predict on
training images; without any, nothing is guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path

import torch
from torch import Tensor, nn

from faal.data import DataSet, Split
from faal.errors import InputError
from faal.models.architectures.preact_resnet import FORMS
from faal.models.build import Architecture, build_model
from faal.models.foreign import load_weights, unwrapped
from faal.models.mismatch import MismatchError
from faal.models.own import FAMILY
from faal.models.public.beside import Constant

IMAGES = 256
"""Training images that forms are compared on."""

DEVIATIONS = 3.0
"""The best form is taken if it is better than each other by this many standard deviations of the difference, under
McNemar's hypothesis that the two are equally good."""

BATCH = 64

DEFAULT = f"{FAMILY}:{next(iter(FORMS))}"
"""The form that `prn18` means in this program's own checkpoints."""


def load_form(
    architecture: Architecture,
    path: Path,
    data: DataSet,
    *,
    model: str,
    exact: bool,
    constants: Callable[[nn.Module], Constant],
) -> tuple[nn.Module, Architecture, list[str]]:
    """Build a network and load third-party weights; if its name is that of several forms, into the right one.

    Args:
        architecture: what to build.
        path: the file of weights.
        data: its training images tell forms apart.
        model: the network that this very call names.
        exact: the file records its network, so that its form is known.
        constants: for a network, which of its buffers are constants of its class.

    Returns:
        The network, its description with its form, and notes.

    Raises:
        InputError: as in `load_weights`; several forms fit, and it cannot be found out which one is right.
    """
    if exact or architecture.model != FAMILY:
        net = build_model(architecture, seed=0, model=model)
        return net, architecture, load_weights(net, path, constants(net))
    fitting, notes = _fitting(architecture, path)
    names = list(fitting)
    if len(names) > 1:
        place, found = _best(path, names, [fitting[name] for name in names], data.train)
        notes = [*notes, found]
    else:
        place = 0
    name = names[place]
    return fitting[name], replace(architecture, model=FAMILY if name == DEFAULT else name), notes


def _fitting(architecture: Architecture, path: Path) -> tuple[dict[str, nn.Module], list[str]]:
    """The forms whose tensors the file has, each with its weights, and the notes of loading them.

    Raises:
        MismatchError: it has those of none; the message is that of the default form.
    """
    groups: dict[bool, list[str]] = {}
    for form, settings in FORMS.items():
        groups.setdefault(settings.last_norm, []).append(f"{FAMILY}:{form}")
    first: MismatchError | None = None
    for names in groups.values():
        nets = {name: build_model(replace(architecture, model=name), seed=0) for name in names}
        loaded = nets[names[0]]
        try:
            notes = load_weights(loaded, path)
        except MismatchError as error:
            first = first or error
            continue
        for net in nets.values():
            unwrapped(net).load_state_dict(unwrapped(loaded).state_dict())
        return nets, notes
    assert first is not None
    raise first


def _best(path: Path, names: Sequence[str], nets: Sequence[nn.Module], train: Split | None) -> tuple[int, str]:
    """The place of the form that predicts training images best, and a note.

    Raises:
        InputError: there are no training images, or two forms predict them about equally well.
    """
    several = f"{path} fits {len(names)} forms of {FAMILY}, which have the same names of tensors and other logits"
    if train is None or len(train.labels) == 0:
        raise InputError(
            f"{several}: {', '.join(names)}; name the right one with --model, or name data with training images, on "
            "which the forms are compared"
        )
    chosen = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(0))[:IMAGES].sort().values
    correct = torch.stack([_correct(net, train, chosen) for net in nets])
    shares = ", ".join(
        f"{name} {100 * share:.0f} %" for name, share in zip(names, correct.double().mean(1).tolist(), strict=True)
    )
    best = int(correct.sum(1).argmax())
    for other in range(len(names)):
        gained, lost = (int((correct[a] & ~correct[b]).sum()) for a, b in ((best, other), (other, best)))
        if other != best and gained - lost <= DEVIATIONS * sqrt(gained + lost):
            raise InputError(
                f"{several}, and {len(chosen)} training images do not tell which is right (correct: {shares}); name it "
                "with --model"
            )
    return best, (
        f"{several}: took {names[best]}, which predicts most of {len(chosen)} training images correctly ({shares}); "
        "--model names a form."
    )


@torch.no_grad()
def _correct(net: nn.Module, split: Split, index: Tensor) -> Tensor:
    """(N,) bool: which images the network predicts correctly."""
    net.eval()
    found = [net(split.images.fetch(part)).argmax(dim=1).cpu() == split.labels[part] for part in index.split(BATCH)]
    return torch.cat(found)
