"""Memory shared by a loader process and the encoding process, so that views are not copied."""

import contextlib
import mmap
import weakref

import numpy as np

from embedshift.arrays import Pixels


class ViewSlots:
    """Slots for the views of some images, in memory that forked processes share."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._shape, self._bytes = shape, int(np.prod(shape))
        self._memory: mmap.mmap | None = None
        # If the system does not provide it, views come through the pipe.
        with contextlib.suppress(OSError, ValueError, OverflowError):
            # Anonymous, since it is not limited by the size of /dev/shm, and is gone with the processes.
            self._memory = mmap.mmap(-1, count * self._bytes)
        self._free = [*range(count)] if self._memory else []

    def take(self) -> int | None:
        """Returns a free slot for a loader to write to; None if there is none."""
        return self._free.pop() if self._free else None  # the last that was used, which may lie in a cache

    def release(self, slot: int | None) -> None:
        if slot is not None:
            self._free.append(slot)

    def views(self, slot: int) -> Pixels:
        assert self._memory is not None, "there is no slot"
        return np.frombuffer(self._memory, np.uint8, self._bytes, slot * self._bytes).reshape(self._shape)

    def lend(self, slot: int) -> Pixels:
        """Returns the slot as an array; it is free again when nobody holds the array or a part of it."""
        views = self.views(slot)
        # Parts of an array hold the flat array around the memory, not the array from which they were cut.
        weakref.finalize(views.base, self._free.append, slot).atexit = False
        return views
