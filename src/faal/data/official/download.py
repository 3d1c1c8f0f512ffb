"""Download one file of known size and SHA-256, continuing where a connection broke off."""

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
"""Connections in a row that may bring nothing new before the download ends."""

PAUSE = 1.0
"""Seconds before the next connection; doubled for every one in a row that brought nothing new."""

TIMEOUT = 30.0
"""Seconds that a server may be silent."""

CHUNK = 1 << 18

TEMPORARY = {408, 425, 429}
"""Statuses below 500 after which the same request may succeed."""


class UnreachableError(Exception):
    """The file could not be fetched; the message is the reason. What has come remains in the partial file."""


class _BrokenOffError(Exception):
    """A connection ended early; the message is the reason."""


def download(
    file: File,
    address: str,
    path: Path,
    *,
    scheme: str = "https",
    progress: Callable[[int], None] = lambda have: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Download a file, or what is missing of it, and check all of it.

    Args:
        file: its size and SHA-256.
        address: of the file.
        path: where it goes; what an earlier call left there is continued with a Range request, and replaced where the
            server sends whole files only.
        scheme: the address's only permitted one, after redirections too.
        progress: called with the number of bytes that are there.
        say: called with a sentence where a connection broke off, or the file begins again.

    Raises:
        UnreachableError: the server could not be reached, does not have the file, or broke off `TRIES` times in a row
            without anything new. What has come is kept.
        InputError: the server has another file, by its size or SHA-256. Nothing is kept.
    """
    if urlsplit(address).scheme != scheme:
        raise UnreachableError(f"its address is not {scheme}")
    opener = urllib.request.build_opener(_OneScheme(scheme))  # it uses the proxies that the environment names
    if _size(path) > file.size:
        path.unlink()
    furthest, idle = _size(path), 0
    while _size(path) < file.size:
        try:
            _continue(opener, file, address, path, progress, say)
            break
        except _BrokenOffError as broken:
            have = _size(path)
            idle, furthest = (0, have) if have > furthest else (idle + 1, furthest)
            if idle == TRIES:
                raise UnreachableError(str(broken)) from None
            where = f"broken off at {have:,} of {file.size:,} bytes" if have else "no connection"
            say(f"{file.name}: {where} ({broken}); {'continuing from there' if have else 'trying again'}")
            time.sleep(PAUSE * 2 ** max(0, idle - 1))
    if found := difference(path, file):
        path.unlink()
        raise InputError(
            f"{file.name} came with {found}: it was damaged on the way, or is another file; it was deleted, and the "
            "same command fetches it again from the beginning"
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
    """One connection: append to the partial file, or replace it where the server sends the whole."""
    have = _size(path)
    headers = {"User-Agent": "faal"} | ({"Range": f"bytes={have}-"} if have else {})
    with _connected(opener, urllib.request.Request(address, headers=headers), path) as reply:
        if _offset(reply, have, file) != have:
            say(f"{file.name}: the server sends whole files only; beginning again")
            have = 0
        with path.open("ab" if have else "wb") as partial:
            for piece in _pieces(reply):
                have += len(piece)
                if have > file.size:
                    break
                partial.write(piece)
                progress(have)
    if have > file.size:
        path.unlink()
        raise _other_size(file, "more")
    if have < file.size:
        raise _BrokenOffError("the server closed the connection")


def _connected(opener: urllib.request.OpenerDirector, request: urllib.request.Request, path: Path) -> Any:
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # the partial file is not the beginning of what the server has
                path.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in TEMPORARY:
                raise UnreachableError(f"the server's status is {error.code} {error.reason}") from None
            raise _BrokenOffError(f"the server's status is {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(_reason(error)) from None


def _offset(reply: Any, have: int, file: File) -> int:
    """The first byte that a reply has, 0 or `have`. Raises InputError where the whole has another size."""
    if reply.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            raise UnreachableError("the server sends another part of the file than the one requested")
        if found[2] not in ("*", str(file.size)):
            raise _other_size(file, found[2])
        return have
    length = reply.headers.get("Content-Length")
    if length is not None and length != str(file.size):
        raise _other_size(file, length)
    return 0


def _pieces(reply: Any) -> Iterator[bytes]:
    while True:
        try:
            piece = reply.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(_reason(error)) from None
        if not piece:
            return
        yield piece


def _other_size(file: File, size: str) -> InputError:
    found = f"{int(size):,} bytes" if size.isdigit() else size
    return InputError(
        f"the server has {found} as {file.name} instead of {file.size:,} bytes: it is another file, such as a page of "
        "the network that you are in; fetch it elsewhere"
    )


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return text.strip().splitlines()[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _OneScheme(urllib.request.HTTPRedirectHandler):
    """Refuses redirections to another scheme."""

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
