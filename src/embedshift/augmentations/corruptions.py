"""The suite `corruptions`: ImageNet-C's corruptions at five severities, written from the published parameters.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019,
arXiv 1903.12261; parameters of `make_imagenet_c.py` in their repository `hendrycks/robustness`.
"""

import functools
import hashlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray
from PIL import Image

from embedshift.arrays import Floats, Pixels, Values
from embedshift.augmentations.augmentation import Augmentation, Choice
from embedshift.augmentations.changes import Change, Sides, Tones, grid, recompressed, sampled, shorter, sides, size_of
from embedshift.augmentations.family import FAMILIES, Family, family_augmentations
from embedshift.augmentations.suite import SUITES
from embedshift.config.safe_files import read_file
from embedshift.errors import UsageError
from embedshift.registry.extras import cv2

log = logging.getLogger(__name__)

T = TypeVar("T")
Numbers = NDArray[np.int64]

# Side of the published images in pixels; published lengths refer to it.
SIDE = 224
SEVERITIES = (1, 2, 3, 4, 5)


def corruption(name: str, change: Change, **fields: Any) -> Family:
    """Makes a corruption as a family; its parameter is one of the five published severities."""
    return Family(name, "corruptions", change, "severity", 0, SEVERITIES, integer=True, published=True, **fields)


def add(name: str, change: Change, version: int = 1, **constants: Sequence[float]) -> None:
    FAMILIES.add(name, corruption(name, change, version=version, constants=constants))


def at(severity: float, *published: T) -> T:
    return published[int(severity) - 1]


def to_pixels(levels: Any) -> Pixels:
    """Converts grey levels to uint8 and drops the fraction, as the published files do."""
    return np.asarray(np.clip(levels, 0, 255).astype(np.uint8))


def scale_of(of: Sides) -> float:
    return shorter(of) / SIDE


def to_side(layer: Any, of: Sides) -> Any:
    """Stretches a layer drawn at 224 x 224 to the view's size."""
    height, width = sides(of)
    if layer.shape[:2] == (height, width):
        return layer
    interpolation = cv2.INTER_LINEAR if min(height, width) > len(layer) else cv2.INTER_AREA
    return cv2.resize(layer, (width, height), interpolation=interpolation)


