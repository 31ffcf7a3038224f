"""What a materialisation shows in the UI: rows, bytes, seconds, a preview picture.

Belongs here: metadata of results. Does not: drawing (`transforms/previews.py`).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from warehouse.writer import WrittenPartition


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Give the seconds so far."""
        return time.perf_counter() - self._start


def describe_written(
    written: WrittenPartition,
    watch: Stopwatch,
    *,
    preview_png: bytes | None = None,
    extra: Mapping[str, Any] | None = None,
    asset_key: str | None = None,
) -> dg.MaterializeResult:
    """Make the result of a partition that was written.

    Args:
        written: what was written.
        watch: started when the body began.
        preview_png: picture of the rows, or None.
        extra: more metadata, by name.
        asset_key: the asset, where a body writes several.
    """
    metadata: dict[str, Any] = {
        "dagster/row_count": written.rows,
        "bytes": written.bytes,
        "seconds": dg.MetadataValue.float(round(watch.seconds(), 3)),
        "path": dg.MetadataValue.path(str(written.path)),
        **(extra or {}),
    }
    if preview_png is not None:
        encoded = base64.b64encode(preview_png).decode()
        metadata["preview"] = dg.MetadataValue.md(f"![preview](data:image/png;base64,{encoded})")
    return dg.MaterializeResult(asset_key=asset_key, metadata=metadata)
