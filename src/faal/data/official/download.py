"""Download one file of known size and SHA-256, resuming after a connection was interrupted."""

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from faal.data.official.sources import File
from faal.errors import InputError

TRIES = 3
"""Consecutive connections without new data before the download fails."""

PAUSE = 1.0
"""Seconds before the next connection; doubled for every consecutive one without new data."""

TIMEOUT = 30.0
"""Seconds without a response from the server."""

CHUNK = 1 << 18

TEMPORARY = {408, 425, 429}
"""Statuses below 500 after which the same request may succeed."""


class UnreachableError(Exception):
    """The file could not be fetched; the message is the reason. The partial file remains."""


class _InterruptedError(Exception):
    """A connection ended early; the message is the reason."""


def download(
    file: File,
    address: str,
    path: Path,
    *,
    scheme: str = "https",
    progress: Callable[[int], None] = lambda received: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Download a file, or the missing part of it, and verify all of it.

    Args:
        file: its size and SHA-256.
        address: the file's URL.
        path: the output; a partial file of an earlier call is continued with a Range request, or replaced where the
            server sends only complete files.
        scheme: the only permitted scheme, also after redirections.
        progress: called with the number of bytes received.
        say: called with a message when a connection is interrupted, or the file restarted.

    Raises:
        UnreachableError: the server could not be reached, lacks the file, or closed `TRIES` consecutive connections
            without new data. The partial file remains.
        InputError: the server has another file, by its size or SHA-256. The partial file is deleted.
    """
    if urlsplit(address).scheme != scheme:
        raise UnreachableError(f"its address is not {scheme}")
    opener = urllib.request.build_opener(_OneScheme(scheme))  # it uses the proxies of the environment
    if _size(path) > file.size:
        path.unlink()
    largest, idle = _size(path), 0
    while _size(path) < file.size:
        try:
            _continue(opener, file, address, path, progress, say)
            break
        except _InterruptedError as interruption:
            received = _size(path)
            idle, largest = (0, received) if received > largest else (idle + 1, largest)
            if idle == TRIES:
                raise UnreachableError(str(interruption)) from None
            where = f"interrupted at {received:,} of {file.size:,} bytes" if received else "no connection"
            say(f"{file.name}: {where} ({interruption}); {'continuing from there' if received else 'trying again'}")
            time.sleep(PAUSE * 2 ** max(0, idle - 1))
    if found := difference(path, file):
        path.unlink()
        raise InputError(
            f"{file.name} was received with {found}: it was damaged in transit, or is another file; it was "
            "deleted, and the same command downloads it again"
        )
    progress(file.size)


def difference(path: Path, file: File) -> str | None:
    """How a file differs from the official one, as the object of a sentence; None where it does not."""
    if (size := path.stat().st_size) != file.size:
        return f"{size:,} bytes instead of {file.size:,}"
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return None if digest == file.sha256 else f"the SHA-256 {digest} instead of {file.sha256}"


def _continue(
    opener: urllib.request.OpenerDirector,
    file: File,
    address: str,
    path: Path,
    progress: Callable[[int], None],
    say: Callable[[str], None],
) -> None:
    """One connection: append to the partial file, or replace it where the server sends all of it."""
    received = _size(path)
    headers = {"User-Agent": "faal"} | ({"Range": f"bytes={received}-"} if received else {})
    with _connected(opener, urllib.request.Request(address, headers=headers), path) as response:
        if _offset(response, received, file) != received:
            say(f"{file.name}: the server sends only complete files; restarting")
            received = 0
        with path.open("ab" if received else "wb") as partial:
            for chunk in _chunks(response):
                received += len(chunk)
                if received > file.size:
                    break
                partial.write(chunk)
                progress(received)
    if received > file.size:
        path.unlink()
        raise _other_size(file, "more")
    if received < file.size:
        raise _InterruptedError("the server closed the connection")


def _connected(opener: urllib.request.OpenerDirector, request: urllib.request.Request, path: Path) -> Any:
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the partial file is not a prefix of the server's
                path.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in TEMPORARY:
                raise UnreachableError(f"the server's status is {error.code} {error.reason}") from None
            raise _InterruptedError(f"the server's status is {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _InterruptedError(_reason(error)) from None


def _offset(response: Any, received: int, file: File) -> int:
    """The offset of a response, 0 or `received`. Raises InputError where the file has another size."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != received:
            raise UnreachableError("the server sends another part of the file than the one requested")
        if found[2] not in ("*", str(file.size)):
            raise _other_size(file, found[2])
        return received
    length = response.headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise _other_size(file, length)
    return 0


def _chunks(response: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(_reason(error)) from None
        if not chunk:
            return
        yield chunk


def _other_size(file: File, size: str) -> InputError:
    found = f"{int(size):,} bytes" if size.isdigit() else size
    return InputError(
        f"the server has {found} as {file.name} instead of {file.size:,} bytes: it is another file, such as a login "
        "page of your network; download it from another network"
    )


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return text.strip().splitlines()[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _OneScheme(urllib.request.HTTPRedirectHandler):
    """Rejects redirections to another scheme."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != self.scheme:
            raise UnreachableError(f"the server redirects to {newurl}, which is not {self.scheme}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