def gaussian_blurred(image: Any, sigma: float) -> Floats:
    """Blurs by a Gaussian cut at four sigma, in float32, with repeated edges."""
    size = 2 * int(4 * sigma + 0.5) + 1
    blurred = cv2.GaussianBlur(np.asarray(image, np.float32), (size, size), sigma, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def enlarged(image: Any, factor: float) -> Floats:
    """Enlarges the centre of an image `[H, W]` or `[H, W, 3]`, float32, to the image's size, bilinearly."""
    height, width = image.shape[:2]
    (across, left), (down, top) = enlargement(width, factor), enlargement(height, factor)
    matrix = np.array([[across, 0, left], [0, down, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def enlargement(side: int, factor: float) -> tuple[float, float]:
    """Returns step and start of `enlarged`: source = step times target plus start."""
    middle = int(np.ceil(side / factor))
    return (middle - 1) / max(1, round(middle * factor) - 1), (side - middle) // 2


def motion_kernel(radius: int, sigma: float, angle: float) -> tuple[Floats, tuple[int, int]]:
    along = np.arange(2 * radius + 1)
    turn = np.deg2rad(angle)
    across = np.ceil(along * np.cos(turn) - 0.5).astype(int)
    down = np.ceil(along * np.sin(turn) - 0.5).astype(int)
    anchor = -int(across.min()), -int(down.min())
    kernel = np.zeros((int(np.ptp(down)) + 1, int(np.ptp(across)) + 1))
    np.add.at(kernel, (down + anchor[1], across + anchor[0]), np.exp(-(along**2) / (2 * sigma**2)))
    return (kernel / kernel.sum()).astype(np.float32), anchor


def motion_blurred(image: Any, kernel: Floats, anchor: Sequence[int]) -> Floats:
    blurred = cv2.filter2D(image, cv2.CV_32F, kernel, anchor=anchor, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)


def defocus_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Defocus: the mean over a disk with a smoothed edge."""
    radius, edge = at(severity, (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    return to_pixels(cv2.filter2D(image, cv2.CV_32F, disk(radius, edge, scale_of(size_of(image)))))


def disk(radius: float, edge: float, scale: float) -> Floats:
    half = int(np.ceil(max(8, radius) * scale))
    positions = np.arange(-half, half + 1)
    full = (positions[:, None] ** 2 + positions**2 <= (radius * scale) ** 2).astype(np.float32)
    size = 2 * max(1, round((1 if radius <= 8 else 2) * scale)) + 1
    return np.asarray(cv2.GaussianBlur(full / full.sum(), (size, size), edge * scale), np.float32)


def motion_blur(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Motion blur along a line within 45 degrees of the horizontal."""
    return to_pixels(motion_blurred(image, *_drawn_kernel(size_of(image), severity, rng)))


def motion_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    """Returns the mean source of each pixel; the one-sided kernel shifts it to one side."""
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
    """Returns the source pixel of each pixel, x before y: `[2, H, W]`."""
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
    """Returns the source of each pixel after rounds of copying a neighbour's colour."""
    count = side * side
    line = np.arange(side - reach, reach, -1)
    position = line[:, None] * side + line
    shown = numbers = np.arange(count)
    has_turn = np.zeros(count, bool)
    has_turn[position] = True
    for steps in rounds:
        neighbour = position + steps[..., 1] * side + steps[..., 0]
        # Number k is a pixel's colour after the round, k + count its colour before.
        changed = has_turn[neighbour] & (neighbour > position)
        link = np.concatenate([numbers, numbers]) + count
        link[position] = np.where(changed, neighbour, neighbour + count)
        while (link[:count] < count).any():
            link = link[link]
        shown = shown[link[:count] - count]
    return shown


def _published(severity: float) -> tuple[float, int, int]:
    return at(severity, (0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))


add("glass_blur", Tones(glass_blur, glass_source))


# The published constants c of the five severities.
GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)
SHOT = (60, 25, 12, 5, 3)
IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)
SPECKLE = (0.15, 0.2, 0.35, 0.45, 0.6)


def gaussian_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Gaussian noise, as from a sensor in the dark: x + N(0, c), x in [0, 1]."""
    c = at(severity, *GAUSSIAN)
    return to_pixels(image + np.float32(255 * c) * rng.standard_normal(image.shape, np.float32))


def shot_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Shot noise, as from counted photons: Poisson(c x) / c."""
    c = at(severity, *SHOT)
    return to_pixels(rng.poisson(image * (c / 255)) * (255 / c))


def impulse_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Salt and pepper: a fraction c of all values becomes 0 or 255 with equal probability."""
    c = at(severity, *IMPULSE)
    chance = rng.random(image.shape, np.float32)
    return np.where(chance < c / 2, np.uint8(255), np.where(chance >= 1 - c / 2, np.uint8(0), image))


def speckle_noise(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Speckle noise, which grows with brightness: x + x N(0, c)."""
    c = at(severity, *SPECKLE)
    return to_pixels(image * (1 + np.float32(c) * rng.standard_normal(image.shape, np.float32)))


add("gaussian_noise", Tones(gaussian_noise), c=GAUSSIAN)
add("shot_noise", Tones(shot_noise), c=SHOT)
add("impulse_noise", Tones(impulse_noise), c=IMPULSE)
add("speckle_noise", Tones(speckle_noise), c=SPECKLE)


# The published constants of the five severities.
CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
PIXELS = (0.6, 0.5, 0.4, 0.3, 0.25)
QUALITY = (25, 18, 15, 10, 7)


def contrast(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Lower contrast: the distance of each value from its channel's mean is multiplied by c."""
    c = np.float32(at(severity, *CONTRAST))
    means = (image.sum(axis=(0, 1)) / (image.size // 3)).astype(np.float32)
    return to_pixels((image - means) * c + means)


def pixelate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Pixelation: the means over boxes, enlarged; the number of boxes along the shorter side is always the same."""
    few = int(SIDE * at(severity, *PIXELS))
    height, width = (max(1, round(length * few / shorter(size_of(image)))) for length in size_of(image))
    small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small.resize(image.shape[1::-1], Image.Resampling.BOX))


def jpeg_compression(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """JPEG compression by Pillow; a block has 8 x 8 pixels at every view size."""
    return recompressed(image, at(severity, *QUALITY))


def saturate(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Stronger or weaker colours: the saturation s of HSV becomes c s + d."""
    c, d = at(severity, (0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))
    high = image.max(axis=2).astype(np.float32)
    missing = high[..., None] - image
    spread = missing.max(axis=2)
    saturation = spread / np.maximum(high, 1)
    after = np.clip(np.float32(c) * saturation + np.float32(d), 0, 1)
    grey = spread == 0
    missing[grey] = (0, 1, 1)
    factor = high * after / np.where(grey, 1, spread)
    return to_pixels(high[..., None] - factor[..., None] * missing)


add("contrast", Tones(contrast), c=CONTRAST)
add("pixelate", Tones(pixelate), factor=PIXELS)
add("jpeg_compression", Tones(jpeg_compression), quality=QUALITY)
add("saturate", Tones(saturate))


# The published lengths are fractions of 244, a slip for 224 that the standard keeps.
SLIP = 244


def elastic_transform(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """The published corruption in two steps: an affine map, then places moved by smooth noise; both bilinear."""
    height, width = size_of(image)
    affine, positions = _maps((height, width), severity, rng)
    turned = cv2.warpAffine(image.astype(np.float32), affine, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return to_pixels(sampled(turned, positions, cv2.BORDER_REFLECT))


def elastic_source(of: Sides, severity: float, rng: np.random.Generator) -> Floats:
    affine, positions = _maps(of, severity, rng)
    # The second step finds the first one's image mirrored beyond its edge.
    end = np.array(sides(of)[::-1], np.float32) - 0.5
    mirrored = end - np.abs(end - (np.abs(positions + 0.5) - 0.5))
    inverse = cv2.invertAffineTransform(affine)
    return np.asarray(mirrored[..., :1] * inverse[:, 0] + mirrored[..., 1:] * inverse[:, 1] + inverse[:, 2], np.float32)


def _maps(of: Sides, severity: float, rng: np.random.Generator) -> tuple[Values, Floats]:
    """Returns the affine map `[2, 3]`, and the place in the mapped image of each pixel, `[H, W, 2]`."""
    length, sigma, corner = at(
        severity, (2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)
    )
    scale = np.array(sides(of)[::-1]) / SIDE
    middle, arm = SIDE // 2, SIDE // 3
    points = np.array([[middle + arm] * 2, [middle + arm, middle - arm], [middle - arm] * 2], np.float64)
    moved = points + rng.uniform(-corner * SLIP, corner * SLIP, points.shape)
    # Centres of pixels lie half a pixel inside, at both sides.
    before, after = (((corners + 0.5) * scale - 0.5).astype(np.float32) for corners in (points, moved))
    noise = 2 * rng.random((2, SIDE, SIDE)) - 1
    wave = _wave(sigma * SLIP)
    # Lazy import: SciPy imports its parts at first use.
    smooth = scipy.fft.idctn(scipy.fft.dctn(noise, axes=(1, 2)) * (wave[:, None] * wave), axes=(1, 2)) * (
        length * SLIP * scale_of(of)
    )
    shift = np.stack([to_side(field.astype(np.float32), of) for field in smooth], axis=2)
    return np.asarray(cv2.getAffineTransform(before, after), np.float64), grid(of) + np.asarray(shift, np.float32)


@functools.cache
def _wave(sigma: float) -> Values:
    """Returns the damping of each cosine of a mirrored row by a Gaussian cut at three sigma."""
    reach = np.arange(1, int(3 * sigma + 0.5) + 1)
    weights = np.exp(-(reach**2) / (2 * sigma**2))
    cosines = np.cos(np.pi * np.outer(np.arange(SIDE), reach) / SIDE)
    return np.asarray((1 + 2 * (cosines * weights).sum(axis=1)) / (1 + 2 * weights.sum()))


add("elastic_transform", Tones(elastic_transform, elastic_source))


# Added brightness at the five severities.
LIGHT = (0.1, 0.2, 0.3, 0.4, 0.5)
WATER, MUD = (175, 238, 238), (63, 42, 20)


def snow(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Falling flakes over a whitened image."""
    kept = np.float32(at(severity, 0.8, 0.7, 0.7, 0.65, 0.55))
    falling = to_side(_falling(severity, rng), size_of(image))
    colours = image.astype(np.float32)
    light = cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY)[..., None] * np.float32(1.5) + np.float32(127.5)
    white = kept * colours + (1 - kept) * np.maximum(colours, light)
    return to_pixels(white + (falling + falling[::-1, ::-1])[..., None])


def _falling(severity: float, rng: np.random.Generator) -> Floats:
    """Returns flakes in grey levels, float32 `[224, 224]`: enlarged noise without dark values, dragged downwards."""
    mean, sd, size, least, radius, sigma = at(
        severity,
        (0.1, 0.3, 3.0, 0.5, 10, 4),
        (0.2, 0.3, 2.0, 0.5, 12, 4),
        (0.55, 0.3, 4.0, 0.9, 12, 8),
        (0.55, 0.3, 4.5, 0.85, 12, 8),
        (0.55, 0.3, 2.5, 0.85, 12, 12),
    )
    kernel, anchor = motion_kernel(radius, sigma, rng.uniform(-135, -45))
    noise = np.float32(mean) + np.float32(sd) * rng.standard_normal((SIDE, SIDE), np.float32)
    flakes = _enlarged_exactly(noise, size)
    flakes[flakes < least] = 0
    return np.asarray(np.rint(motion_blurred(to_pixels(255 * flakes), kernel, anchor)), np.float32)


def _enlarged_exactly(noise: Floats, factor: float) -> Values:
    """As `enlarged`, in float64; OpenCV 4 rounds places to 1/32 of a pixel, which shows other flakes."""
    step, start = enlargement(len(noise), factor)
    positions = start + step * np.arange(len(noise))
    before = positions.astype(int)
    after = np.minimum(before + 1, len(noise) - 1)
    part = positions - before
    rows = noise[before] * (1 - part[:, None]) + noise[after] * part[:, None]
    return np.asarray(rows[:, before] * (1 - part) + rows[:, after] * part)


def fog(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Fog over the image: (x + c plasma) m / (m + c), where m is the image's largest value."""
    density, decay = at(severity, (1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
    clouds = to_side(plasma(decay, rng)[:SIDE, :SIDE], size_of(image))
    brightest = float(image.max())
    fraction = brightest / (brightest + 255 * density)
    return to_pixels((image + np.float32(255 * density) * clouds[..., None]) * np.float32(fraction))


def plasma(decay: float, rng: np.random.Generator, side: int = 256) -> Floats:
    """Returns a seamless plasma fractal by the diamond-square algorithm: float32 `[side, side]` from 0 to 1."""
    heights = np.zeros((side, side), np.float32)
    mesh, wobble = side, np.float32(1)
    while mesh > 1:
        half = mesh // 2
        corners, centres = heights[::mesh, ::mesh], heights[half::mesh, half::mesh]

        def between(four: Floats, wobble: np.float32 = wobble) -> Floats:
            return four / 4 + wobble * (2 * rng.random(four.shape, np.float32) - 1)

        right, below = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=0)
        centres[:] = between(corners + right + below + np.roll(below, -1, axis=1))
        heights[::mesh, half::mesh] = between(corners + right + centres + np.roll(centres, 1, axis=0))
        heights[half::mesh, ::mesh] = between(corners + below + centres + np.roll(centres, 1, axis=1))
        mesh, wobble = half, wobble / np.float32(decay**2)
    heights -= heights.min()
    return np.asarray(heights / heights.max(), np.float32)


def brightness(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """More light: c is added to the value of HSV, which keeps the proportions of the colours."""
    added = 255 * at(severity, *LIGHT)
    value = np.arange(256.0)
    after = np.minimum(value + added, 255)
    ratio = np.divide(after, value, out=np.zeros(256), where=value > 0)
    brighter = image * ratio.astype(np.float32)[image.max(axis=2)][..., None]
    black = ~image.any(axis=2)
    brighter[black] = added
    return to_pixels(brighter)


def spatter(image: Pixels, severity: float, rng: np.random.Generator) -> Pixels:
    """Drops on the lens: water, which adds light, or at the two strongest severities mud, which covers the image."""
    mean, sd, sigma, least, strength, is_mud = at(
        severity,
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    )
    liquid = gaussian_blurred(np.float32(mean) + np.float32(sd) * rng.standard_normal((SIDE, SIDE), np.float32), sigma)
    liquid[liquid < least] = 0
    if is_mud:
        cover = gaussian_blurred(liquid > least, strength)
        cover[cover < 0.8] = 0
        fraction = to_side(cover, size_of(image))[..., None]
        return to_pixels(image * (1 - fraction) + fraction * np.array(MUD, np.float32))
    fraction = to_side(np.float32(strength) * _water(liquid), size_of(image))[..., None]
    return to_pixels(image + fraction * np.array(WATER, np.float32))


def _water(liquid: Floats) -> Floats:
    """Returns the light of drops, float32 `[224, 224]` from 0 to 1: the liquid embossed by edge distance."""
    drops = (255 * liquid).astype(np.uint8)
    far = cv2.distanceTransform(255 - cv2.Canny(drops, 50, 150), cv2.DIST_L2, 5)
    depth = cv2.equalizeHist(cv2.blur(np.minimum(far, 20), (3, 3)).astype(np.uint8))
    relief = cv2.filter2D(depth, cv2.CV_8U, np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]))
    light = drops * cv2.blur(relief, (3, 3)).astype(np.float32)
    return np.asarray(light / max(float(light.max()), 1.0), np.float32)


add("snow", Tones(snow), version=2)
add("fog", Tones(fog))
add("brightness", Tones(brightness), c=LIGHT)
add("spatter", Tones(spatter))


FROST = "frost"


class Frost(Change):
    """Lays a square of one texture over the image: c x + d texture."""

    def __init__(self, textures: Sequence[Pixels]) -> None:
        self._textures = [_large(texture) for texture in textures]

    def __call__(self, image: Pixels, parameter: float, rng: np.random.Generator) -> Pixels:
        kept, added = at(parameter, (1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
        texture = self._textures[rng.integers(len(self._textures))]
        top, left = (rng.integers(length - SIDE + 1) for length in texture.shape[:2])
        frost = to_side(texture[top : top + SIDE, left : left + SIDE], size_of(image))
        return to_pixels(np.float32(kept) * image + np.float32(added) * frost)


def _frost(folder: str) -> Family:
    """Returns the corruption with the images of a folder, identified by their bytes in the order of their names."""
    # Lazy import: its package also holds archive readers, which a measure must not import.
    from embedshift.sources.base import ENDINGS, IMAGE_BYTES

    if not Path(folder).is_dir():
        raise UsageError(f"`frost_textures`: {folder} is not a folder; give a folder of frost images")
    files = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    if not files:
        raise UsageError(f"`frost_textures`: no image in {folder}; give a folder of frost images")
    hashes, textures = hashlib.blake2b(digest_size=16), []
    for path in files:
        try:
            data = read_file(path, IMAGE_BYTES)
            textures.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
        except Exception as error:
            reason = getattr(error, "strerror", None) or "not a complete image in a known format"
            raise UsageError(
                f"`frost_textures`: {path} cannot be read ({reason}); remove it from the folder"
            ) from error
        hashes.update(hashlib.blake2b(data).digest())
    return corruption(FROST, Frost(textures), extra={"textures": hashes.hexdigest()})


def _large(texture: Pixels) -> Pixels:
    height, width = texture.shape[:2]
    factor = SIDE / min(height, width)
    if factor <= 1:
        return texture
    size = max(SIDE, round(width * factor)), max(SIDE, round(height * factor))
    return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC), np.uint8)


# The fifteen corruptions of the standard's mean, in its order.
STANDARD = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip


def corruptions(choice: Choice) -> list[Augmentation]:
    textures = choice.frost_textures
    names = choice.families or tuple(name for name in STANDARD if name != FROST or textures is not None)
    if not choice.families and textures is None:
        log.info("skipping frost: it needs `frost_textures`, a folder of frost images")
    if FROST in names and textures is None:
        raise UsageError("families: frost needs a folder of frost images; give it as `frost_textures`")
    others = [] if textures is None or FROST not in names else [_frost(textures)]
    return family_augmentations("corruptions", choice, names, others)


SUITES.add("corruptions", corruptions)
