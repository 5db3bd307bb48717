"""Blur corruptions: defocus, motion, zoom, Gaussian, and glass, which exchanges pixels between two blurs."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.changes import Sides, Tones, grid, shorter, sides, size_of
from embedshift.augmentations.corruptions import (
    SIDE,
    add,
    at,
    enlarged,
    enlargement,
    gaussian_blurred,
    motion_blurred,
    motion_kernel,
    scale_of,
    to_pixels,
)


def defocus_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Defocus: the mean over a disk with a smoothed edge."""
    radius, edge = at(severity, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    return to_pixels(cv2.filter2D(image, cv2.CV_32F, disk(radius, edge, scale_of(size_of(image)))))


def disk(radius: float, edge: float, scale: float) -> Floats:
    """Returns the kernel of a lens out of focus, float32, sum 1."""
    half = int(np.ceil(max(8, radius) * scale))
    positions = np.arange(-half, half + 1)
    full = (positions[:, None] ** 2 + positions**2 <= (radius * scale) ** 2).astype(np.float32)
    size = 2 * max(1, round((1 if radius <= 8 else 2) * scale)) + 1
    return np.asarray(cv2.GaussianBlur(full / full.sum(), (size, size), edge * scale), np.float32)


def motion_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Motion blur along a line within 45 degrees of the horizontal."""
    return to_pixels(motion_blurred(image, *_drawn_kernel(size_of(image), severity, rng)))


def motion_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the mean of the places that each pixel shows; the one-sided kernel puts them all on one side."""
    kernel, (across, down) = _drawn_kernel(of, severity, rng)
    x = (kernel.sum(axis=0, dtype=np.float64) * (np.arange(kernel.shape[1]) - across)).sum()
    y = (kernel.sum(axis=1, dtype=np.float64) * (np.arange(kernel.shape[0]) - down)).sum()
    return grid(of) + np.array([x, y], np.float32)


def _drawn_kernel(of: Sides, severity: float, rng: np.random.Generator) -> tuple[Floats, tuple[int, int]]:
    radius, sigma = at(severity, (10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    scale = scale_of(of)
    return motion_kernel(max(1, round(radius * scale)), sigma * scale, rng.uniform(-45, 45))


def zoom_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Zoom blur: the mean over the image and its enlargements."""
    total = image.astype(np.float32)
    factors = _factors(severity)
    for factor in factors:
        total += enlarged(image.astype(np.float32), factor)
    return to_pixels(total / (len(factors) + 1))


def zoom_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the mean of the places that the enlargements show at each pixel."""
    both = [
        np.array([(1, 0), *(enlargement(length, factor) for factor in _factors(severity))]).mean(axis=0)
        for length in sides(of)[::-1]
    ]
    steps, starts = np.transpose(both)
    return np.asarray(grid(of) * steps + starts, np.float32)


def _factors(severity: float) -> Values:
    end, step = at(severity, (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
    return np.arange(1, end, step)


def gaussian_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    sigma = at(severity, 1, 2, 3, 4, 6)
    return to_pixels(gaussian_blurred(image, sigma * shorter(size_of(image)) / SIDE))


add("defocus_blur", Tones(defocus_blur))
add("motion_blur", Tones(motion_blur, motion_source))
add("zoom_blur", Tones(zoom_blur, zoom_source))
add("gaussian_blur", Tones(gaussian_blur))


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
