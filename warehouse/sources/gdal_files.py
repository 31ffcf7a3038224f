"""Remote files as GDAL opens them: through rasterio's `opener`.

Belongs here: the bridge from GDAL's reads to `RemoteFile`, and the errors that GDAL swallows. Does not: rasters
(`rasters.py`).

So GDAL's reads have the retries, the version and the cache of all others. GDAL calls from C, where no exception may
pass: the bridge keeps it, gives no bytes, and GDAL reports a damaged file; `raise_failure` then says what happened.
"""

from __future__ import annotations

from transforms.errors import IsthmusError
from warehouse.source_paths import RemotePath
from warehouse.sources.remote_file import RemoteFile


class GdalOpener:
    """Opens one remote file, by its name, and nothing beside it.

    Args:
        path: bound to a version.
    """

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self._failure: IsthmusError | None = None

    def __call__(self, name: str, mode: str = "rb") -> RemoteFile:
        """Open the file; GDAL asks for side-cars too, of which there are none."""
        if name != self.path.name or mode not in ("r", "rb"):
            raise FileNotFoundError(name)
        return _GdalFile(self)

    def keep_failure(self, error: IsthmusError) -> None:
        """Remember the first error of a read."""
        self._failure = self._failure or error

    def raise_failure(self, error: BaseException) -> None:
        """Raise the error that a read met, as the cause of GDAL's."""
        if self._failure is not None:
            raise self._failure from error


class _GdalFile(RemoteFile):
    """A remote file that gives no bytes where others raise."""

    def __init__(self, opener: GdalOpener) -> None:
        super().__init__(opener.path)
        self._opener = opener

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except IsthmusError as error:
            self._opener.keep_failure(error)
            return b""
