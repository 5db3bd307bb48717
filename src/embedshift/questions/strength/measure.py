"""Metrics of how strong a change is: in pixels, in structure, in displacement, and in hidden area."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Pixels, Values
from embedshift.config import VECTORS
from embedshift.pipeline.measure import Measure, StudyPlan, StudySwitches
from embedshift.registry import METRICS, metric
from embedshift.registry.extras import cv2

if TYPE_CHECKING:
    from embedshift.augmentations.views import Canvas
    from embedshift.encoders.base import EncoderOutput
    from embedshift.sources import ImageRef

# Of the structural similarity: window, its standard deviation, and the constants for levels of 0 to 255.
WINDOW, SIGMA, C1, C2 = 11, 1.5, (0.01 * 255) ** 2, (0.03 * 255) ** 2
RIM = WINDOW // 2

STRENGTH: dict[str, Any] = {"no_change": 0.0, "low": 0.0, "higher_is_better": False, "optional": True}


@metric("RMS of pixels", "strength", **STRENGTH, high=1.0)
def rms(o: Pixels, a: Pixels) -> Values:
    r"""Root mean square of the pixel differences, as a fraction of the pixel range.

    .. math:: \mathrm{rms} = \sqrt{\mathrm{mean}((o - a)^2)} / 255

    Args:
        o: Original views, uint8 `[..., S, S, 3]`.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 1]; 0 = no change.

    Example:
        >>> rms(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 51, np.uint8)).item()
        0.2
    """
    o, a = np.broadcast_arrays(o, a)
    # OpenCV's `norm` of two arrays tries one first, and ends the process if a signal comes during that.
    squares = [cv2.norm(cv2.absdiff(o[view], a[view]), cv2.NORM_L2SQR) for view in np.ndindex(o.shape[:-3])]
    return np.asarray(np.sqrt(np.reshape(squares, o.shape[:-3]) / np.prod(o.shape[-3:])) / 255.0)


@metric("dissimilarity (1 - SSIM)", "strength", **STRENGTH, high=2.0)
def dissimilarity(o: Pixels, a: Pixels) -> Values:
    r"""One minus the structural similarity of the grey images (Wang et al. 2004).

    .. math:: \mathrm{SSIM} = \mathrm{mean} \frac{(2 \mu_o \mu_a + C_1)(2 \sigma_{oa} + C_2)}
        {(\mu_o^2 + \mu_a^2 + C_1)(\sigma_o^2 + \sigma_a^2 + C_2)}

    with a Gaussian window of 11 x 11 pixels, standard deviation 1.5, and the rim of 5 pixels left out.

    Args:
        o: Original views, uint8 `[..., S, S, 3]`, S at least 11.
        a: Augmented views, uint8 `[..., S, S, 3]`.

    Returns:
        float64 `[...]` in [0, 2]; 0 = no change; NaN for views with a side below 11.

    Example:
        >>> black = np.zeros((16, 16, 3), np.uint8)
        >>> dissimilarity(black, black).item(), round(dissimilarity(black, black + 255).item(), 3)
        (0.0, 1.0)
    """
    shape = np.broadcast_shapes(o.shape, a.shape)
    if min(shape[-3:-1]) < WINDOW:
        return np.full(shape[:-3], np.nan)
    before = np.stack([_moments(o[view]) for view in np.ndindex(o.shape[:-3])]).reshape(*o.shape[:-3], 3, *shape[-3:-1])
    before, after = np.broadcast_to(before, (*shape[:-3], *before.shape[-3:])), np.broadcast_to(a, shape)
    values = np.empty(shape[:-3])
    for view in np.ndindex(values.shape):
        (o_level, o_mean, o_variance), (a_level, a_mean, a_variance) = before[view], _moments(after[view])
        covariance = _window(o_level * a_level) - o_mean * a_mean
        numerator = (2 * o_mean * a_mean + C1) * (2 * covariance + C2)
        denominator = (o_mean**2 + a_mean**2 + C1) * (o_variance + a_variance + C2)
        values[view] = 1.0 - (numerator / denominator)[RIM:-RIM, RIM:-RIM].mean()
    return np.asarray(np.maximum(values, 0.0))


@metric("displacement / side", "strength", **STRENGTH, high=np.inf, unit="sides")
def displacement(source: ArrayLike) -> Values:
    """Root mean square of the distance that pixels moved, as a fraction of the image side.

    Args:
        source: For every pixel of a view its place in the original, x before y, `[..., S, S, 2]`.

    Returns:
        float64 `[...]`; 0 = nothing is moved; NaN where the view shows no pixel of the original.

    Example:
        >>> across, down = np.meshgrid(np.arange(10.0), np.arange(10.0))
        >>> displacement(np.stack([across, down + 1], axis=2)).round(3).item()
        0.1
    """
    from embedshift.augmentations.changes import Geometry

    positions = np.asarray(source, np.float32)
    distances = [Geometry(positions[view]).displacement() for view in np.ndindex(positions.shape[:-3])]
    return np.reshape(distances, positions.shape[:-3])


@metric("hidden", "strength", **STRENGTH, high=1.0)
def hidden(covered: NDArray[np.bool_]) -> Values:
    """Fraction of the view's pixels that show nothing of the original: covered, or outside its frame.

    Args:
        covered: Whether a pixel does, bool `[..., S, S]`.

    Returns:
        float64 `[...]` in [0, 1]; 0 = the view shows the original everywhere.

    Example:
        >>> hidden(np.eye(4, dtype=bool)).item()
        0.25
    """
    return np.asarray(np.mean(covered, axis=(-2, -1), dtype=np.float64))


class MEASURE(Measure):
    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        if study.suite.has_levels and study.config.augmentations != VECTORS:
            self.metrics = ("rms", "dissimilarity", "displacement", "hidden")

    def of_pixels(self, views: Pixels) -> dict[str, Values]:
        names = [name for name in ("rms", "dissimilarity") if name in self.metrics]
        return {name: METRICS[name].function(views[:1], views[1:]) for name in names}

    def of_seeds(self, views: Pixels, seeds: Sequence[int], plan: StudyPlan, canvas: "Canvas") -> dict[str, Values]:
        names = [name for name in ("displacement", "hidden") if name in self.metrics]
        if not names:
            return {}
        suite = [*plan.suite] * plan.config.draws
        pairs = zip(suite, seeds, strict=True)
        numbers = np.array([canvas.moved_and_hidden(augmentation, seed) for augmentation, seed in pairs])
        by_name = dict(zip(("displacement", "hidden"), numbers.T, strict=True))
        return {name: by_name[name] for name in names}

    def of_pair(
        self, views: Pixels, output: "EncoderOutput", samples: "Sequence[ImageRef]", plan: StudyPlan
    ) -> dict[str, float]:
        return {name: float(values[0]) for name, values in self.of_pixels(views).items()}


def _moments(image: Pixels) -> tuple[Values, Values, Values]:
    level = cv2.transform(image.astype(np.float64), np.array([[0.299, 0.587, 0.114]]))
    mean = _window(level)
    return np.asarray(level), mean, _window(level * level) - mean**2


def _window(values: Any) -> Values:
    return np.asarray(cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA))
