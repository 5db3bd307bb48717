"""How strong a view of the suite `strength` is, measured on what is drawn: without the suite's own formulas."""

import dataclasses
import functools
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import skimage.data
from PIL import Image
from scipy.stats import norm
from skimage.color import rgb2hsv
from sklearn.datasets import load_sample_image

from embedshift.augmentations.augmentation import Augmentation
from embedshift.augmentations.changes import ChangeAt

Array = Any
# Levels from pixel to pixel of a ramp, and pixels until it ends: 17 * 15 = 255.
SLOPE, LENGTH = 17, 15
GREY = np.array([0.299, 0.587, 0.114])
BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)


def shown_places(augmentation: Augmentation, side: int, seed: int) -> Array:
    """Where the pixels of a view come from, x before y, read off views of ramps; also from outside of the image.

    A coordinate is the sum of ramps that rise from 0 to 255 one after the other, so bytes resolve parts of a pixel.
    Places from outside are those that come from the rim where the rim is repeated; the reflected border says how far
    outside they are, up to one side.
    """
    repeated, reflected = (_ramps(_bordered(augmentation, border), side, seed) for border in BORDERS)
    last = side - 1
    return np.where(repeated <= 0, -reflected, np.where(repeated >= last, 2 * last - reflected, reflected))


def _ramps(augmentation: Augmentation, side: int, seed: int) -> Array:
    starts = np.arange(0, side, LENGTH)
    line = np.clip((np.arange(side) - starts[:, None]) * SLOPE, 0, 255).astype(np.uint8)
    found = []
    for ramps in (np.repeat(line[:, None], side, axis=1), np.repeat(line[:, :, None], side, axis=2)):
        views = [augmentation.draw(np.ascontiguousarray(np.dstack([ramp] * 3)), seed)[..., 0] for ramp in ramps]
        found.append(np.sum(views, axis=0) / SLOPE)
    return np.stack(found, axis=2)


def _bordered(augmentation: Augmentation, border: int) -> Augmentation:
    """The same with another border."""
    change: Any = augmentation.transform.change
    changed = ChangeAt(dataclasses.replace(change, border=border), augmentation.transform.parameter)
    return dataclasses.replace(augmentation, transform=changed)


def shown_displacement(augmentation: Augmentation, side: int, seed: int) -> tuple[float, float, float]:
    """Root mean square of the measured shifts over the side: of pixels from inside, of all; fraction from outside."""
    places = shown_places(augmentation, side, seed)
    down, across = np.mgrid[:side, :side]
    squares = (places[..., 0] - across) ** 2 + (places[..., 1] - down) ** 2
    inside = ((places > -0.5) & (places < side - 0.5)).all(axis=2)
    of_inside, of_all = (float(np.sqrt(some.mean()) / side) for some in (squares[inside], squares))
    return of_inside, of_all, float(1 - inside.mean())


def covered(augmentation: Augmentation, side: int, seed: int) -> Array:
    """The pixels of a view that do not follow the image: those that differ from a black or from a white one."""
    found = np.zeros((side, side), bool)
    for level in (0, 255):
        image = np.full((side, side, 3), level, np.uint8)
        found |= (augmentation.draw(image, seed) != image).any(axis=2)
    return found


def _homography(augmentation: Augmentation, side: int, seed: int) -> Array:
    """The projective map from view to original, fitted to where pixels come from, away from the rim."""
    places = shown_places(augmentation, side, seed).astype(np.float32)
    down, across = np.nonzero(((places > 1) & (places < side - 2)).all(axis=2))
    return cv2.findHomography(np.stack([across, down], axis=1).astype(np.float32), places[down, across])[0]


def _similarity(augmentation: Augmentation, side: int, seed: int) -> tuple[float, float, Array]:
    """Degrees, scale and shift (over the side) that turn the original into the view."""
    found = np.linalg.inv(_homography(augmentation, side, seed))
    centre = np.array([(side - 1) / 2, (side - 1) / 2, 1])
    scale = np.sqrt(np.linalg.det(found[:2, :2] / found[2, 2]))
    turn = np.degrees(np.arctan2(found[1, 0], found[0, 0]))
    return float(turn), float(scale), ((found @ centre) / found[2, 2] - centre)[:2] / side


