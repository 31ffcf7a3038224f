"""Which files of BigEarthNet v1 hold labels, and what identifies their bytes.

Belongs here: names and looks; no file is opened, and nothing heavy is imported: every run asks. Does not: what is in
the files (`bigearthnet.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from warehouse.errors import SourceFormatError

#: Of a patch, after its name.
METADATA = "_labels_metadata.json"
#: Published lists of patch names, one a line.
SPLIT_FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
SNOW_FILE, CLOUD_FILE = "patches_with_seasonal_snow.csv", "patches_with_cloud_and_shadow.csv"


def identify_labels(root: Path, lists: Path | None = None) -> str:
    """Give what changes when a label of patch folders (v1) does; no file is opened.

    It is made of name, size and time of every metadata file and of the published lists, one question to the file system
    a patch: the time of a folder says nothing of a file in it that is written anew. As with all files, one that is
    changed to the same size and then given its old time goes unseen. Bands do not count: labels are not read from them.

    Args:
        root: the folder of the patch folders.
        lists: folder of the published lists; None = the patches' own.

    Returns:
        The number of patches and a hash.
    """
    metadata = sorted(_spell(os.path.basename(path), stat) for path, stat in look_at_metadata(root))
    paths = [(lists or root) / file for file in (*SPLIT_FILES.values(), SNOW_FILE, CLOUD_FILE)]
    published = [_spell(path.name, path.stat()) for path in paths if path.is_file()]
    digest = hashlib.sha256("\n".join([*metadata, *published]).encode())
    return f"{len(metadata):x}-{digest.hexdigest()[:16]}"


def look_at_metadata(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Give the metadata file of each patch folder, and what the file system knows of it.

    A folder is listed only where it has no file of its own name: listing half a million takes minutes.

    Raises:
        SourceFormatError: this user may not read a folder; a patch may be in it.
    """
    with os.scandir(root) as folders:
        for folder in folders:
            path = os.path.join(folder.path, folder.name + METADATA)
            try:
                yield path, os.stat(path)
            except NotADirectoryError:
                continue
            except PermissionError as error:
                raise SourceFormatError(
                    folder.path, "rights", "a folder that this user may not read", "readable folders",
                    "Give this user the right to read it, or move it out of the folder of the patches.",
                ) from error  # fmt: skip
            except FileNotFoundError:
                yield from ((str(other), other.stat()) for other in Path(folder.path).glob(f"*{METADATA}"))


def _spell(name: str, stat: os.stat_result) -> str:
    return f"{name} {stat.st_size:x}-{stat.st_mtime_ns:x}"
