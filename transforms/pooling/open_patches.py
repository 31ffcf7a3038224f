"""Which patches wait for windows, and which place in memory each has.

Belongs here: announced windows, windows that a patch still waits for, slots. Does not: geometry, sums.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
#: West, south, east, north of a window in metres, rounded as box edges are: the name of a window.
Edges = tuple[float, float, float, float]

_NO_SLOT = -1


class OpenPatches:
    """Bookkeeping of patches by number; see `Accumulator` for slots.

    Args:
        n: patches.
    """

    def __init__(self, n: int) -> None:
        self.n_slots = 0
        self._slot = np.full(n, _NO_SLOT, np.int64)
        self._free = np.empty(0, np.int64)
        self._awaited = np.zeros(n, np.int32)
        self._is_given = np.zeros(n, bool)
        self._announced: set[Edges] | None = None
        self._whole: list[Int64Array] = []

    def expect(self, window: Edges, patches: Int64Array) -> None:
        """Announce a window and the patches that it touches."""
        self._announced = self._announced or set()
        self._announced.add(window)
        self._awaited[patches] += 1

    @property
    def has_announcements(self) -> bool:
        """Tell whether windows were announced at all, come or not."""
        return self._announced is not None

    def is_announced(self, window: Edges) -> bool:
        """Tell whether a window is announced and has not come yet."""
        return self._announced is not None and window in self._announced

    def note(self, window: Edges, patches: Int64Array) -> None:
        """Note that a window has come; patches that wait for no other are whole."""
        if self._announced is None:
            return
        self._announced.remove(window)
        self._awaited[patches] -= 1
        self._whole.append(patches[self._awaited[patches] == 0])

    def slots_of(self, patches: Int64Array) -> Int64Array:
        """Give the slots of patches; those without one get one."""
        new = patches[self._slot[patches] == _NO_SLOT]
        if len(new) > len(self._free):
            # doubling: room is made seldom
            n_more = max(len(new) - len(self._free), self.n_slots)
            self._free = np.concatenate([np.arange(self.n_slots, self.n_slots + n_more)[::-1], self._free])
            self.n_slots += n_more
        if len(new):
            # neighbours get neighbouring slots
            self._slot[new] = self._free[-len(new) :][::-1]
            self._free = self._free[: -len(new)]
        return self._slot[patches]

    def free(self, patches: Int64Array) -> Int64Array:
        """Take the slots of patches back; give those that were in use."""
        slots = self._slot[patches]
        slots = slots[slots != _NO_SLOT]
        self._slot[patches] = _NO_SLOT
        self._free = np.concatenate([self._free, np.sort(slots)[::-1]])
        return slots

    def take_whole(self) -> Int64Array:
        """Give the patches that became whole since this was last asked."""
        whole = np.concatenate([*self._whole, np.empty(0, np.int64)])
        self._whole = []
        self._is_given[whole] = True
        return whole

    def take_all(self) -> Int64Array:
        """Give all patches that were not given yet."""
        left = np.flatnonzero(~self._is_given)
        self._whole = []
        self._is_given[left] = True
        return left
