"""Memory shared by a loader process and the encoding process, so that views are not copied."""

import contextlib
import mmap
import weakref

import numpy as np

from embedshift.arrays import Pixels


class Rooms:
    """Places for the views of some images, in memory that forked processes share."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._shape, self._bytes = shape, int(np.prod(shape))
        self._memory: mmap.mmap | None = None
        # If the system does not provide it, views come through the pipe.
        with contextlib.suppress(OSError, ValueError, OverflowError):
            # Anonymous, since it is not limited by the size of /dev/shm, and is gone with the processes.
            self._memory = mmap.mmap(-1, count * self._bytes)
        self._free = [*range(count)] if self._memory else []

    def take(self) -> int | None:
        """Returns a free place for a loader to write to; None if there is none."""
        return self._free.pop() if self._free else None  # the last that was used, which may lie in a cache

    def give_back(self, place: int | None) -> None:
        """Frees a place to which nothing was written."""
        if place is not None:
            self._free.append(place)

    def views(self, place: int) -> Pixels:
        """Returns the place as an array."""
        assert self._memory is not None, "there is no place"
        return np.frombuffer(self._memory, np.uint8, self._bytes, place * self._bytes).reshape(self._shape)

    def lend(self, place: int) -> Pixels:
        """Returns the place as an array; it is free again when nobody holds the array or a part of it."""
        views = self.views(place)
        # Parts of an array hold the flat array around the memory, not the array from which they were cut.
        weakref.finalize(views.base, self._free.append, place).atexit = False
        return views
