"""A server on the loopback address for downloads: it breaks off, sends other content, or ignores Range requests."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from faal.data.official.sources import File, OfficialSource


@dataclass
class FileServer:
    """What is served, and how; `requests` has the Range of each request, None for a whole file."""

    files: Mapping[str, bytes]
    breaks: dict[str, list[int]] = field(default_factory=dict)
    """File -> where its first connections break off, one for each, counted from the file's beginning."""
    ranges: bool = True
    status: dict[str, int] = field(default_factory=dict)
    redirect: str | None = None
    states_length: bool = True
    address: str = ""
    requests: dict[str, list[str | None]] = field(default_factory=lambda: defaultdict(list))

    def source(self, source: OfficialSource) -> OfficialSource:
        """The source with this server's address, and with the sizes and digests of its files."""
        files = tuple(official(file.name, self.files[file.name]) for file in source.files)
        return replace(source, address=self.address, files=files, scheme="http")


def official(name: str, content: bytes) -> File:
    return File(name=name, size=len(content), sha256=hashlib.sha256(content).hexdigest())


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """The context in which the server runs."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            wanted = self.headers.get("Range")
            server.requests[name].append(wanted)
            content = server.files.get(name, b"")
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0  # type: ignore[index]
            if server.redirect is not None:
                self.send_response(302)
                self.send_header("Location", server.redirect)
                self.end_headers()
                return
            if (status := server.status.get(name, 200 if name in server.files else 404)) != 200:
                self.send_error(status)
                return
            if first > len(content):
                self.send_error(416)
                return
            self.send_response(206 if wanted and server.ranges else 200)
            if wanted and server.ranges:
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            if server.states_length:
                self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            breaks = server.breaks.get(name, [])
            self.wfile.write(content[first : breaks.pop(0) if breaks else None])

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.address = f"http://127.0.0.1:{http.server_port}/"
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
