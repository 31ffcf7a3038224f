"""Where a file is: a path on a disk, or an object behind a URL.

Belongs here: `RemotePath`, which stands where a `Path` may stand, and what is needed to reach it. Does not: reading
(`file_access.py`, `objects/client.py`), settings (`source_settings.py`).

Local files stay plain `Path`s, with memory maps and all that Arrow and GDAL do with them.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeAlias

#: What a root in the settings may begin with, beside folders.
SCHEMES = ("s3", "gs", "https", "http")
_URL = re.compile(r"^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<host>[^/]*)(?P<path>/.*)?$")


@dataclass(frozen=True)
class FileFacts:
    """What identifies a version of a file.

    Attributes:
        size_bytes: length.
        etag: changes whenever the file is written; for local files `{size:x}-{mtime_ns:x}`.
    """

    size_bytes: int
    etag: str


@dataclass(frozen=True)
class CacheLimits:
    """A block cache.

    Attributes:
        root: its folder, shared by all processes.
        max_bytes: size that it is kept below.
    """

    root: Path
    max_bytes: int


@dataclass(frozen=True)
class RemoteAccess:
    """How a bucket or a server is reached.

    Attributes:
        region: of an S3 bucket; None = us-east-1, or what the environment says where requests are signed.
        endpoint: of a store that speaks S3 elsewhere than at Amazon.
        anonymous: requests are not signed.
        allow_http: without TLS.
        connections: requests in flight at once, per process and bucket or server.
        tries: of one request, before it is given up.
        first_wait_s: least wait before the second try; doubled for each further one.
        longest_wait_s: at which the waits stop growing.
        timeout_s: without a byte, after which a try has failed.
        cache: where blocks are kept; None = nowhere.
        scratch: folder in which files are written before they are sent; None = that of the system for such files.
    """

    region: str | None = None
    endpoint: str | None = None
    anonymous: bool = True
    allow_http: bool = False
    connections: int = 8
    tries: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0
    timeout_s: float = 30.0
    cache: CacheLimits | None = None
    scratch: Path | None = None


@dataclass(frozen=True)
class RemotePath:
    """A file or folder behind a URL; `/`, `name`, `stem`, `suffix` and `parents` are those of a `Path`.

    Attributes:
        url: `s3://bucket/key`, `gs://bucket/key`, `https://host/path`; no slash at its end.
        access: how it is reached.
        version: the version that must be read; None = whichever is there when it is opened.
    """

    url: str
    access: RemoteAccess = RemoteAccess()
    version: FileFacts | None = None

    def __truediv__(self, part: str | PurePath) -> RemotePath:
        below = "" if str(part) == "." else str(part).strip("/")
        return replace(self, url=f"{self.url}/{below}" if below else self.url, version=None)

    def __str__(self) -> str:
        return self.url

    @property
    def scheme(self) -> str:
        """`s3`, `gs`, `https` or `http`."""
        return self.url.partition("://")[0]

    @property
    def container(self) -> str:
        """The bucket or the server: `s3://bucket`, `https://host`."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def key(self) -> str:
        """What follows the container; empty for the container itself."""
        return self.url.removeprefix(self.container).strip("/")

    @property
    def name(self) -> str:
        """Last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return PurePosixPath(self.key).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The container, then the parts of the key."""
        return (self.container, *PurePosixPath(self.key).parts)

    @property
    def parents(self) -> list[RemotePath]:
        """The folders above, nearest first, down to the container."""
        parts = [str(parent) for parent in PurePosixPath(self.key).parents] if self.key else []
        return [replace(self, url=f"{self.container}/{part}".removesuffix("/."), version=None) for part in parts]

    @property
    def parent(self) -> RemotePath:
        """The folder above; of the container itself, the container."""
        return next(iter(self.parents), self)

    def with_name(self, name: str) -> RemotePath:
        """Give the file of another name in the same folder."""
        return self.parent / name

    def at(self, version: FileFacts) -> RemotePath:
        """Give the same file, bound to a version: reading another one is an error."""
        return replace(self, version=version)

    @property
    def scratch(self) -> Path:
        """The folder of this machine in which files for here are written before they are sent."""
        return self.access.scratch or Path(tempfile.gettempdir()) / f"isthmus-{os.getuid()}"

    def writing_in(self, scratch: Path | None) -> RemotePath:
        """Give the same file, written in a folder before it is sent."""
        return replace(self, access=replace(self.access, scratch=scratch))

    def through(self, cache: CacheLimits | None) -> RemotePath:
        """Give the same file, read through a cache."""
        return replace(self, access=replace(self.access, cache=cache))


FilePath: TypeAlias = Path | RemotePath


def refuse_password(url: str) -> None:
    """Raise where a URL has a user or a password in front of its host.

    Raises:
        ValueError: it has; the message does not repeat it.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise ValueError(
            "must have no user and no password: settings are shared, and errors, logs and alerts show URLs. For S3 and "
            "Google Cloud set anonymous = false, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "GOOGLE_APPLICATION_CREDENTIALS, in the environment. Download what is on a web server with a password"
        )


def parse_url(text: str, access: RemoteAccess) -> RemotePath:
    """Read a URL.

    Raises:
        ValueError: a scheme that is not read, no bucket or host, or plain HTTP where it is not allowed; in words.
    """
    match = _URL.match(text)
    if match is None or match["scheme"].lower() not in SCHEMES:
        raise ValueError(f"must be a folder or a URL with one of {[f'{scheme}://' for scheme in SCHEMES]}")
    scheme = match["scheme"].lower()
    if not match["host"]:
        raise ValueError(f"names no {'bucket' if scheme in ('s3', 'gs') else 'host'} behind {scheme}://")
    refuse_password(text)
    if re.search(r"[?#*]", text):
        raise ValueError("must have no '?', '#' or '*'; signed URLs are not read, they end before a run does")
    is_plain = scheme == "http" or (access.endpoint or "").startswith("http://")
    if is_plain and not access.allow_http:
        raise ValueError("is reached without TLS; use https://, or set allow_http = true beside it")
    return RemotePath(f"{scheme}://{match['host']}{(match['path'] or '').rstrip('/')}", access)
