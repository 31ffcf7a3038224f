"""Paths of a settings file that must be on a disk.

Belongs here: refusing URLs where only folders and files are read. Does not: roots of sources and warehouses, which
may be URLs (`access_settings.py`).

Without it `s3://bucket/x` would be the folder `s3:` beside the settings file, and nobody would notice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from warehouse.file_paths import SCHEMES

#: A URL, also one that `Path` has taken a slash from.
_URL = re.compile(rf".*://|(?:{'|'.join(SCHEMES)}):/", re.DOTALL)


def _refuse_url(value: Any) -> Any:
    if isinstance(value, str | Path) and _URL.match(str(value)):
        raise ValueError(
            "must be on a disk of this machine: only sources.*.root, sources.*.index and warehouse.root may be URLs"
        )
    return value


#: A file or folder on a disk.
LocalPath = Annotated[Path, BeforeValidator(_refuse_url)]
