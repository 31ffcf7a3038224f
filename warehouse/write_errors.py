"""Why a file could not be written, in words for a user.

Belongs here: what a full or a read-only disk says. Does not: writing (`writer.py`), how much room a write needs
(`store.py`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.errors import DiskFullError, NotWritableError
from warehouse.file_paths import FilePath

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@contextmanager
def write_errors(what: str, path: FilePath) -> Iterator[None]:
    """Turn what the system says of a full or read-only disk into an error that says what to do.

    Args:
        what: table or setting that the file belongs to.
        path: the file or folder to be written.

    Raises:
        DiskFullError: no room, no quota, or a file larger than allowed.
        NotWritableError: no permission, or a file system that is mounted read-only.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        place = str(path) if isinstance(path, Path) else f"{path.scratch} (for {path})"
        if error.errno in _FULL:
            raise DiskFullError(what, place, reason) from error
        if error.errno in _REFUSED:
            raise NotWritableError(what, place, reason) from error
        raise
