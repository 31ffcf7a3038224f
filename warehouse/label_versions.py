"""Which files a label source has, and what identifies their bytes.

Belongs here: names and versions. Does not: reading labels (`labels/`), when they are looked at (`store.py`).
"""

from __future__ import annotations

import glob
import time
from dataclasses import dataclass
from pathlib import Path

from warehouse.file_access import stat_file
from warehouse.label_settings import LabelSettings
from warehouse.sources.bigearthnet_files import identify_labels

#: A shapefile is several files of one stem; classes are in another one than shapes.
_SHAPEFILE = ".shp"
#: Half a million patches take seconds to look at, and every partition of labels asks. A look that took longer than
#: this, seconds, is good for ten times as long: looks take a tenth of the time at most.
_WORTH_KEEPING_S = 1.0
_GOOD_FOR = 10.0


@dataclass(frozen=True)
class _Look:
    """A version of a folder, and until when it is taken for the present one (seconds of the monotonic clock)."""

    version: str
    until: float


#: Long looks of this process, by folder of the patches and of the lists.
_looks: dict[tuple[Path, Path | None], _Look] = {}


def list_label_versions(label: LabelSettings) -> list[tuple[str, str]]:
    """List (name, version) of the files of a source; where they lie does not matter.

    A folder of patches is one entry, whose version follows all files that its labels come from.

    Args:
        label: its settings.
    """
    if label.path is None:
        return []
    if label.kind == "bigearthnet" and label.path.is_dir():
        return [(label.path.name, _identify_folder(label.path, label.lists))]
    found = {Path(match) for match in glob.glob(str(label.path), recursive=True)}
    parts = {part for path in found if path.suffix.lower() == _SHAPEFILE for part in path.parent.glob(f"{path.stem}.*")}
    looks = ((path.name, stat_file(path)) for path in sorted(found | parts))
    return [(name, facts.etag) for name, facts in looks if facts is not None]


def _identify_folder(path: Path, lists: Path | None) -> str:
    """Look at a folder of patches, or remember a look of a moment ago.

    A version that is a little older than the rows is on the safe side: the next run finds another one, and redoes them.
    """
    known = _looks.get((path, lists))
    began = time.monotonic()
    if known is not None and began < known.until:
        return known.version
    version = identify_labels(path, lists)
    ended = time.monotonic()
    if ended - began > _WORTH_KEEPING_S:
        _looks[path, lists] = _Look(version, ended + _GOOD_FOR * (ended - began))
    return version
