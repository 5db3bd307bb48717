"""Metrics against text: whether a picture still matches its words, and whether its shift points to a word."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.metrics.base import metric
from embedshift.metrics.embedding import cosine_similarity

Values = NDArray[np.float64]

# Of vectors of length 1: rounding of float32 moves one by less, and that is no direction.
UNMOVED = 1e-6


@metric(
    "text-alignment shift",
    "text",
    no_change=0.0,
    low=-2.0,
    high=2.0,
    higher_is_better=False,
    optional=True,
    option="--text",
)
def text_alignment_shift(original: ArrayLike, view: ArrayLike, text: ArrayLike) -> Values:
    r"""How much nearer to its caption a picture came; below 0, it lost some of the match.

    .. math:: \Delta = \cos(v, t) - \cos(o, t)

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        text: Vectors of the captions `[..., D]`.

    Returns:
        float64 `[...]` in [-2, 2]; 0 = no change. NaN where a norm is zero.

    Raises:
        ValueError: when the vectors differ in length.

    Example:
        >>> text_alignment_shift([1.0, 0.0], [0.0, 1.0], [2.0, 0.0]).item()
        -1.0
    """
    return np.asarray(cosine_similarity(view, text) - cosine_similarity(original, text))


@metric(
    "zero-shot flips",
    "text",
    no_change=0.0,
    low=0.0,
    high=1.0,
    higher_is_better=False,
    optional=True,
    option="--labels",
)
def zero_shot_flip(original: ArrayLike, view: ArrayLike, classes: ArrayLike) -> Values:
    r"""Whether the view is taken for another class than the original; the mean is the flip rate.

    .. math:: [\arg\max_c \cos(v, t_c) \ne \arg\max_c \cos(o, t_c)]

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        classes: Vectors of the class names `[C, D]`.

    Returns:
        float64 `[...]`, 1 = another class, 0 = the same. NaN where a norm is zero.

    Raises:
        ValueError: when the vectors differ in length.

    Example:
        >>> zero_shot_flip([1.0, 0.2], [[2.0, 1.9], [0.1, 3.0]], [[1.0, 0.0], [0.0, 1.0]]).tolist()
        [0.0, 1.0]
    """
    before, after = (cosine_similarity(np.asarray(e)[..., None, :], classes) for e in (original, view))
    flipped = np.argmax(before, axis=-1) != np.argmax(after, axis=-1)
    known = ~(np.isnan(before).any(axis=-1) | np.isnan(after).any(axis=-1))
    return np.asarray(np.where(known, flipped, np.nan))


def word_cosines(original: ArrayLike, view: ArrayLike, directions: ArrayLike) -> Values:
    r"""Whether a shift points to a word: its cosine with the direction in which the text goes.

    .. math:: \cos(\hat v - \hat o,\ t_w), \quad \hat x = x / \|x\|

    Both ends at length 1 first, as the directional similarity of StyleGAN-NADA and InstructPix2Pix has it: these
    encoders are trained on directions alone.

    Args:
        original: Original embeddings `[..., D]`.
        view: Embeddings of the views `[..., D]`.
        directions: Of the words `[W, D]`; see `direction`.

    Returns:
        float64 `[..., W]` in [-1, 1]; 0 = the shift has nothing to do with the word. NaN where the view did not move.

    Raises:
        ValueError: when the vectors differ in length.

    Example:
        >>> word_cosines([1.0, 0.0], [[0.0, 1.0], [3.0, 0.0]], [[-1.0, 1.0]]).round(6).tolist()
        [[1.0], [nan]]
    """
    shift = direction(view, original)
    still = np.linalg.norm(shift, axis=-1, keepdims=True) <= UNMOVED
    return np.asarray(cosine_similarity(np.where(still, 0.0, shift)[..., None, :], directions))


def direction(end: ArrayLike, start: ArrayLike) -> Values:
    """From one vector to another, both at length 1: float64 `[..., D]`; NaN where a norm is zero.

    Example:
        >>> direction([0.0, 2.0], [3.0, 0.0]).tolist()
        [-1.0, 1.0]
    """
    return unit(end) - unit(start)


def unit(vectors: ArrayLike) -> Values:
    """Vectors `[..., D]` at length 1, float64; NaN where a norm is zero.

    Example:
        >>> unit([3.0, 4.0]).tolist()
        [0.6, 0.8]
    """
    values = np.asarray(vectors, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(values / np.linalg.norm(values, axis=-1, keepdims=True))
