"""Memory of blocks, used again once a block is let go.

Belongs here: arrays over recycled memory. Does not: what is read into them (`rasters.py`, `zstd_tiles.py`).

The system clears each fresh page before it hands it out, and takes it back at the end: for a block of 64 MB that
costs a seventh of its decoding.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt


class BlockMemory:
    """Gives arrays; the memory of one goes to the next of its size when neither it nor any view of it is left.

    Arrays outlive this object. At most as many blocks are held as were alive at one time.
    """

    def __init__(self) -> None:
        self._free: deque[mmap.mmap] = deque()

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Give an array with undefined values."""
        n_bytes = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        memory = self._take(n_bytes)
        # views of it refer to `owner`, which owns no data itself: it dies with the last of them
        owner = np.frombuffer(memory, np.uint8)
        weakref.finalize(owner, self._free.append, memory)
        return owner[: math.prod(shape) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def _take(self, n_bytes: int) -> mmap.mmap:
        while self._free:
            memory = self._free.popleft()
            if len(memory) == n_bytes:
                return memory
        memory = mmap.mmap(-1, n_bytes)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        return memory
