"""Requests to one bucket or server: retries, and one version of a file or none.

Belongs here: what is asked of obstore to read, list and write, how its errors are read, when to try again. Does not:
building stores (`stores.py`), blocks and caches (`remote_file.py`).

A time-out, a reset, a body cut short, 5xx and 429 are tried again, with waits that double and jitter; any other answer
is final at once. Every range is asked for with the ETag that the file must have (If-Match), and ETag and length of the
answer are compared too, because plain web servers ignore the condition.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from obstore import exceptions

from warehouse.errors import (
    ListingRefusedError,
    NoCredentialsError,
    SourceChangedError,
    SourceForbiddenError,
    SourceMissingError,
    SourceRefusedError,
    SourceUnavailableError,
)
from warehouse.file_paths import FileFacts, RemoteAccess, RemotePath
from warehouse.objects.stores import open_listing_store, open_store

T = TypeVar("T")

#: Answers that a later try may better: request time-out, too early, too many requests.
_TRANSIENT_CODES = (408, 425, 429)
_STATUS = re.compile(r"status code: (\d{3})(?: ([A-Z][A-Za-z ]*\w))?")
#: Least share of a wait; the rest is drawn, so that clients that failed together do not return together.
_LEAST_WAIT = 0.5
_LONGEST_CAUSE = 200
_WORTH_TELLING_S = 1.0
#: Heard by whoever shows progress (`orchestration/progress_log.py`), else by nobody.
_progress = logging.getLogger("isthmus.progress.sources")
#: Where obstore asks for credentials when the environment has none; only machines of Amazon answer there.
_CREDENTIAL_PLACES = ("169.254.169.254", "169.254.170.2", "fd00:ec2::254")
#: What obstore's errors hold at their ends, in words.
_CAUSES = (
    ("kind: Timeout", "a time-out"),
    ("dns error", "no such host"),
    ("ConnectionRefused", "connection refused"),
    ("ConnectionReset", "connection reset"),
    ("IncompleteBody", "a body cut short"),
    ("UnexpectedRange", "a body cut short"),
    ("IncompleteMessage", "connection closed before an answer"),
)


@dataclass(frozen=True)
class ByteSpan:
    """Bytes of a file, from `start` up to but not including `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class _CutShortError(Exception):
    """A body is shorter or longer than what was asked for."""


class FileThereError(Exception):
    """A file is there that should not have been; only `swap` asks for that."""


class ObjectClient:
    """One bucket or server.

    Args:
        container: `s3://bucket`, `gs://bucket`, `https://host`.
        access: how it is reached.
    """

    def __init__(self, container: str, access: RemoteAccess) -> None:
        self._container = container
        self._access = access
        self._store = open_store(container, access)
        self._gate = asyncio.Semaphore(access.connections)

    async def head(self, key: str) -> FileFacts | None:
        """Give size and ETag of a file, None where there is none.

        Raises:
            SourceForbiddenError: the server says no, or keeps to itself whether there is one.
            SourceRefusedError: the server refuses the request for another reason.
            SourceUnavailableError: no good answer in all tries.
        """
        try:
            meta = await self._persist(key, lambda: self._store.head_async(key))
        except SourceMissingError:
            return None
        return _facts(meta)

    async def fetch(self, key: str, span: ByteSpan, version: FileFacts) -> memoryview:
        """Read a range of one version of a file.

        Raises:
            SourceMissingError: there is no such file.
            SourceChangedError: there is another version of it.
            SourceRefusedError: the server says no, or does not know ranges.
            SourceUnavailableError: no good answer in all tries.
        """
        options: dict[str, Any] = {"range": (span.start, span.stop)}
        if version.etag.startswith('"'):  # weak ones never match, and what is made of a date is no ETag
            options["if_match"] = version.etag

        async def get() -> memoryview:
            answer = await self._store.get_async(key, options=options)
            self._check_version(key, _facts(answer.meta), version)
            content = memoryview(await answer.bytes_async())
            if len(content) != len(span):
                raise _CutShortError(f"{len(content)} of {len(span)} bytes")
            return content

        return await self._persist(key, get, version)

    async def list_files(self, prefix: str) -> dict[str, FileFacts]:
        """List all files below a folder, by key relative to it, with size and ETag.

        Raises:
            ListingRefusedError: the server has no listing, or gives it to its owner only.
            SourceMissingError: there is no such bucket.
            SourceUnavailableError: no good answer in all tries.
        """
        store, folder = open_listing_store(self._container, prefix, self._access)
        if store is None:
            raise ListingRefusedError(self._url(prefix), "no bucket in its address")

        async def collect() -> Sequence[Any]:
            return await store.list(folder or None).collect_async()

        try:
            found = await self._persist(prefix, collect)
        except (SourceRefusedError, SourceMissingError) as error:
            is_web_server = self._container.startswith("http")
            if isinstance(error, SourceMissingError) and not is_web_server:
                raise  # there is no such bucket
            raise ListingRefusedError(self._url(prefix), _say_cause(error.__cause__ or error)) from error
        skipped = len(folder) + 1 if folder else 0
        return {str(meta["path"])[skipped:]: _facts(meta) for meta in found}

    async def put_file(self, key: str, source: Path, content_type: str, ask: Callable[[], None]) -> None:
        """Publish a file: readers see the old one or all of the new one.

        Long files are sent in parts, which nobody sees before the last is there.

        Args:
            key: where.
            source: the file.
            content_type: for browsers.
            ask: called before each try, in a thread of its own; what it raises ends the upload.

        Raises:
            SourceRefusedError: this user may not write there, or the store refuses for another reason.
            SourceUnavailableError: no good answer in all tries.
        """

        async def put() -> None:
            await asyncio.to_thread(ask)
            await self._store.put_async(
                key, source, attributes={"Content-Type": content_type}, max_concurrency=self._access.connections
            )

        await self._persist(key, put)

    async def swap(self, key: str, content: bytes, expected: FileFacts | None) -> FileFacts | None:
        """Replace a small file if it still is the expected version, or is not there where None is expected.

        Returns:
            The version that is there now; None where there was another than the expected one, and nothing was written.
            After a lost answer that may be what this call has written itself: ask the content.

        Raises:
            SourceRefusedError: this user may not write there, or the store knows no conditions (If-Match).
            SourceUnavailableError: no good answer in all tries.
        """
        mode = "create" if expected is None else {"e_tag": expected.etag}
        try:
            answer = await self._persist(key, lambda: self._store.put_async(key, content, mode=mode), expected)
        except (SourceChangedError, FileThereError):
            return None
        return FileFacts(len(content), answer["e_tag"])

    async def delete(self, key: str) -> None:
        """Remove a file; one that is not there counts as removed.

        Raises:
            SourceRefusedError: this user may not.
            SourceUnavailableError: no good answer in all tries.
        """
        with contextlib.suppress(SourceMissingError):
            await self._persist(key, lambda: self._store.delete_async(key))

    def _url(self, key: str) -> str:
        return f"{self._container}/{key}"

    def _check_version(self, key: str, found: FileFacts, expected: FileFacts) -> None:
        if found.size_bytes != expected.size_bytes or _bare(found.etag) != _bare(expected.etag):
            raise SourceChangedError(self._url(key), _say(found), _say(expected))

    async def _persist(self, key: str, request: Callable[[], Awaitable[T]], version: FileFacts | None = None) -> T:
        """Make a request until it succeeds, is refused, or all tries are used."""
        started = time.monotonic()
        url = self._url(key)
        for done in range(1, self._access.tries + 1):
            try:
                async with self._gate:
                    return await request()
            except (exceptions.BaseError, OSError, _CutShortError) as error:
                _raise_permanent(url, error, version)
                cause = _say_cause(error)
                if done == self._access.tries:
                    raise SourceUnavailableError(url, done, time.monotonic() - started, cause) from error
            wait_s = self._wait_s(done)
            if wait_s >= _WORTH_TELLING_S:
                _progress.info("%s: %s, try %d of %d in %.0f s", url, cause, done + 1, self._access.tries, wait_s)
            await asyncio.sleep(wait_s)
        raise AssertionError("a client has at least one try")

    def _wait_s(self, done: int) -> float:
        longest = min(self._access.longest_wait_s, self._access.first_wait_s * 2 ** (done - 1))
        return longest * random.uniform(_LEAST_WAIT, 1.0)


def open_client(path: RemotePath) -> ObjectClient:
    """Give the client of a path's bucket or server; one per process, with its connections."""
    return _open_client(os.getpid(), path.container, replace(path.access, cache=None))


