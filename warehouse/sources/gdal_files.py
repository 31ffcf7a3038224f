"""Remote files as GDAL opens them: through rasterio's `opener`.

Belongs here: the bridge from GDAL's reads to `RemoteFile`, and the errors that GDAL swallows. Does not: rasters
(`rasters.py`).

So GDAL's reads have the retries, the version and the cache of all others. GDAL calls from C, where no exception may
pass: the bridge keeps it and gives no bytes. What GDAL makes of that is no answer, not even where it reports nothing:
block tables that it could not read are to it a raster without blocks, nodata all over. So the kept error is raised
before a block is handed out (`raise_failure`), and at the latest when the file is closed (`GdalOpener.tell_failure`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from weakref import WeakKeyDictionary

from rasterio.windows import Window

from warehouse.file_paths import RemotePath
from warehouse.objects.remote_file import RemoteFile


class GdalOpener:
    """Opens one remote file, by its name, and nothing beside it.

    Args:
        path: bound to a version.
    """

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self.failure: BaseException | None = None

    def __call__(self, name: str, mode: str = "rb") -> RemoteFile:
        """Open the file; GDAL asks for side-cars too, of which there are none."""
        if name != self.path.name or mode not in ("r", "rb"):
            raise FileNotFoundError(name)
        try:
            return _GdalFile(self)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    @contextmanager
    def tell_failure(self) -> Iterator[None]:
        """Raise at the end of the block what a read met, as the cause of whatever GDAL made of it."""
        try:
            yield
        except Exception as error:
            if self.failure is not None and error is not self.failure:
                raise self.failure from error
            raise
        if self.failure is not None:
            raise self.failure


class _GdalFile(RemoteFile):
    """A remote file that gives no bytes where others raise, and none after that."""

    def __init__(self, opener: GdalOpener) -> None:
        super().__init__(opener.path)
        self._opener = opener

    def read(self, size: int | None = -1) -> bytes:
        if self._opener.failure is not None:  # GDAL asks on, each time through all tries
            return b""
        try:
            return super().read(size)
        except BaseException as error:  # Ctrl-C too: whatever C gets instead is lost or becomes a SystemError
            self._opener.failure = error
            return b""


#: The openers of open datasets: readers are given the dataset alone.
_openers: WeakKeyDictionary[Any, GdalOpener] = WeakKeyDictionary()


def bind_opener(dataset: Any, opener: GdalOpener) -> None:
    """Remember through what a dataset is read."""
    _openers[dataset] = opener


def raise_failure(dataset: Any) -> None:
    """Raise what a read of a remote dataset met; nothing for local ones.

    Such a dataset must not be read on: libtiff aborts the process over directories that it holds in part.
    """
    opener = _openers.get(dataset)
    if opener is not None and opener.failure is not None:
        raise opener.failure


def read_block_item(dataset: Any, item: Literal["OFFSET", "SIZE"], band: int, row: int, col: int) -> int:
    """Read an entry of the block tables of a TIFF.

    Args:
        dataset: the open raster.
        item: first byte, or number of bytes.
        band: from 1 on.
        row: of the block.
        col: of the block.

    Returns:
        0 for a block that is not stored, and where the driver does not say.

    Raises:
        BaseException: what the read met, see `raise_failure`.
    """
    value = dataset.get_tag_item(f"BLOCK_{item}_{col}_{row}", "TIFF", bidx=band)
    raise_failure(dataset)  # tables that did not come look like blocks that are not stored
    return int(value or 0)


def load_tables(dataset: Any, window: Window) -> None:
    """Read what GDAL will need to know of a window of a remote dataset, step by step; nothing for local ones.

    Left to itself GDAL reads directories and tables in the middle of a read, and goes on with what did not come.

    Raises:
        BaseException: what a read met, see `raise_failure`.
    """
    if dataset not in _openers:
        return
    dataset.overviews(1)  # reads all directories of the file
    raise_failure(dataset)
    for band, (height, width) in enumerate(dataset.block_shapes, start=1):
        for row in range(window.row_off // height, (window.row_off + window.height - 1) // height + 1):
            for col in range(window.col_off // width, (window.col_off + window.width - 1) // width + 1):
                read_block_item(dataset, "OFFSET", band, row, col)
                read_block_item(dataset, "SIZE", band, row, col)
