"""Tiles of an image: overlapping parts in a regular arrangement, each with the image's shape."""

from collections.abc import Iterator, Mapping

import numpy as np

from embedshift.arrays import Pixels

# Number of tiles → their rows and columns, and the part of a side that each of them shows.
TILES: Mapping[int, tuple[int, float]] = {4: (2, 0.6), 9: (3, 0.45)}

Box = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of width and height


def boxes(count: int) -> list[Box]:
    """Returns the places of 4 or 9 tiles, row by row from the top left, as fractions of width and height.

    Example:
        >>> boxes(4)[0], boxes(4)[3]
        ((0.0, 0.0, 0.6, 0.6), (0.4, 0.4, 1.0, 1.0))
    """
    side, kept = TILES[count]
    starts = np.linspace(0, 1 - kept, side)
    return [tuple(np.round([x, y, x + kept, y + kept], 9).tolist()) for y in starts for x in starts]


def tiles_of(image: Pixels, count: int) -> Iterator[Pixels]:
    """Yields the tiles of an image uint8 `[H, W, 3]`, each of a pixel at least on each side."""
    height, width = image.shape[:2]
    for left, top, right, bottom in boxes(count):
        rows, columns = (_whole(ends, length) for ends, length in (((top, bottom), height), ((left, right), width)))
        yield image[rows, columns]


def _whole(ends: tuple[float, float], length: int) -> slice:
    start = min(round(ends[0] * length), length - 1)
    return slice(start, max(start + 1, round(ends[1] * length)))
