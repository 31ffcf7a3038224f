"""Which files a label source has, and what identifies their bytes.

Belongs here: names and versions. Does not: reading labels (`labels/`), when they are looked at (`store.py`).
"""

from __future__ import annotations

import glob
from pathlib import Path

from warehouse.file_access import stat_file
from warehouse.label_settings import LabelSettings

#: A shapefile is several files of one stem; classes are in another one than shapes.
_SHAPEFILE = ".shp"


def list_label_versions(label: LabelSettings) -> list[tuple[str, str]]:
    """List (name, version) of the files of a source; where they lie does not matter.

    Args:
        label: its settings.
    """
    paths = [str(path) for path in (label.path, label.lists) if path is not None]
    found = {Path(match) for path in paths for match in glob.glob(path, recursive=True)}
    parts = {part for path in found if path.suffix.lower() == _SHAPEFILE for part in path.parent.glob(f"{path.stem}.*")}
    return [(path.name, _version(path)) for path in sorted(found | parts)]


def _version(path: Path) -> str:
    """Give what changes when a file or folder does."""
    facts = stat_file(path)
    return facts.etag if facts is not None else str(path.stat().st_mtime_ns)
