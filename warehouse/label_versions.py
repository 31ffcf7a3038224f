"""Which files a label source has, and what identifies their bytes.

Belongs here: names and versions. Does not: reading labels (`labels/`), when they are looked at (`store.py`).
"""

from __future__ import annotations

import glob
from pathlib import Path

from warehouse.file_access import stat_file
from warehouse.label_settings import LabelSettings
from warehouse.sources.bigearthnet_files import identify_labels

#: A shapefile is several files of one stem; classes are in another one than shapes.
_SHAPEFILE = ".shp"


def list_label_versions(label: LabelSettings) -> list[tuple[str, str]]:
    """List (name, version) of the files of a source; where they lie does not matter.

    A folder of patches is one entry, whose version follows all files that its labels come from.

    Args:
        label: its settings.
    """
    if label.path is None:
        return []
    if label.kind == "bigearthnet" and label.path.is_dir():
        return [(label.path.name, identify_labels(label.path, label.lists))]
    found = {Path(match) for match in glob.glob(str(label.path), recursive=True)}
    parts = {part for path in found if path.suffix.lower() == _SHAPEFILE for part in path.parent.glob(f"{path.stem}.*")}
    looks = ((path.name, stat_file(path)) for path in sorted(found | parts))
    return [(name, facts.etag) for name, facts in looks if facts is not None]
