"""A web server on loopback that serves a folder by ranges, and fails when told to.

Belongs here: HTTP, the listing of S3, faults. Does not: what is served, assertions (the tests).

The folder is served as `http://127.0.0.1:{port}/{BUCKET}/...`; so are S3 (path style) and Google Cloud Storage, which
is why one server stands in for all three. Nothing but the standard library.
"""

from __future__ import annotations

import mmap
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "world"
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")

FaultKind = Literal["status", "slow", "stall", "cut", "short", "reset"]


@dataclass
class Fault:
    """What goes wrong with some requests.

    Attributes:
        kind: `status` (answers with it), `slow` (answers after `seconds`), `stall` (sends half a body, then nothing for
            `seconds`), `cut` (sends half a body and closes), `short` (half a range, correctly announced), `reset`
            (resets the connection).
        path: regular expression of the URL path.
        times: so many requests.
        after: so many requests pass first.
        status: of kind `status`.
        seconds: of kinds `slow` and `stall`.
        method: `GET` or `HEAD`.
        hits: requests that it has spoilt.
    """

    kind: FaultKind
    path: str = ""
    times: int = 1
    after: int = 0
    status: int = 500
    seconds: float = 0.0
    method: str = "GET"
    hits: int = 0
    seen: int = 0

    def strikes(self, method: str, path: str) -> bool:
        """Tell whether this request is spoilt, and count it."""
        if method != self.method or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen <= self.after or self.hits >= self.times:
            return False
        self.hits += 1
        return True


@dataclass(frozen=True)
class Asked:
    """One request, as it came."""

    method: str
    path: str
    span: tuple[int, int] | None
    user_agent: str


@dataclass
class FaultServer:
    """What a test tells the server, and what the server saw.

    Attributes:
        root: folder that is served.
        url: of the folder.
        faults: tried in order; the first that strikes counts.
        has_listing: it speaks S3 listings.
        has_ranges: it knows ranges.
        has_etags: it sends ETags.
        checks_if_match: it answers 412 where If-Match fails; plain servers ignore it.
        page: keys in one page of a listing.
        changes: path -> (requests that still get the old content, new content).
        asked: all requests of files, in order.
    """

    root: Path
    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    has_listing: bool = True
    has_ranges: bool = True
    has_etags: bool = True
    checks_if_match: bool = True
    page: int = 4
    changes: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        """The server without its folder."""
        return self.url.removesuffix(f"/{BUCKET}")

    def gets(self, suffix: str = "") -> list[Asked]:
        """List the GETs of files whose path ends so."""
        return [one for one in self.asked if one.method == "GET" and one.path.endswith(suffix)]

    def change_after(self, requests: int, name: str, content: bytes) -> None:
        """Replace a file once some GETs of it were answered."""
        self.changes[name] = (requests, content)

    def content_of(self, name: str, method: str) -> tuple[bytes | mmap.mmap, str] | None:
        """Give bytes and ETag of a file as this request finds them."""
        with self.lock:
            if name in self.changes:
                left, content = self.changes[name]
                if left <= 0:
                    return content, f'"changed-{len(content)}"'
                if method == "GET":
                    self.changes[name] = (left - 1, content)
        path = self.root / name
        if not path.is_file():
            return None
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
        return content, f'"{path.stat().st_mtime_ns:x}-{path.stat().st_size:x}"'


@contextmanager
def serve(root: Path) -> Iterator[FaultServer]:
    """Serve a folder until the block ends."""
    server = FaultServer(root)
    handler = type("Handler", (_Handler,), {"told": server})
    http = _QuietServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}/{BUCKET}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that hung up: they were to."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits 40 ms
    told: FaultServer

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        name = path.removeprefix(f"/{BUCKET}").lstrip("/")
        is_listing = "list-type" in parts.query
        span = _RANGE.match(self.headers.get("Range", ""))
        wanted = (int(span[1]), int(span[2]) + 1) if span and span[2] else None
        with self.told.lock:
            if not is_listing:
                self.told.asked.append(Asked(method, path, wanted, self.headers.get("User-Agent", "")))
            fault = next((one for one in self.told.faults if one.strikes(method, path)), None)
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "reset":
            self._reset()
        elif fault is not None and fault.kind == "status":
            self._send(method, fault.status, b"told to fail")
        elif is_listing:
            self._list(method, parse_qs(parts.query))
        else:
            self._send_file(method, name, fault)

    def _send_file(self, method: str, name: str, fault: Fault | None) -> None:
        found = self.told.content_of(name, method)
        if found is None:
            return self._send(method, 404, b"no such key")
        content, etag = found
        headers = {"Accept-Ranges": "bytes", "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        if self.told.has_etags:
            headers["ETag"] = etag
        wanted = self.headers.get("If-Match")
        if self.told.checks_if_match and wanted is not None and wanted != etag:
            return self._send(method, 412, b"")
        match = _RANGE.match(self.headers.get("Range", "")) if self.told.has_ranges else None
        if match is None:
            return self._send(method, 200, content, headers, fault=fault)
        start, stop = int(match[1]), min(int(match[2] or len(content)) + 1, len(content))
        if start >= len(content):
            return self._send(method, 416, b"", {"Content-Range": f"bytes */{len(content)}"})
        if fault is not None and fault.kind == "short":
            stop = start + (stop - start) // 2
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self._send(method, 206, content[start:stop], headers, fault=fault)

    def _list(self, method: str, query: dict[str, list[str]]) -> None:
        if not self.told.has_listing:
            return self._send(method, 404, b"no listing here")
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(
            path.relative_to(self.told.root).as_posix() for path in self.told.root.rglob("*") if path.is_file()
        )
        keys = [key for key in keys if key.startswith(prefix) and key > after]
        page, rest = keys[: self.told.page], keys[self.told.page :]
        rows = []
        for key in page:
            stat = (self.told.root / key).stat()
            when = datetime.fromtimestamp(int(stat.st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            rows.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{when}</LastModified>"
                f"<ETag>&quot;{stat.st_mtime_ns:x}-{stat.st_size:x}&quot;</ETag><Size>{stat.st_size}</Size></Contents>"
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        content = f"<IsTruncated>{str(bool(rest)).lower()}</IsTruncated>{''.join(rows)}{token}"
        body = f"<ListBucketResult>{content}</ListBucketResult>"
        return self._send(method, 200, body.encode(), {"Content-Type": "application/xml"})

    def _send(
        self, method: str, status: int, content: bytes | mmap.mmap, headers: dict[str, str] | None = None, *,
        fault: Fault | None = None,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if method == "HEAD":
            return
        if fault is not None and fault.kind in ("cut", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            time.sleep(fault.seconds if fault.kind == "stall" else 0)
            self.close_connection = True
            return
        self.wfile.write(content)

    def _reset(self) -> None:
        """Close so that the other side reads a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