def _noise(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """From how many pixels of middle levels stay near: clipping at the ends of the range does not change that."""
    middle = np.abs(image.astype(int) - 128) <= 40
    changes = np.abs(augmentation.draw(image, seed).astype(int) - image)[middle]
    near = min(round(0.6745 * recorded * 255), 87)
    return float((near + 0.5) / norm.ppf((1 + (changes <= near).mean()) / 2) / 255)


def _blur(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """From the view of an edge, whose slope is the Gaussian."""
    side = len(image)
    edge = np.zeros_like(image)
    edge[:, side // 2 :] = 255
    slope = np.diff(augmentation.draw(edge, seed)[side // 2, :, 0].astype(float)) / 255
    away = np.arange(side - 1) - (side // 2 - 1)
    return float(np.sqrt((slope * away**2).sum()) / side)


def _color_jitter(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> Array:
    """Brightness and contrast from grey pixels, saturation and hue from coloured ones."""
    # Rounding spoils the slope of one image; the mean over images of different brightness does not feel it.
    found = [_jittered(augmentation, lighter, seed) for lighter in range(-10, 11)]
    return np.abs(np.mean(found, axis=0))


def _jittered(augmentation: Augmentation, lighter: int, seed: int) -> Array:
    rng = np.random.default_rng(0)
    coloured = np.array([115, 82, 62]) + lighter + rng.integers(-6, 7, (64, 64, 3))
    levels = rng.integers(-40, 41, (64, 64))
    levels += round((coloured @ GREY).mean() - levels.mean())  # equal in the mean, so that contrast keeps it
    made = np.concatenate([np.dstack([levels] * 3), coloured], axis=1).astype(np.uint8)
    (before, skin), (after, view) = (np.split(each, 2, axis=1) for each in (made, augmentation.draw(made, seed)))
    brightness = after.mean() / before.mean()
    both = np.polyfit(before.ravel(), after.ravel(), 1)[0]
    chroma = np.ptp(view.astype(float), axis=2).sum() / np.ptp(skin.astype(float), axis=2).sum()
    turn = np.angle(np.exp(2j * np.pi * (rgb2hsv(view) - rgb2hsv(coloured))[..., 0]).mean()) / (2 * np.pi)
    return np.array([brightness - 1, both / brightness - 1, chroma / both - 1, turn])


def _brightness_contrast(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> Array:
    """From a straight line through the levels that are not clipped, on an image that has every level."""
    made = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    view = augmentation.draw(made, seed)
    free = (view > 0) & (view < 255)
    slope, middle = np.polyfit(made[free] - 127.5, view[free] - 127.5, 1)
    return np.abs([slope - 1, middle / 255])


def _coloured(image: Array) -> Array:
    """An image with colours, also from a grey one: its red, its green upside down and its blue mirrored."""
    return np.dstack([image[..., 0], image[::-1, :, 1], image[:, ::-1, 2]])


def _grey(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """From a straight line through what changes against what a grey image would change."""
    made = _coloured(image)
    change = (made @ GREY)[..., None] - made
    return float((change * (augmentation.draw(made, seed).astype(float) - made)).sum() / (change**2).sum())


def _gamma(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """From logarithms of levels that are neither dark nor bright before and after."""
    view = augmentation.draw(image, seed)
    middle = (image > 40) & (image < 215) & (view > 40) & (view < 215)
    power = np.median(np.log(view[middle] / 255) / np.log(image[middle] / 255))
    return float(max(power, 1 / power))


def _hue(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """From the hue of pixels with much colour."""
    made = _coloured(image)
    before, after = rgb2hsv(made), rgb2hsv(augmentation.draw(made, seed))
    strong = np.ptp(made.astype(int), axis=2) > 60
    turn = np.exp(2j * np.pi * (after - before)[..., 0][strong]).mean()
    return float(abs(np.degrees(np.angle(turn))))


def _jpeg(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """The quality at which Pillow's file shows the view, among those nearby."""
    view, quality = augmentation.draw(image, seed).astype(int), int(recorded)

    def differs(by: int) -> float:
        Image.fromarray(image).save(file := io.BytesIO(), "JPEG", quality=by, subsampling="4:2:0")
        return float(np.abs(np.asarray(Image.open(file)) - view).mean())

    assert differs(quality) < 0.5, "the view is what the file holds"
    return float(min(range(max(1, quality - 3), quality + 4), key=differs))


def _downscale(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """The size through which Pillow makes the view, among those nearby."""
    side, view = len(image), augmentation.draw(image, seed).astype(int)
    size = round(recorded * side)

    def differs(small: int) -> float:
        through = Image.fromarray(image).resize((small, small), Image.Resampling.BOX)
        return float(np.abs(np.asarray(through.resize((side, side), Image.Resampling.BILINEAR)) - view).mean())

    return min(range(max(1, size - 3), size + 4), key=differs) / side


def _corners(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """How far the corners of the view come from."""
    side = len(image)
    corners = np.array([[0, 0], [side - 1, 0], [side - 1, side - 1], [0, side - 1]], np.float32)
    ends = cv2.perspectiveTransform(corners[None], _homography(augmentation, side, seed))[0]
    return float(np.sqrt(((ends - corners) ** 2).sum(axis=1).mean()) / side)


def _shift(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> float:
    """The length without the phase, which is that of a shift by a patch; shorter ones have it in proportion."""
    length = float(np.hypot(*_similarity(augmentation, len(image), seed)[2]))
    phase = _phased(np.hypot(*_similarity(_at(augmentation, 0.0625), len(image), seed)[2])) - 1
    return float(length - min(0.0625, recorded) * phase)


def _shift_scale_rotate(augmentation: Augmentation, image: Array, seed: int, recorded: float) -> Array:
    turn, scale, shift = _similarity(augmentation, len(image), seed)
    phased = _phased(_similarity(_at(augmentation, 1), len(image), seed)[2])
    return np.abs([turn / 15, (scale - 1) / 0.1, *(shift / 0.0625 / phased)])


def _phased(shift: Any) -> Array:
    """Shifts by a patch, in patches: from a half to one and a half."""
    patches = np.abs(shift) / 0.0625
    assert np.all((patches > 0.49) & (patches < 1.51)), patches
    return patches


def _at(augmentation: Augmentation, parameter: float) -> Augmentation:
    """The same family at another strength."""
    return dataclasses.replace(augmentation, transform=dataclasses.replace(augmentation.transform, parameter=parameter))


# Family → what measures its parameter, and by how much of it the result may differ on one image.
MEASURED: dict[str, tuple[Callable[[Augmentation, Array, int, float], Any], float]] = {
    "noise": (_noise, 0.03),
    "blur": (_blur, 0.05),
    "color_jitter": (_color_jitter, 0.01),
    "shift_scale_rotate": (_shift_scale_rotate, 0.01),
    "elastic": (lambda a, image, seed, _: shown_displacement(a, len(image), seed)[1], 0.01),
    "perspective": (_corners, 0.01),
    "brightness_contrast": (_brightness_contrast, 0.03),
    "coarse_dropout": (lambda a, image, seed, _: covered(a, len(image), seed).mean(), 0.001),
    "rotation": (lambda a, image, seed, _: abs(_similarity(a, len(image), seed)[0]), 0.005),
    "zoom_out": (lambda a, image, seed, _: _similarity(a, len(image), seed)[1], 0.005),
    "translation": (_shift, 0.01),
    "crop": (lambda a, image, seed, _: _similarity(a, len(image), seed)[1] ** -2, 0.005),
    "jpeg": (_jpeg, 0.0),
    "downscale": (_downscale, 0.0),
    "occlusion": (lambda a, image, seed, _: covered(a, len(image), seed).mean(), 0.01),
    "grey": (_grey, 0.01),
    "gamma": (_gamma, 0.01),
    "hue": (_hue, 0.02),
}


def photo(name: str, side: int) -> Array:
    """A photo of scikit-image or scikit-learn, as a square."""
    return _photo(name, side).copy()


@functools.cache
def _photo(name: str, side: int) -> Array:
    image = load_sample_image(name) if name.endswith(".jpg") else getattr(skimage.data, name)()
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
