"""Reads files of tensors without running code in them, and verifies their checksums."""

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from faal.bounds.archives import check_unpacked
from faal.bounds.pickled import BoundError, check_pickle
from faal.checksums import TENSORS_SHA256, check_archive, tensors_sha256
from faal.errors import InputError

ZIP = b"PK\x03\x04"

LEGACY_PICKLES = 5
"""The pickles at the beginning of a file of PyTorch's older format: magic number, version, machine, content, keys."""

MAX_MAPPINGS = 10_000
"""Mappings within a checkpoint that may hold weights, each counted as often as it is used."""


def read_tensors(path: Path) -> object:
    """The content of a `.pt`, `.pth` or `.safetensors` file, on the CPU. The format is recognised by content, not name.

    Raises:
        InputError: the file is missing, unreadable, truncated, damaged, not a file of weights, or a pickle of more
            than tensors and plain containers. No code in it is run.
    """
    head = _head(path)
    if _is_safetensors(head):
        return _read_safetensors(path)
    if not head.startswith((ZIP, b"\x80")):  # a zip archive; a pickle, PyTorch's older format
        raise InputError(f"{path} {_description(head)}")
    if head.startswith(ZIP):
        _check_archive(path)
    else:
        _check_pickles(path)
    return _read_torch(path)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a `.safetensors` file, by name; empty for a file of another format.

    Raises:
        InputError: as in `read_tensors`.
    """
    if not _is_safetensors(_head(path)):
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise _damaged_safetensors(path, error) from None


def weight_sets(content: object) -> dict[str, dict[str, Tensor]]:
    """Every mapping in `content` that has tensors, at any depth, by its dotted name (`""` for the top).

    An element of a list has its place as its name: `models.0`.
    """
    found: dict[str, dict[str, Tensor]] = {}
    pending, visited = [("", content)], 0
    while pending:
        where, mapping = pending.pop()
        if isinstance(mapping, list | tuple):
            mapping = dict(enumerate(mapping)) if any(map(_nests, mapping)) else {}
        elif not isinstance(mapping, Mapping):
            continue
        visited += 1
        if visited > MAX_MAPPINGS:
            raise InputError(
                f"the checkpoint contains more than {MAX_MAPPINGS:,} mappings, which may all be weights; save the "
                "weights in a file of their own"
            )
        if tensors := {str(name): value for name, value in mapping.items() if isinstance(value, Tensor)}:
            found[where] = tensors
        inner = [(f"{where}.{name}" if where else str(name), value) for name, value in mapping.items()]
        pending += reversed(inner)
    return found


def lists_of_tensors(content: object, where: str = "", depth: int = 8) -> list[str]:
    """The names of the lists of tensors in a file's mappings, as averages of weights store them."""
    if isinstance(content, list | tuple) and any(isinstance(value, Tensor) for value in content):
        return [where or "the file itself"]
    if not isinstance(content, Mapping) or not depth:
        return []
    inner = ((f"{where}.{name}" if where else str(name), value) for name, value in content.items())
    return [found for name, value in inner for found in lists_of_tensors(value, name, depth - 1)]


def is_safetensors(path: Path) -> bool:
    """Whether a file is one of safetensors, whatever its name."""
    return _is_safetensors(_head(path))


def _nests(value: object) -> bool:
    return isinstance(value, Mapping | list | tuple)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error.strerror}") from None


def _is_safetensors(head: bytes) -> bool:
    """Whether a file begins with eight bytes, the length of the header, and then the header, which is JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _damaged_safetensors(path, error) from None
    recorded = read_metadata(path).get(TENSORS_SHA256)
    if recorded is not None:
        with path.open("rb") as file:
            if tensors_sha256(file) != recorded:
                raise _damaged_safetensors(path, "its content does not have the SHA-256 that it records")
    return tensors


def _check_archive(path: Path) -> None:
    """Check what an archive unpacks to, its checksums, and the size of its pickled objects, before any is built.

    Raises:
        InputError: a bound is exceeded, which the message names, or the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(path, archive)
            check_archive(path)
            for member in archive.infolist():
                if member.CRC == 0:  # none was written: zipfile has nothing to compare, and cannot seek
                    del member.CRC
                if member.filename.lower().endswith("data.pkl"):  # PyTorch's reader ignores case
                    with archive.open(member) as file:
                        check_pickle(file if file.seekable() else io.BytesIO(file.read()))
    except InputError:
        raise
    except BoundError as error:
        raise _exceeds_bound(path, error) from None
    except Exception:  # of the archive, the compressor or the file
        raise _damaged(path) from None


def _check_pickles(path: Path) -> None:
    """Check the size of the pickled objects in a file of PyTorch's older format.

    Raises:
        InputError: as `_check_archive`.
    """
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            try:
                if file.peek(1):
                    check_pickle(file)
            except BoundError as error:
                raise _exceeds_bound(path, error) from None
            except ValueError:
                raise _damaged(path) from None


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings():  # about unusual pickles: the errors below state what is wrong
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # for a name that ends in .safetensors PyTorch has another reader
                content: object = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError) as error:
        if isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error):
            name = re.search(r"GLOBAL (\S+)", str(error))
            raise InputError(
                f"{path} contains objects other than tensors{f' ({name[1]})' if name else ''}, which can run code, and "
                "was not loaded; save its weights again with the program that wrote it, as a plain state_dict with "
                "torch.save(model.state_dict(), ...) or as safetensors"
            ) from None
        raise _damaged(path) from None
    except Exception:  # a truncated file can raise any error in the parser
        raise _damaged(path) from None
    return content


def _exceeds_bound(path: Path, error: BoundError) -> InputError:
    return InputError(f"{path} was not loaded: {error}; save its weights alone, as a plain state_dict")


def _damaged_safetensors(path: Path, error: SafetensorError | str) -> InputError:
    return InputError(f"{path} is truncated or damaged ({error}); fetch or write it again")


def _damaged(path: Path) -> InputError:
    size = path.stat().st_size
    return InputError(f"{path} is truncated or damaged (it has {size:,} bytes); fetch or write it again")


def _description(head: bytes) -> str:
    """The rest of a sentence about a file without weights, from its first bytes."""
    if not head:
        return "is empty; fetch or write it again"
    if head.lstrip().startswith(b"<"):
        return "is a web page, not a checkpoint: the download link opens a page first; fetch the file that it links to"
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not the checkpoint itself; fetch it with git lfs pull"
    return "is neither a PyTorch checkpoint nor a safetensors file"
