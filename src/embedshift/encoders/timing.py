"""What the choice of a precision needs: random images, and the seconds of a call."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from embedshift.arrays import Pixels

T = TypeVar("T")

# The least speed-up that counts; noise does not reverse it.
FASTER = 1.03


def noise(count: int, size: int) -> Pixels:
    """Returns random images uint8 `[count, size, size, 3]`, always the same."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def patterns(count: int, size: int) -> Pixels:
    """Returns images of random squares, large and small, `[count, size, size, 3]`: closer to photographs than noise."""
    rng = np.random.default_rng(1)
    images = np.zeros((count, size, size, 3))
    for parts, weight in ((4, 0.5), (16, 0.3), (size, 0.2)):
        side = -(-size // parts)
        squares = rng.uniform(0, 255, (count, parts, parts, 3))
        images += weight * squares.repeat(side, axis=1).repeat(side, axis=2)[:, :size, :size]
    return images.astype(np.uint8)


def timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result
