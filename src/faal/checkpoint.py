"""Checkpoints: written atomically and with a checksum, read without running code.

A checkpoint is a plain dictionary of tensors, numbers, strings, lists and dictionaries:

    format        "faal-checkpoint/1"
    architecture  the fields of `models.Architecture`
    classes       the names of the classes
    image_size    height and width of the images that it was trained on
    weights       the state dict of the network to use
    recipe        the settings of its training
    training      only in last.pt: the state that a resumed run needs

The file is PyTorch's zip archive, with the SHA-256 of its bytes in the archive's comment (`checksums`).
"""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from faal.checksums import append_checksum
from faal.engine import interrupts
from faal.engine.writers.temporary import temporary
from faal.errors import InputError
from faal.reading import read_tensors

FORMAT = "faal-checkpoint/1"

OTHER_FOLDER = "choose another folder with --out"
"""The default advice where a file cannot be written."""


@interrupts.uninterrupted()
def _write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], advice: str = OTHER_FOLDER, *, new: bool = False
) -> None:
    temporary_path = temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary_path, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if new:
            _rename_new(temporary_path, path)
        else:
            os.replace(temporary_path, path)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path} cannot be written ({_short(error)}); {advice}") from None
    finally:
        with suppress(OSError):  # left by an error; after a success there is none
            temporary_path.unlink()


def _rename_new(temporary_path: Path, path: Path) -> None:
    """Rename a file, unless the new name exists: another process may have written that file meanwhile."""
    try:
        os.link(temporary_path, path)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError:  # a file system without hard links
        refuse_existing(path)
        os.replace(temporary_path, path)


def refuse_existing(path: Path) -> None:
    """Check that there is no such file.

    Raises:
        InputError: there is.
    """
    if os.path.lexists(path):
        raise InputError(f"{path} exists and is not overwritten; name another file, or remove it first")


def write_atomically(path: Path, data: bytes, *, advice: str = OTHER_FOLDER, new: bool = False) -> None:
    """Write a file atomically: after a crash, and for a reader meanwhile, it has either the old or the new content.

    Args:
        path: the file.
        data: its content.
        advice: the end of the message where it cannot be written.
        new: refuse to overwrite a file.

    Raises:
        InputError: the file cannot be written, or exists.
    """
    _write_atomically(path, lambda file: file.write(data), advice, new=new)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically.

    Raises:
        InputError: the file cannot be written.
    """

    def write(file: IO[bytes]) -> None:
        torch.save({"format": FORMAT, **state}, file)
        append_checksum(file)

    _write_atomically(path, write)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint of this program onto the CPU.

    Raises:
        InputError: there is no such file, or it is truncated, damaged, not of this program, or would run code.
            Checkpoints of earlier versions have no digest, and are checked by their members' CRC-32.
    """
    state = read_tensors(path)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(
            f"{path} is not a checkpoint of this program; audit and repair accept third-party weights with --model"
        )
    return state


def _short(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
