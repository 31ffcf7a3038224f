"""Which box takes what at which row of a window: the events of a sweep.

Belongs here: events of boxes, sorted by row once a window and used for all bands. Does not: where boxes lie
(`placement.py`), the running sums that events take from (`sweep.py`).

The weighted sum of a box is linear in the running column sums (top of the window to row i) at the four rows where
its coverage changes: outer and inner top edge, inner and outer bottom edge. So a box leaves up to four *sum
events*. Extremes cannot be subtracted: rows are cut into segments, and a box takes the extremes from its first row
to the end of that segment (*backward event*), of whole segments (likewise), and from the begin of its last segment
to its last row (*forward event*).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from transforms.pooling.kernels import (
    FIRST,
    FIRST_INSIDE,
    FIRST_SHARE,
    FULL0,
    FULL1,
    HALF,
    LAST_INSIDE,
    LAST_SHARE,
    ONE,
    SHARE_BITS,
)

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

#: Rows of a segment: as many as a 320 m box has.
SEGMENT = 32
#: Columns of every event: its row, the slot of its box, and columns [COL0, COL1) of the window.
ROW, SLOT, COL0, COL1 = range(4)
#: Columns of a sum event: what running sums of whole columns, and of the one column to the left and to the right,
#: are multiplied by.
INNER, LEFT, RIGHT = 4, 5, 6
#: Column of a forward event: first row of a box that lies in one segment and is read directly; -1: running extremes.
DIRECT_ROW = 4


@dataclass(frozen=True)
class Events:
    """Events of one kind, sorted by row.

    Attributes:
        start: int64 (height + 2,), events `start[i]` to `start[i + 1]` belong to row i.
        items: int32 (n, 7), see `ROW`.
    """

    start: Int64Array
    items: Int32Array


@dataclass(frozen=True)
class SweepPlan:
    """Everything that happens in a window.

    Attributes:
        sums: before row i is added, boxes take sums.
        forward: before row i is added, boxes take extremes of the segment so far.
        backward: once row i is added, coming from the end of its segment, boxes take extremes.
        extent: rows [first, stop) and columns [first, stop) that any box touches.
    """

    sums: Events
    forward: Events
    backward: Events
    extent: tuple[int, int, int, int]


def plan_sweep(rows: Int64Array, cols: Int64Array, target: Int64Array, height: int, *, is_mirrored: bool) -> SweepPlan:
    """Sort the events of boxes by row.

    Args:
        rows: int64 (n, 8) spans along y (layout: `kernels.py`), n > 0.
        cols: int64 (n, 8) spans along x.
        target: int64 (n,), slots.
        height: rows of the window.
        is_mirrored: rows will be swept from south to north (as bottom-up files store them); spans run to the south.

    Returns:
        The plan; it serves all bands.
    """
    sums, forward, backward, extent = _list_events(rows, cols, target, height, is_mirrored)
    return SweepPlan(
        Events(*_sort_by_row(sums, height)),
        Events(*_sort_by_row(forward, height)),
        Events(*_sort_by_row(backward, height)),
        (int(extent[0]), int(extent[1]), int(extent[2]), int(extent[3])),
    )


@njit(nogil=True, cache=True)
def _edges(span: Any) -> tuple[int, int, int, int]:
    """Give where coverage changes along one axis: outer and inner first edge, inner and outer last edge."""
    inner0 = span[FIRST] + 1 if span[FIRST_SHARE] else span[FULL0]
    outer0 = span[FIRST] if span[FIRST_SHARE] else inner0
    inner1 = max(span[FULL1], inner0)
    outer1 = inner1 + 1 if span[LAST_SHARE] else inner1
    return outer0, inner0, inner1, outer1


@njit(nogil=True, cache=True)
def _inside(span: Any) -> tuple[int, int]:
    """Give the pixels [first, stop) whose centre is inside."""
    outer0, inner0, inner1, outer1 = _edges(span)
    first = outer0 if span[FIRST_SHARE] and span[FIRST_INSIDE] else inner0
    # within one pixel the border pixel is first and last
    stop = outer1 if span[LAST_SHARE] and span[LAST_INSIDE] else inner1
    return first, stop


@njit(nogil=True, cache=True)
def centre_spans(spans: Int64Array) -> Int64Array:
    """Give spans of whole pixels in place of spans with border pixels: those whose centre is inside.

    Args:
        spans: int64 (n, 8), layout: `kernels.py`.

    Returns:
        int64 (n, 8), without border pixels; may be empty.
    """
    centres = np.zeros_like(spans)
    for k in range(len(spans)):
        first, stop = _inside(spans[k])
        centres[k, FULL0] = centres[k, FIRST] = first
        centres[k, FULL1] = max(stop, first)
    return centres


@njit(nogil=True, cache=True)
def _round_share(a, b):  # type: ignore[no-untyped-def]
    """Give the share of a corner pixel in 2^-16, rounded to nearest."""
    return (a * b + HALF) >> SHARE_BITS


@njit(nogil=True, cache=True)
def _list_events(rows, cols, target, height, is_mirrored):  # type: ignore[no-untyped-def]
    """Give unsorted sum, forward and backward events (row -1: none), and the extent of all boxes."""
    n = len(target)
    extent = np.array([height, 0, 1 << 31, 0])
    n_backward = 0
    for k in range(n):
        first, stop = _inside(rows[k])
        n_backward += max(stop - first, 0) // SEGMENT + 1
    sums = np.full((4 * n, 7), -1, np.int32)
    forward = np.full((n, 7), -1, np.int32)
    backward = np.full((n_backward, 7), -1, np.int32)
    n_backward = 0
    for k in range(n):
        row0, row1, col0, col1 = _list_sums(sums[4 * k : 4 * k + 4], rows[k], cols[k], target[k], height, is_mirrored)
        extent[0], extent[1] = min(extent[0], row0), max(extent[1], row1)
        extent[2], extent[3] = min(extent[2], col0), max(extent[3], col1)
        first, stop = _inside(rows[k])
        if is_mirrored:
            first, stop = height - stop, height - first
        left, right = _inside(cols[k])
        if stop <= first or right <= left:
            continue
        n_backward += _list_extremes(forward[k], backward[n_backward:], first, stop, left, right, target[k])
    return sums, forward, backward[:n_backward], extent


@njit(nogil=True, cache=True)
def _list_sums(events, row, col, slot, height, is_mirrored):  # type: ignore[no-untyped-def]
    """Write up to four sum events of one box; give its rows and columns."""
    top, bottom, left, right = row[FIRST_SHARE], row[LAST_SHARE], col[FIRST_SHARE], col[LAST_SHARE]
    y0, y1, y2, y3 = _edges(row)
    if is_mirrored:
        top, bottom = bottom, top
        y0, y1, y2, y3 = height - y3, height - y2, height - y1, height - y0
    x0, x1, x2, x3 = _edges(col)
    at = (y0, y1, y2, y3)
    # the share of the rows above an edge less the share of those below it
    inner = (-top, top - ONE, ONE - bottom, bottom)
    tl, tr = _round_share(top, left), _round_share(top, right)
    bl, br = _round_share(bottom, left), _round_share(bottom, right)
    on_left = (-tl, tl - left, left - bl, bl)
    on_right = (-tr, tr - right, right - br, br)
    for e in range(4):
        if inner[e] or on_left[e] or on_right[e]:
            event = events[e]
            event[ROW], event[SLOT], event[COL0], event[COL1] = at[e], slot, x1, x2
            event[INNER], event[LEFT], event[RIGHT] = inner[e], on_left[e], on_right[e]
    return y0, y3, x0, x3


@njit(nogil=True, cache=True)
def _list_extremes(forward, backward, first, stop, left, right, slot):  # type: ignore[no-untyped-def]
    """Write the extreme events of one box of pixel centres; give the number of backward events."""
    segment, last_segment = first // SEGMENT, stop // SEGMENT
    n = 0
    while segment < last_segment:  # up to the end of its first segment, then whole segments
        event = backward[n]
        event[ROW], event[SLOT], event[COL0], event[COL1] = max(first, segment * SEGMENT), slot, left, right
        segment += 1
        n += 1
    if stop % SEGMENT:
        forward[ROW], forward[SLOT], forward[COL0], forward[COL1] = stop, slot, left, right
        forward[DIRECT_ROW] = first if n == 0 and first % SEGMENT else -1
    return n


@njit(nogil=True, cache=True)
def _sort_by_row(items, height):  # type: ignore[no-untyped-def]
    """Sort by counting; events of one row keep their order, so neighbours in memory are neighbours on the ground."""
    start = np.zeros(height + 2, np.int64)
    for k in range(len(items)):
        if items[k, ROW] >= 0:
            start[items[k, ROW] + 1] += 1
    start = np.cumsum(start)
    ordered = np.empty((start[-1], items.shape[1]), np.int32)
    following = start.copy()
    for k in range(len(items)):
        row = items[k, ROW]
        if row >= 0:
            ordered[following[row]] = items[k]
            following[row] += 1
    return start, ordered
