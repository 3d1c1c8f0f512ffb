"""Download a data set from its official source.

The files are written to `FOLDER.part`, which is renamed to the final folder when all of them are complete and have
their SHA-256. Otherwise it remains, and the next call continues the download.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from faal.data.official.download import UnreachableError, difference, download
from faal.data.official.sources import File, OfficialSource
from faal.data.official.unpack import unpack
from faal.engine import interrupts
from faal.engine.writers.lock import folder_lock
from faal.errors import InputError, refuse_unwritable

OnBytes = Callable[[str, int, int], None]
"""Called with a file's name, the bytes received, and its size."""


def fetch(
    source: OfficialSource,
    root: Path,
    *,
    progress: OnBytes = lambda name, received, size: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> bool:
    """Download a data set into `root / source.folder`.

    An archive that is already in `root` is unpacked instead, if it has the official SHA-256.

    Args:
        source: its official source.
        root: the folder, as torchvision's `root`.
        progress: called during the download of a file.
        say: called with a message when a connection is interrupted.

    Returns:
        True; False if the data set was already complete.

    Raises:
        InputError: the source cannot be reached (the message names files and folder for a manual download) or has
            other files; the folder has other content or cannot be written, or there is too little space.
    """
    final = root / source.folder
    if final.exists():
        _check_present(source, final)
        return False
    part = final.with_name(f"{final.name}.part")
    refuse_unwritable(part, "choose another folder with --to")
    with folder_lock(part, option="--to"):
        _check_space(source, root, part)
        with interrupts.reporting(lambda _: f"the part of {source.title} received so far is in {part}"):
            for file in source.files:
                _get(source, file, root, part, progress, say)
        complete = part
        try:
            if source.unpacked is not None:
                complete = _unpacked(source, root, part)
            with interrupts.uninterrupted():
                _move(source, complete, final)
        except OSError as error:
            raise InputError(f"{final} cannot be written ({error.strerror}); choose another folder with --to") from None
        shutil.rmtree(part, ignore_errors=True)
    return True


def _get(
    source: OfficialSource, file: File, root: Path, part: Path, progress: OnBytes, say: Callable[[str], None]
) -> None:
    """One file: from `root` or `part` if it is there, else from the source."""
    if source.unpacked is not None and (root / file.name).exists():
        if found := difference(root / file.name, file):
            raise InputError(
                f"{root / file.name} has {found}: it is damaged, or another file; remove it, and fetch it again"
            )
        return
    try:
        download(
            file,
            source.address + file.name,
            part / file.name,
            scheme=source.scheme,
            progress=lambda received: progress(file.name, received, file.size),
            say=say,
        )
    except UnreachableError as error:
        raise InputError(
            f"{source.address}{file.name} could not be fetched ({error}); the same command continues, or "
            f"{by_hand(source, root)}"
        ) from None
    except OSError as error:
        raise InputError(f"{part} cannot be written ({error.strerror}); choose another folder with --to") from None


def by_hand(source: OfficialSource, root: Path) -> str:
    """The instruction for a manual download, as the end of a sentence."""
    *others, last = (file.name for file in source.files)
    names = f"{', '.join(others)} and {last}" if others else last
    if source.unpacked is None:
        return f"put {names} from {source.address} into {root / source.folder}"
    return f"put {names} from {source.address} into {root}, and run the same command"


def _unpacked(source: OfficialSource, root: Path, part: Path) -> Path:
    """The folder in the archive, unpacked within `part`."""
    (file,) = source.files
    folder = part / source.folder
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was stopped while it unpacked
    archive = root / file.name if (root / file.name).exists() else part / file.name
    assert source.unpacked is not None
    unpack(archive, folder, size=source.unpacked)
    return folder


def _move(source: OfficialSource, complete: Path, final: Path) -> None:
    """Rename the complete folder to its final name."""
    if source.unpacked is not None:
        os.rename(complete, final)
        return
    ready = complete / "ready"  # the files alone, without the lock
    ready.mkdir(exist_ok=True)
    for file in source.files:
        os.replace(complete / file.name, ready / file.name)
    os.rename(ready, final)


def _check_present(source: OfficialSource, final: Path) -> None:
    """Raises InputError where a folder is not the data set's."""
    remedy = "move it away, or choose another folder with --to"
    if not final.is_dir():
        raise InputError(f"{final} is not a folder; {remedy}")
    if source.unpacked is not None:
        size = sum(path.stat().st_size for path in final.iterdir() if path.is_file())
        if size != source.unpacked:
            raise InputError(f"{final} contains {size:,} bytes, and {source.title} has {source.unpacked:,}; {remedy}")
        return
    for file in source.files:
        if (final / file.name).exists():
            if found := difference(final / file.name, file):
                raise InputError(f"{final / file.name} has {found}; {remedy}")
        elif not (final / file.name.removesuffix(".gz")).exists():
            raise InputError(f"{final} lacks {file.name}; {remedy}")


def _check_space(source: OfficialSource, root: Path, part: Path) -> None:
    """Raises InputError where the disk has too little space for the rest of the download."""
    present = sum((part / file.name).stat().st_size for file in source.files if (part / file.name).exists())
    if source.unpacked is not None and (root / source.files[0].name).exists():
        present = source.size
    needed = max(0, source.size - present) + (source.unpacked or 0)
    free = shutil.disk_usage(part).free
    if free < needed:
        raise InputError(
            f"{source.title} needs {needed / 1e6:.1f} MB, and {root} has {free / 1e6:.1f} MB; make space, or choose "
            "another folder with --to"
        )
