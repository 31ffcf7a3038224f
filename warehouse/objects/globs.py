"""Glob patterns below URLs, as `Path.glob` understands them below folders.

Belongs here: which listed keys a pattern matches. Does not: the listing (`objects/client.py`).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from warehouse.file_paths import FileFacts, RemotePath
from warehouse.objects import fetch_loop
from warehouse.objects.client import open_client

_WILD = re.compile(r"[*?\[]")


def list_matches(root: RemotePath, pattern: str) -> dict[str, FileFacts]:
    """List the files below a root that match a glob pattern, by key relative to the root, with size and ETag.

    Only what lies below the part of the pattern before its first wildcard is listed.

    Args:
        root: a folder.
        pattern: `*`, `?` and `[...]` within a name, `**` for any number of folders.

    Raises:
        ListingRefusedError, SourceUnavailableError: see `ObjectClient.list_files`.
    """
    parts = PurePosixPath(pattern).parts
    n_plain = next((i for i, part in enumerate(parts[:-1]) if _WILD.search(part)), len(parts) - 1)
    folder = "/".join(parts[:n_plain])
    place = root / folder
    found = fetch_loop.wait(open_client(place).list_files(place.key))
    below = {f"{folder}/{key}" if folder else key: facts for key, facts in found.items()}
    return {key: facts for key, facts in below.items() if matches(key, pattern)}


def matches(key: str, pattern: str) -> bool:
    """Tell whether a relative key matches a glob pattern."""
    return _matches(key.split("/"), PurePosixPath(pattern).parts)


def _matches(names: Sequence[str], parts: Sequence[str]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        return any(_matches(names[i:], parts[1:]) for i in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], parts[0]) and _matches(names[1:], parts[1:])
