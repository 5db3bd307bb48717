"""The corruption glass_blur: neighbouring pixels are exchanged between two blurs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.changes import Sides, Tones, shorter, sides, size_of
from embedshift.augmentations.corruptions.standard import (
    SIDE,
    add,
    at,
    gaussian_blurred,
    scale_of,
    to_pixels,
)

Numbers = NDArray[np.int64]


def glass_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Frosted glass: a Gaussian, neighbours mixed at random, the same Gaussian again."""
    of = size_of(image)
    sigma = _published(severity)[0] * shorter(of) / SIDE
    across, down = _source_pixels(of, severity, rng)
    return to_pixels(gaussian_blurred(to_pixels(gaussian_blurred(image, sigma))[down, across], sigma))


def glass_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the mean of the places that the second Gaussian combines at each pixel."""
    sigma = _published(severity)[0] * shorter(of) / SIDE
    return gaussian_blurred(np.moveaxis(_source_pixels(of, severity, rng), 0, 2), sigma)


def _source_pixels(of: Sides, severity: float, rng: np.random.Generator) -> Numbers:
    """Returns the pixel from which each pixel takes its colour, x before y: `[2, H, W]`."""
    _, reach, rounds = _published(severity)
    span = SIDE - 2 * reach
    source = shown_pixels(SIDE, reach, [rng.integers(-reach, reach, (span, span, 2)) for _ in range(rounds)])
    moved = np.stack([source % SIDE, source // SIDE]).reshape(2, SIDE, SIDE) - np.mgrid[:SIDE, :SIDE][::-1]
    height, width = sides(of)
    row, column = ((2 * np.arange(length) + 1) * SIDE // (2 * length) for length in (height, width))
    near = np.rint(moved[:, row[:, None], column] * scale_of(of)).astype(np.int64)
    most = np.array([width - 1, height - 1])[:, None, None]
    return np.asarray(np.clip(near + np.mgrid[:height, :width][::-1], 0, most))


def shown_pixels(side: int, reach: int, rounds: Sequence[Numbers]) -> Numbers:
    """Returns which pixel each pixel shows after some rounds of copying a neighbour's colour."""
    count = side * side
    line = np.arange(side - reach, reach, -1)
    position = line[:, None] * side + line
    shown = numbers = np.arange(count)
    has_turn = np.zeros(count, bool)
    has_turn[position] = True
    for steps in rounds:
        neighbour = position + steps[..., 1] * side + steps[..., 0]
        # A pixel's number means its colour after the round, the number + count its colour before.
        changed = has_turn[neighbour] & (neighbour > position)
        link = np.concatenate([numbers, numbers]) + count
        link[position] = np.where(changed, neighbour, neighbour + count)
        while (link[:count] < count).any():
            link = link[link]
        shown = shown[link[:count] - count]
    return shown


def _published(severity: float) -> tuple[float, int, int]:
    """Returns sigma, reach and number of rounds."""
    return at(severity, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


add("glass_blur", Tones(glass_blur, glass_source))
