"""Load third-party weights, all of them or none, and note every change."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from faal.errors import InputError
from faal.models.libraries import Logits, hf_tensors, is_hf_weights
from faal.models.mismatch import MismatchError, first, mismatch
from faal.models.normalize import Normalized
from faal.models.number_types import COUNTER, require_finite, require_types
from faal.models.offsets import Offset
from faal.models.public.beside import DEVIATIONS, MEANS, Constant, missing_buffers, of_training
from faal.reading import is_safetensors, lists_of_tensors, read_tensors, weight_sets

UNUSED = "sub_block1"
"""A stage that TRADES' Wide ResNet creates, saves and never calls (2.1 of its 48.3 million parameters)."""

MAX_LISTED = 8
"""The most sets of weights that a message lists."""

TOLERANCE = 1e-3
"""Means and deviations that differ by less are equal, up to rounding."""


@dataclass(frozen=True)
class Candidate:
    """A mapping in the file, and a prefix under which it has names of the model."""

    where: str
    """The mapping's dotted name in the file."""
    prefix: str
    tensors: dict[str, Tensor]
    """All tensors of the mapping, under the file's names."""
    weights: dict[str, Tensor]
    """The tensors of the model, under the model's names."""

    @property
    def label(self) -> str:
        return ".".join(filter(None, (self.where, self.prefix)))

    def without(self, names: Iterable[str]) -> list[str]:
        """The names of the file that are not those of this candidate's weights."""
        used = {self.prefix + name for name in self.weights}
        return [name for name in names if name not in used]

    def fits(self, expected: dict[str, Tensor], kept: Collection[str] = ()) -> bool:
        """Whether nothing is missing but counters and constants that are kept, and every shape is the model's."""
        return all(
            name.endswith(COUNTER) or name in kept
            if name not in self.weights
            else not self.weights[name].is_nested and self.weights[name].shape == tensor.shape
            for name, tensor in expected.items()
        )

    def equals(self, other: "Candidate") -> bool:
        """Whether the other has equal weights (counters are not compared)."""
        return all(
            name in other.weights and torch.equal(tensor, other.weights[name])
            for name, tensor in self.weights.items()
            if not name.endswith(COUNTER)
        )


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself, without the wrappers of this program, which third-party files lack."""
    while isinstance(model, Normalized | Logits | Offset):
        model = model.net
    return model


def load_weights(model: nn.Module, path: Path, constant: Constant = lambda names: set()) -> list[str]:
    """Load a third-party checkpoint: a state_dict, plain or within other entries, with or without prefixes.

    The mapping in the file and the prefix of its names (`module.`, `_orig_mod.`, `1.` after a layer that normalises,
    ...) are those under which all of the model's names are found, with their shapes. Nothing is loaded unless
    everything fits; only BatchNorm's counters and buffers that are constants of the model's class may be missing, and
    only tensors of its training may be beside it (`beside`). The normalisation and the offsets that an exported file
    records are not applied here, but by `open_model`.

    Args:
        model: what to load into. The network within a `Normalized` gets the weights; its mean and deviation must be
            those of a checkpoint that has its own.
        path: a `.pt`, `.pth` or `.safetensors` file; with Hugging Face's `config.json` beside it, it is read by that
            library.
        constant: which of the model's buffers are constants of its class; none, where it is not known.

    Returns:
        Notes on tensors that were renamed, ignored or added, in sentences.

    Raises:
        InputError: the file cannot be read safely, is of another architecture, contains two sets of weights that fit
            and differ, expects another normalisation, or has weights that are not finite or of a number type that
            needs a scale. The model is then unchanged.
    """
    net = unwrapped(model)
    expected: dict[str, Tensor] = net.state_dict()
    content = read_tensors(path)
    if is_hf_weights(path) and is_safetensors(path):
        if isinstance(content, dict):
            require_types(expected, content, path)  # before the library converts them
        content = hf_tensors(path.parent)
    chosen, copies, kept = _choose(net, expected, content, path, constant)
    notes = []
    if chosen.where:
        notes.append(f"The weights were read from {chosen.where!r} in the file.")
    if chosen.prefix:
        notes.append(f"Stripped {chosen.prefix!r} from the names of {len(chosen.weights)} tensors.")

    rest = chosen.without(chosen.tensors)
    for copy in copies:
        notes.append(f"Ignored a second copy of the same weights, {copy.label!r}.")
        if copy.where == chosen.where:
            rest = copy.without(rest)
    unused = [name for name in rest if UNUSED in name.split(".")]
    if unused:
        notes.append(f"Ignored {len(unused)} tensors of {UNUSED!r}, which no forward pass uses.")
    means, deviations = _normalisation(rest)
    training = [name for name in rest if of_training(name, chosen.tensors[name], chosen.prefix)]
    if training:
        notes.append(f"Ignored tensors of the training beside the network: {first(training)}.")
    unexpected = [name for name in rest if name not in {*unused, *means, *deviations, *training}]
    if unexpected or not chosen.fits(expected, kept):
        missing = [name for name in expected if name not in {*chosen.weights, *kept} and not name.endswith(COUNTER)]
        raise MismatchError(f"{path} {mismatch(expected, chosen.weights, missing, unexpected, chosen.tensors)}")
    require_finite({name: tensor.to(expected[name].dtype) for name, tensor in chosen.weights.items()}, path)
    if means:
        require_types({}, {name: chosen.tensors[name] for name in (*means, *deviations)}, path)
        stored = [[chosen.tensors[name] for name in names] for names in (means, deviations)]
        _require_same_normalisation(model, stored, path)
        notes.append("The file has its own normalisation, which equals the model's.")

    if kept:
        notes.append(f"The file lacks constants of the model's class, which keep their values: {first(kept)}.")
    lacking = [name for name in expected if name not in chosen.weights and name not in kept]
    counters = {name: torch.zeros_like(expected[name]) for name in lacking}
    if counters:
        notes.append(f"Set {len(counters)} counters of BatchNorm, which the file lacks, to 0.")
    net.load_state_dict(chosen.weights | counters | {name: expected[name] for name in kept}, strict=True)
    return notes


def _choose(
    net: nn.Module, expected: dict[str, Tensor], content: object, path: Path, constant: Constant
) -> tuple[Candidate, list[Candidate], list[str]]:
    """The candidate that fits, its copies, and the constants that the model keeps; where none fits, the closest one."""
    candidates = [
        candidate
        for where, tensors in weight_sets(content).items()
        for candidate in _candidates(expected, tensors, where=where)
    ]
    if not candidates:
        if lists := lists_of_tensors(content):
            raise InputError(
                f"{path} contains tensors in lists, without names ({first(lists)}); save the model's own state_dict"
            )
        raise InputError(f"{path} contains no weights; save them as a plain state_dict or as safetensors")
    closest = max(candidates, key=lambda candidate: (len(candidate.weights), len(candidate.tensors)))
    matching, kept = [candidate for candidate in candidates if candidate.fits(expected)], list[str]()
    if not matching and closest.fits(expected, lacking := missing_buffers(net, closest.weights)):
        known = constant(lacking)
        kept = [name for name in lacking if name in known]
        matching = [c for c in candidates if not c.weights.keys() & set(kept) and c.fits(expected, kept)]
    for candidate in matching or [closest]:
        require_types(expected, candidate.weights, path)
    if not matching:
        return closest, [], []
    chosen, *copies = matching
    if others := [copy for copy in copies if not chosen.equals(copy)]:
        count = "two" if len(others) == 1 else f"{len(others) + 1:,}"
        labels = [repr(each.label) for each in (chosen, *others)]
        *before, last = labels if len(labels) <= MAX_LISTED else [*labels[: MAX_LISTED - 1], "others"]
        raise InputError(
            f"{path} contains {count} sets of weights that fit and differ, {', '.join(before)} and {last}; save the "
            "intended one in a separate file"
        )
    return chosen, copies, kept


def _candidates(expected: dict[str, Tensor], tensors: dict[str, Tensor], *, where: str) -> list[Candidate]:
    """One candidate per prefix of a name of the model, the shortest first; the empty prefix is always included."""
    prefixes = {""}
    for name in tensors:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in expected:
                prefixes.add("".join(f"{part}." for part in parts[:start]))
    found = []
    for prefix in sorted(prefixes, key=len):
        weights = {name: tensors[prefix + name] for name in expected if prefix + name in tensors}
        found.append(Candidate(where, prefix, tensors, weights))
    return found


def _normalisation(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of means and of deviations; none unless both are present."""
    means, deviations = ([name for name in names if name.split(".")[-1] in known] for known in (MEANS, DEVIATIONS))
    return (means, deviations) if means and deviations else ([], [])


def _require_same_normalisation(model: nn.Module, stored: list[list[Tensor]], path: Path) -> None:
    built_statistics = (model.mean, model.std) if isinstance(model, Normalized) else (torch.zeros(1), torch.ones(1))
    if not all(
        _same(values, built) for tensors, built in zip(stored, built_statistics, strict=True) for values in tensors
    ):
        mean, std = (",".join(f"{number:.6g}" for number in values[0].flatten().tolist()) for values in stored)
        raise InputError(f"{path} has its own normalisation; build the model with --normalize {mean}:{std}")


def _same(stored: Tensor, built: Tensor) -> bool:
    values = stored.float().flatten()
    comparable = 1 in (len(values), len(built)) or len(values) == len(built)
    return comparable and bool(((values - built.cpu()).abs() < TOLERANCE).all())
