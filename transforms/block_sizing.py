"""How large blocks and buffers are, from how far labels and features stay alike.

Belongs here: the rule that turns ranges into edge and buffer, and its reason in words. Does not: variograms
(`transforms/variogram.py`), dealing blocks (`transforms/block_folds.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from transforms.variogram import VariogramRange

#: Least edge of a block whose size is not set by hand, metres.
MIN_EDGE_M = 5000.0
#: Edge over range: the middle of a block lies a range from its border.
EDGE_PER_RANGE = 2.0

Length = float | Literal["auto"]


@dataclass(frozen=True)
class BlockSizing:
    """The edge and buffer in use, and why.

    Attributes:
        edge_m: edge of a block on EPSG:6933.
        buffer_m: least ground distance from training footprints to test ground.
        reason: where both come from, in words.
    """

    edge_m: float
    buffer_m: float
    reason: str


def size_blocks(
    edge: Length, buffer: Length, ranges: Mapping[str, VariogramRange], *, reach_m: float, may_undercut: bool = False
) -> BlockSizing:
    """Size blocks and buffer.

    Auto edge = max(5 km, 2 x the largest range); auto buffer = max(range, reach). A range that was not found within the
    area is taken as half of the extent, which it is not below: such an area has too few blocks, and that is the answer.
    Edges are never scaled down to get more blocks.

    Args:
        edge: metres, or `auto`.
        buffer: metres, or `auto`.
        ranges: what was measured, by what it was measured of ("labels of patches").
        reach_m: how far the products' models look and the upsampling operators reach.
        may_undercut: True where a buffer in metres may be below the reach, for diagnostics.

    Returns:
        The sizes.
    """
    widest = max(ranges, key=lambda name: ranges[name].range_m, default=None)
    range_m = ranges[widest].range_m if widest is not None else 0.0
    found = _describe_range(widest, ranges[widest]) if widest is not None else "no variogram could be measured"
    if edge == "auto":
        edge_m = max(MIN_EDGE_M, EDGE_PER_RANGE * range_m)
        edge_reason = f"edge {edge_m:.0f} m: max({MIN_EDGE_M:.0f} m, {EDGE_PER_RANGE:g} x range)"
    else:
        edge_m, edge_reason = edge, f"edge {edge:.0f} m: set"
    if buffer == "auto":
        buffer_m = max(range_m, reach_m)
        buffer_reason = f"buffer {buffer_m:.0f} m: max(range, reach {reach_m:.0f} m)"
    else:
        buffer_m = buffer if may_undercut else max(buffer, reach_m)
        buffer_reason = f"buffer {buffer_m:.0f} m: " + ("set" if buffer_m == buffer else "raised to the reach")
    return BlockSizing(edge_m, buffer_m, f"{edge_reason}; {buffer_reason}; {found}")


def _describe_range(name: str, found: VariogramRange) -> str:
    if not found.is_found:
        return (
            f"no range within the area: {name} still differ more and more at {found.range_m:.0f} m, half of the extent "
            "(enlarge the area, or set evaluate.block_edge_m)"
        )
    return f"largest range {found.range_m:.0f} m ({name}, {found.model})"
