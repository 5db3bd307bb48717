"""Glass blur: neighbours change places between two blurs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.corruptions.standard import SIDE, Mixed, add, at, smoothed, to_pixels

Numbers = NDArray[np.int64]


def glass_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """As through frosted glass: a Gaussian, neighbours mixed by chance, the same Gaussian."""
    side = len(image)
    sigma = _published(severity)[0] * side / SIDE
    across, down = _taken(side, severity, rng)
    return to_pixels(smoothed(to_pixels(smoothed(image, sigma))[down, across], sigma))


def glass_source(side: int, severity: float, rng: np.random.Generator) -> Floats:
    """The mean of the places that the second Gaussian brings together."""
    sigma = _published(severity)[0] * side / SIDE
    return smoothed(np.moveaxis(_taken(side, severity, rng), 0, 2), sigma)


def _taken(side: int, severity: float, rng: np.random.Generator) -> Numbers:
    """The pixel that each pixel takes its colour from, x before y: `[2, S, S]`.

    It is drawn at 224 x 224, so that a view twice as large moves squares of 2 x 2 pixels.
    """
    _, reach, rounds = _published(severity)
    span = SIDE - 2 * reach
    taken = mixed(SIDE, reach, [rng.integers(-reach, reach, (span, span, 2)) for _ in range(rounds)])
    moved = np.stack([taken % SIDE, taken // SIDE]).reshape(2, SIDE, SIDE) - np.mgrid[:SIDE, :SIDE][::-1]
    pixel = np.arange(side)
    cell = (2 * pixel + 1) * SIDE // (2 * side)
    near = np.rint(moved[:, cell[:, None], cell] * (side / SIDE)).astype(np.int64)
    return np.asarray(np.clip(near + np.stack(np.meshgrid(pixel, pixel)), 0, side - 1))


def mixed(side: int, reach: int, rounds: Sequence[Numbers]) -> Numbers:
    """Which pixel each pixel shows after some rounds of taking a neighbour's colour.

    A round is a loop over the pixels, from the last row to the first and from right to left, without an edge as wide as
    the reach: each takes the colour that its neighbour has at that time. (The published code means to swap them, but
    copies.) The loop is replaced by links: a pixel's colour is that of a neighbour that had its turn, whose colour is
    that of a neighbour, and so on, until one whose colour is of the round before. All chains are followed at once, two
    times as far at each step.

    Args:
        side: Of the image.
        reach: Largest distance of a neighbour, in pixels.
        rounds: Of each the neighbours, x before y, as distances: `[side - 2 reach, side - 2 reach, 2]` in the order of
            the loop.

    Returns:
        Numbers of pixels, row by row, `[side * side]`: exactly those of the loop.
    """
    count = side * side
    line = np.arange(side - reach, reach, -1)
    place = line[:, None] * side + line
    shown = own = np.arange(count)
    has_turn = np.zeros(count, bool)
    has_turn[place] = True
    for steps in rounds:
        neighbour = place + steps[..., 1] * side + steps[..., 0]
        # A pixel's number stands for its colour after the round, the number + count for its colour before.
        changed = has_turn[neighbour] & (neighbour > place)
        link = np.concatenate([own, own]) + count
        link[place] = np.where(changed, neighbour, neighbour + count)
        while (link[:count] < count).any():
            link = link[link]
        shown = shown[link[:count] - count]
    return shown


def _published(severity: float) -> tuple[float, int, int]:
    """Sigma, reach and rounds."""
    return at(severity, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


add("glass_blur", Mixed(glass_blur, glass_source))