@lru_cache(maxsize=64)
def _open_client(_process: int, container: str, access: RemoteAccess) -> ObjectClient:
    return ObjectClient(container, access)


def _facts(meta: Any) -> FileFacts:
    """Read what a server says of a file; without an ETag its date stands in."""
    etag = meta.get("e_tag") or f"{meta['size']:x}-{meta['last_modified'].timestamp():.0f}"
    return FileFacts(meta["size"], etag)


def _bare(etag: str) -> str:
    """Give an ETag as listings and headers both have it."""
    return etag.removeprefix("W/").strip('"')


def _say(facts: FileFacts) -> str:
    return f"{facts.size_bytes} bytes with ETag {facts.etag}"


def _raise_permanent(url: str, error: BaseException, version: FileFacts | None) -> None:
    """Raise what no further try can better; return where one can."""
    text = str(error)
    status = _STATUS.search(text)
    code = int(status[1]) if status else 0
    answer = f"{code} {status[2] or ''}".strip() if status else ""
    expected = _say(version) if version else "the version of the index"
    if any(mark in text for mark in _CREDENTIAL_PLACES):
        raise NoCredentialsError(url) from error
    if isinstance(error, exceptions.AlreadyExistsError):
        raise FileThereError(url) from error
    if isinstance(error, exceptions.PreconditionError):
        raise SourceChangedError(url, "another version (412 Precondition Failed)", expected) from error
    if isinstance(error, FileNotFoundError) or code == 404:
        raise SourceMissingError(
            url,
            "404 Not Found",
            "a file",
            "Correct the source root (warehouse.root); if the index lists it, it was taken back.",
        ) from error
    if code == 416 and version is not None:
        raise SourceChangedError(url, "a shorter file (416 Range Not Satisfiable)", expected) from error
    if isinstance(error, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        raise SourceForbiddenError(url, answer or "no permission") from error
    if isinstance(error, exceptions.NotSupportedError) or "non-partial response" in text:
        raise SourceRefusedError(
            url, "a server that sends whole files only", "Download the file and set sources.*.root to its folder."
        ) from error
    if "redirect without LOCATION" in text:
        raise SourceRefusedError(
            url, "a redirect to nowhere", "Set sources.*.region (warehouse.region) to that of the bucket."
        ) from error
    if code and code < 500 and code not in _TRANSIENT_CODES:
        raise SourceRefusedError(
            url, answer, "Correct root, region or endpoint in [sources.*] or [warehouse]."
        ) from error


def _say_cause(error: BaseException) -> str:
    """Give the shortest text that tells what went wrong: obstore's repeats itself over many lines."""
    text = str(error)
    status = _STATUS.search(text)
    if status is not None:
        return f"{status[1]} {status[2] or ''}".strip()
    for mark, words in _CAUSES:
        if mark in text:
            return words
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_LONGEST_CAUSE]
