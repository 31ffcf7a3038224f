"""One version of a remote file, read by ranges.

Belongs here: a file object over blocks, which come from memory, the local cache or the network. Does not: requests
(`client.py`), keeping blocks (`block_cache.py`), what the bytes mean.

What is missing is asked for in whole blocks, neighbours together, all requests at once up to the bound of the client;
spans are handed out in order as they come, so that the first is decoded while the last is on its way.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.block_cache import BLOCK_BYTES, name_file, open_cache
from warehouse.objects.client import ByteSpan, open_client

#: Longest request, in blocks: one that fails is asked for again as a whole.
_RUN_BLOCKS = 64
#: Blocks that an open file remembers: headers are read in many small steps.
_RECENT_BLOCKS = 32


@dataclass(frozen=True)
class _Run:
    """Neighbouring blocks that are on their way.

    Attributes:
        first: number of the first block.
        content: their bytes.
    """

    first: int
    content: Future[memoryview]


class RemoteFile(io.RawIOBase):
    """A remote file as Python, Arrow and GDAL read files. For one thread at a time.

    Args:
        path: bound to a version (`files.pin`).
    """

    def __init__(self, path: RemotePath) -> None:
        assert path.version is not None
        self.path = path
        self._version: FileFacts = path.version
        self._client = open_client(path)
        self._cache = open_cache(path.access.cache) if path.access.cache is not None else None
        self._name = name_file(path)
        self._recent: OrderedDict[int, memoryview] = OrderedDict()
        self._position = 0

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self._version.size_bytes

    def read_spans(self, spans: Sequence[ByteSpan]) -> Generator[bytes, None, None]:
        """Read parts of the file, all at once as far as connections go.

        Args:
            spans: within the file.

        Yields:
            The bytes of each span, in the order given.

        Raises:
            SourceChangedError: the file is not the version that it is bound to.
            SourceMissingError, SourceRefusedError, SourceUnavailableError: see `ObjectClient.fetch`.
        """
        runs = self._start_runs({number for span in spans for number in _blocks_of(span)})
        last_use = {number: i for i, span in enumerate(spans) for number in _blocks_of(span)}
        try:
            for i, span in enumerate(spans):
                yield self._join(span, runs)
                for number in _blocks_of(span):
                    if last_use[number] == i:
                        runs.pop(number, None)  # or all of a large read would stay in memory
        finally:
            for run in runs.values():
                run.content.cancel()

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._version.size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Read from the position on; fewer bytes only at the end of the file."""
        left = max(0, self._version.size_bytes - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        spans = [
            ByteSpan(start, min(start + _RUN_BLOCKS * BLOCK_BYTES, self._position + wanted))
            for start in range(self._position, self._position + wanted, _RUN_BLOCKS * BLOCK_BYTES)
        ]
        content = b"".join(self.read_spans(spans))
        self._position += wanted
        return content

    def _start_runs(self, numbers: set[int]) -> dict[int, _Run]:
        """Ask the network for the blocks that are nowhere else; give the run of each."""
        missing = [n for n in sorted(numbers) if n not in self._recent and not self._is_cached(n)]
        runs: dict[int, _Run] = {}
        for first, count in _group(missing):
            runs |= dict.fromkeys(range(first, first + count), self._start_run(first, count))
        return runs

    def _start_run(self, first: int, count: int) -> _Run:
        span = ByteSpan(first * BLOCK_BYTES, min((first + count) * BLOCK_BYTES, self._version.size_bytes))
        return _Run(first, fetch_loop.start(self._client.fetch(self.path.key, span, self._version)))

    def _is_cached(self, number: int) -> bool:
        return self._cache is not None and self._cache.has(self._name, number)

    def _join(self, span: ByteSpan, runs: dict[int, _Run]) -> bytes:
        parts = []
        for number in _blocks_of(span):
            start = number * BLOCK_BYTES
            block = self._block(number, runs)
            parts.append(block[max(0, span.start - start) : span.stop - start])
        return b"".join(parts)

    def _block(self, number: int, runs: dict[int, _Run]) -> memoryview:
        """Give a block from memory, from its run, from the cache, or in a request of its own if it was evicted."""
        if number in self._recent:
            self._recent.move_to_end(number)
            return self._recent[number]
        length = min(BLOCK_BYTES, self._version.size_bytes - number * BLOCK_BYTES)
        block = None
        if number not in runs and self._cache is not None:
            block = self._cache.get(self._name, number, length)
        if block is None:
            block = self._take(number, length, runs.get(number) or self._start_run(number, 1))
        self._recent[number] = memoryview(block)
        while len(self._recent) > _RECENT_BLOCKS:
            self._recent.popitem(last=False)
        return self._recent[number]

    def _take(self, number: int, length: int, run: _Run) -> bytes:
        """Wait for a block of a run and keep it."""
        start = (number - run.first) * BLOCK_BYTES
        block = bytes(run.content.result()[start : start + length])  # a view would hold the whole run
        if self._cache is not None:
            self._cache.put(self._name, number, memoryview(block))
        return block


def _blocks_of(span: ByteSpan) -> range:
    return range(span.start // BLOCK_BYTES, -(-span.stop // BLOCK_BYTES)) if len(span) else range(0)


def _group(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Group ascending numbers into runs of neighbours: (first, count), none longer than a request."""
    first, count = -1, 0
    for number in numbers:
        if count and number == first + count and count < _RUN_BLOCKS:
            count += 1
            continue
        if count:
            yield first, count
        first, count = number, 1
    if count:
        yield first, count
