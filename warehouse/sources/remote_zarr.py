"""The files of a Zarr store behind a URL, as `zarr` asks for them: ranges, retries, one version of each, a cache.

Belongs here: the store that `zarr` reads through. Does not: requests and blocks (`objects/`), what
the store holds (`mosaic_store.py`, which imports this module only for a URL: `zarr` is an extra).
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NoReturn

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from warehouse.errors import SourceForbiddenError
from warehouse.file_access import stat_file
from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects.client import ByteSpan
from warehouse.objects.remote_file import RemoteFile


class RemoteZarrStore(Store):
    """A Zarr store behind a URL, for reading.

    A file is bound to the version that the index saw, or else to the first one that was met: a store that is written
    while it is read is an error, not a mixture. A file that is not there stays so.

    Args:
        root: folder of the store.
        versions: by path below the root, what the index saw.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, root: RemotePath, versions: Mapping[str, FileFacts]) -> None:
        super().__init__(read_only=True)
        self.root = root
        self._paths: dict[str, RemotePath | None] = {key: (root / key).at(facts) for key, facts in versions.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteZarrStore) and self.root == other.root

    def __hash__(self) -> int:
        return hash(self.root)

    def __str__(self) -> str:
        return str(self.root)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a file or a part of it; None where there is none."""
        return await asyncio.to_thread(self._get, key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> builtins.list[Buffer | None]:
        """Read several parts, side by side."""
        return builtins.list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Tell whether there is a file."""
        return await asyncio.to_thread(self._find, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        self._refuse("write")

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        self._refuse("delete")

    def list(self) -> AsyncIterator[str]:
        """Refuse to list: a mosaic has more files than anybody waits for."""
        self._refuse("list")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        self._refuse("list")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        self._refuse("list")

    def _get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None) -> Buffer | None:
        path = self._find(key)
        if path is None:
            return None
        file = RemoteFile(path)
        return prototype.buffer.from_bytes(b"".join(file.read_spans([_span(byte_range, file.size_bytes)])))

    def _find(self, key: str) -> RemotePath | None:
        """Give the path of a file, bound to its version."""
        if key not in self._paths:
            facts = self._ask(key)
            self._paths[key] = None if facts is None else (self.root / key).at(facts)
        return self._paths[key]

    def _ask(self, key: str) -> FileFacts | None:
        """Ask for a file that the index does not list.

        A bucket without a listing answers 403 for what is not there; so for chunks it is taken, once another file of
        the store was there.
        """
        try:
            return stat_file(self.root / key)
        except SourceForbiddenError:
            if not any(self._paths.values()):
                raise
            return None

    def _refuse(self, verb: str) -> NoReturn:
        raise NotImplementedError(f"{self.root}: found a request to {verb}, expected reading alone")


def _span(byte_range: ByteRequest | None, size: int) -> ByteSpan:
    """Give the bytes that a request of `zarr` means, within the file."""
    if byte_range is None:
        return ByteSpan(0, size)
    if isinstance(byte_range, RangeByteRequest):
        return ByteSpan(min(byte_range.start, size), min(byte_range.end, size))
    if isinstance(byte_range, OffsetByteRequest):
        return ByteSpan(min(byte_range.offset, size), size)
    assert isinstance(byte_range, SuffixByteRequest)
    return ByteSpan(max(0, size - byte_range.suffix), size)
