"""Blocks of remote files on the local disk, kept below a size.

Belongs here: storing, finding and evicting blocks, safely with any number of threads and processes. Does not: fetching
(`remote_file.py`).

A block is one file, `{file}/{number}`, where `{file}` is a digest of URL, ETag and size: another version of a file has
other blocks. It is written beside its place and renamed, and ends with a checksum, so that what a killed process or a
bad disk left is fetched again. Its modification time is when it was last used; the longest unused go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from warehouse.errors import CacheError
from warehouse.file_paths import CacheLimits, RemotePath

#: Length of a block. Smaller ones waste fewer bytes around a tile of a raster, larger ones need fewer files.
BLOCK_BYTES = 128 * 1024
_CHECKSUM_BYTES = 4
#: Eviction goes down to this share of the limit, so that it is not needed for each block.
_LOW_WATER = 0.9
#: A process counts the whole folder again after writing this share of the limit: others write too.
_RECOUNT_SHARE = 0.05
_PART_PREFIX = ".part-"
_PUT_TRIES = 5
#: What the cache itself has written; anything else in its folder is somebody's.
_FOLDER = re.compile(r"[0-9a-f]{32}")
_BLOCK = re.compile(rf"[0-9]+|{re.escape(_PART_PREFIX)}.+")


@dataclass
class CacheCounts:
    """What this process has done with a cache.

    Attributes:
        hits: blocks read.
        damaged: blocks that were not whole, and were removed.
        stored: blocks written, each after it came from the network.
        evicted: blocks removed for lack of room.
    """

    hits: int = 0
    damaged: int = 0
    stored: int = 0
    evicted: int = 0


@dataclass(frozen=True)
class CacheSize:
    """What a cache holds.

    Attributes:
        files: remote files, or versions of them, with a block in it.
        blocks: stored blocks.
        n_bytes: bytes of all blocks.
    """

    files: int
    blocks: int
    n_bytes: int


class BlockCache:
    """A folder of blocks.

    Args:
        limits: folder and size.
    """

    def __init__(self, limits: CacheLimits) -> None:
        self.limits = limits
        self.counts = CacheCounts()
        self._lock = threading.Lock()
        self._uncounted = limits.max_bytes  # the first block counts what is there

    def has(self, file: str, number: int) -> bool:
        """Tell whether a block is there, without reading it."""
        return self._place(file, number).is_file()

    def get(self, file: str, number: int, n_bytes: int) -> bytes | None:
        """Read a block of a known length; None where it is not there, or not whole."""
        place = self._place(file, number)
        try:
            stored = place.read_bytes()
            os.utime(place)
        except OSError:  # not there, or just evicted
            return None
        content, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
        if len(content) != n_bytes or checksum != _checksum(content):
            self._count(damaged=1)
            with contextlib.suppress(OSError):  # another process was faster, or this user may only read
                place.unlink()
            return None
        self._count(hits=1)
        return content

    def put(self, file: str, number: int, content: memoryview) -> None:
        """Store a block.

        Raises:
            CacheError: the folder cannot be written, or its disk is full.
        """
        place = self._place(file, number)
        for left in reversed(range(_PUT_TRIES)):
            try:
                _write(place, content)
                break
            except OSError as error:
                # another process may remove the folder, empty as it is, between two of our steps
                if not (isinstance(error, FileNotFoundError) and left):
                    raise CacheError(str(self.limits.root), str(error)) from error
        self._count(stored=1)
        self._make_room(len(content))

    def size(self) -> CacheSize:
        """Count what is stored."""
        blocks = list(self._list())
        return CacheSize(len({path.parent for path, _ in blocks}), len(blocks), sum(stat.st_size for _, stat in blocks))

    def clear(self) -> None:
        """Remove all blocks."""
        for path, _ in self._list():
            with contextlib.suppress(OSError):  # another process was faster
                path.unlink()
        self._remove_empty_folders()

    def _place(self, file: str, number: int) -> Path:
        return self.limits.root / file / str(number)

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, n in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + n)

    def _make_room(self, n_bytes: int) -> None:
        """Evict once enough was written since the folder was counted last."""
        with self._lock:
            self._uncounted += n_bytes
            if self._uncounted < self.limits.max_bytes * _RECOUNT_SHARE:
                return
            self._uncounted = 0
        self._evict()

    def _evict(self) -> None:
        blocks = sorted(self._list(), key=lambda item: item[1].st_mtime_ns)
        total = sum(stat.st_size for _, stat in blocks)
        if total <= self.limits.max_bytes:
            return
        for path, stat in blocks:
            if total <= self.limits.max_bytes * _LOW_WATER:
                break
            with contextlib.suppress(OSError):  # another process was faster
                path.unlink()
                self._count(evicted=1)
            total -= stat.st_size
        self._remove_empty_folders()

    def _remove_empty_folders(self) -> None:
        for folder in self._folders():
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()

    def _folders(self) -> list[Path]:
        """List the folders of cached files: a user may have set the root to a folder with files of their own."""
        if not self.limits.root.is_dir():
            return []
        return [path for path in self.limits.root.iterdir() if _FOLDER.fullmatch(path.name) and path.is_dir()]

    def _list(self) -> Iterator[tuple[Path, os.stat_result]]:
        for folder in self._folders():
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        if _BLOCK.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                            yield Path(entry.path), entry.stat()


@lru_cache(maxsize=8)
def open_cache(limits: CacheLimits) -> BlockCache:
    """Give the cache of a folder; one per process, with its counts."""
    return BlockCache(limits)


def name_file(path: RemotePath) -> str:
    """Give the name under which a version of a file is cached."""
    version = path.version
    assert version is not None  # only versions are cached
    return hashlib.sha256(f"{path.url}\n{version.etag}\n{version.size_bytes}".encode()).hexdigest()[:32]


def _write(place: Path, content: memoryview) -> None:
    """Write a block beside its place and rename it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=_PART_PREFIX, dir=place.parent)
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(content)
            target.write(_checksum(content))
        os.replace(part, place)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _checksum(content: bytes | memoryview) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM_BYTES, "little")
