"""Type aliases for the arrays that the stages exchange; and arrays of vectors that may be larger than memory."""

import math
import mmap
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # RGB, [H, W, 3] or [..., S, S, 3]
Floats = NDArray[np.float32]  # outputs of encoders
Values = NDArray[np.float64]  # values of metrics and tables
GroupNumbers = NDArray[np.intp]  # the number of the group of each image
# Images at once, and bytes of vectors up to which they are kept in memory.
ROWS, IN_MEMORY = 8_192, 32 * 2**20


def allocate(shape: tuple[int, ...], folder: Path | None) -> Floats:
    """Returns memory for vectors, or an unnamed file, which the system frees with the last array on it."""
    if folder is None or 4 * math.prod(shape) <= IN_MEMORY:
        return np.empty(shape, np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


def release_memory(vectors: Floats, count: int) -> None:
    """Releases the first vectors of a memory-mapped file from memory; they are read again on the next access."""
    mapped = getattr(vectors, "_mmap", None)
    if mapped is None or not hasattr(mmap, "MADV_DONTNEED"):
        return
    pages = min(count, len(vectors)) * vectors.strides[0] // mmap.PAGESIZE
    if pages:
        mapped.madvise(mmap.MADV_DONTNEED, 0, pages * mmap.PAGESIZE)


def mapped(
    vectors: Floats,
    function: Callable[[Floats], Floats],
    folder: Path,
    *,
    rows: NDArray[np.int64] | None = None,
    step: int = ROWS,
) -> Floats:
    """Returns vectors, all or some, through a function; those of many images are in a file, as the given ones."""
    rows = np.arange(len(vectors)) if rows is None else rows
    made = allocate((len(rows), *vectors.shape[1:]), folder)
    for start in range(0, len(rows), step):
        part = vectors[rows[start : start + step]]
        made[start : start + step] = function(part.reshape(-1, part.shape[-1])).reshape(part.shape)
        for array in (made, vectors):
            release_memory(array, len(array))
    return made
