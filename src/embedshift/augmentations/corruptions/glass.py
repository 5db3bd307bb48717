"""The corruption glass_blur: neighbouring pixels are exchanged between two blurs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.corruptions.standard import SIDE, Mixed, add, at, smoothed, to_pixels

Numbers = NDArray[np.int64]


def glass_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Frosted glass: a Gaussian, neighbours mixed at random, the same Gaussian again."""
    side = len(image)
    sigma = _published(severity)[0] * side / SIDE
    across, down = _taken(side, severity, rng)
    return to_pixels(smoothed(to_pixels(smoothed(image, sigma))[down, across], sigma))


def glass_source(side: int, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the mean of the places that the second Gaussian combines at each pixel."""
    sigma = _published(severity)[0] * side / SIDE
    return smoothed(np.moveaxis(_taken(side, severity, rng), 0, 2), sigma)


def _taken(side: int, severity: float, rng: np.random.Generator) -> Numbers:
    """Returns the pixel from which each pixel takes its colour, x before y: `[2, S, S]`."""
    _, reach, rounds = _published(severity)
    span = SIDE - 2 * reach
    taken = mixed(SIDE, reach, [rng.integers(-reach, reach, (span, span, 2)) for _ in range(rounds)])
    moved = np.stack([taken % SIDE, taken // SIDE]).reshape(2, SIDE, SIDE) - np.mgrid[:SIDE, :SIDE][::-1]
    pixel = np.arange(side)
    cell = (2 * pixel + 1) * SIDE // (2 * side)
    near = np.rint(moved[:, cell[:, None], cell] * (side / SIDE)).astype(np.int64)
    return np.asarray(np.clip(near + np.stack(np.meshgrid(pixel, pixel)), 0, side - 1))


def mixed(side: int, reach: int, rounds: Sequence[Numbers]) -> Numbers:
    """Returns which pixel each pixel shows after some rounds of copying a neighbour's colour."""
    count = side * side
    line = np.arange(side - reach, reach, -1)
    place = line[:, None] * side + line
    shown = own = np.arange(count)
    has_turn = np.zeros(count, bool)
    has_turn[place] = True
    for steps in rounds:
        neighbour = place + steps[..., 1] * side + steps[..., 0]
        # A pixel's number means its colour after the round, the number + count its colour before.
        changed = has_turn[neighbour] & (neighbour > place)
        link = np.concatenate([own, own]) + count
        link[place] = np.where(changed, neighbour, neighbour + count)
        while (link[:count] < count).any():
            link = link[link]
        shown = shown[link[:count] - count]
    return shown


def _published(severity: float) -> tuple[float, int, int]:
    """Returns sigma, reach and number of rounds."""
    return at(severity, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


add("glass_blur", Mixed(glass_blur, glass_source))
