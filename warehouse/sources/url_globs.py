"""Glob patterns below URLs, as `Path.glob` understands them below folders.

Belongs here: which listed keys a pattern matches. Does not: the listing (`objects/client.py`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from warehouse.file_paths import RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client

_WILD = re.compile(r"[*?\[]")


def list_matches(root: RemotePath, pattern: str) -> list[str]:
    """List the files below a root that match a glob pattern, relative to the root.

    Only what lies below the part of the pattern before its first wildcard is listed.

    Args:
        root: a folder.
        pattern: `*`, `?` and `[...]` within a name, `**` for any number of folders.

    Raises:
        ListingRefusedError, SourceUnavailableError: see `ObjectClient.list_keys`.
    """
    parts = PurePosixPath(pattern).parts
    n_plain = next((i for i, part in enumerate(parts[:-1]) if _WILD.search(part)), len(parts) - 1)
    folder = "/".join(parts[:n_plain])
    place = root / folder
    keys = fetch_loop.wait(open_client(place).list_keys(place.key))
    below = [f"{folder}/{key}" if folder else key for key in keys]
    return [key for key in below if _matches(key.split("/"), parts)]


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_matches(names[i:], parts[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
