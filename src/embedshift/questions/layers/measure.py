"""Metrics layer by layer: how far what each block of the encoder gives moves, one picture at a time and as a set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values
from embedshift.pipeline.measure import Column, Measure, Sums
from embedshift.statistics import vectors

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage
    from embedshift.pipeline.plan import Plan

TOKENS = ("cls", "patches")
FUNCTIONS = {"cosine_similarity": vectors.cosine, "l2_distance": vectors.distance}
# With fewer pictures the unbiased HSIC is not defined.
LEAST_IMAGES = 4
# Images of one minibatch: the vectors of all their views are in memory at once.
MINIBATCH = 64


def column(metric: str, token: str) -> str:
    """The column of the records that holds a metric of a token.

    Example:
        >>> column("l2_distance", "cls")
        'layer_l2_cls'
    """
    return f"layer_{metric.split('_')[0]}_{token}"


def shift(layers: ArrayLike) -> dict[str, Values]:
    """How far the views of one image moved from the original, layer by layer.

    Args:
        layers: `[1 + V, L, T, W]`, the original first; the T tokens are the last T of `TOKENS`.

    Returns:
        float64 `[V, L]` by the names of the records' columns: cosine similarity and L2 distance of each token.

    Example:
        >>> moved = shift([[[[1.0, 0.0]]], [[[0.0, 2.0]]]])
        >>> {name: round(values.item(), 3) for name, values in moved.items()}
        {'layer_cosine_patches': 0.0, 'layer_l2_patches': 2.236}
    """
    states = np.asarray(layers)
    return {
        column(metric, token): function(states[:1, :, place], states[1:, :, place])
        for place, token in enumerate(TOKENS[-states.shape[2] :])
        for metric, function in FUNCTIONS.items()
    }


def hsic(k: ArrayLike, l: ArrayLike) -> Values:  # noqa: E741 - the paper's letters
    r"""Unbiased estimate of the Hilbert-Schmidt independence criterion (Song et al. 2012, equation 5).

    .. math:: \frac{1}{m(m-3)} \left[ \mathrm{tr}(\tilde K \tilde L)
        + \frac{1^T \tilde K 1 \; 1^T \tilde L 1}{(m-1)(m-2)} - \frac{2}{m-2} 1^T \tilde K \tilde L 1 \right]

    K~ is K with zeros on its diagonal.

    Args:
        k: Likeness of each of m pictures to each, symmetric `[..., m, m]`, m at least 4.
        l: The same by another measure `[..., m, m]`.

    Returns:
        float64 `[...]`; 0 on average where the two have nothing to do with each other, so that it may be negative.

    Raises:
        ValueError: with fewer than 4 pictures.

    Example:
        >>> near = np.eye(4)[[1, 0, 3, 2]]
        >>> round(float(hsic(near, near)), 6)
        0.666667
    """
    first, second = np.array(k, np.float64), np.array(l, np.float64)
    m = first.shape[-1]
    if m < LEAST_IMAGES:
        raise ValueError(f"the unbiased HSIC needs {LEAST_IMAGES} pictures, not {m}")
    diagonal = np.arange(m)
    first[..., diagonal, diagonal] = second[..., diagonal, diagonal] = 0.0
    sums, other = first.sum(axis=-1), second.sum(axis=-1)
    products = (first * second).sum(axis=(-2, -1))
    totals = sums.sum(axis=-1) * other.sum(axis=-1) / ((m - 1) * (m - 2))
    rows = (sums * other).sum(axis=-1) * 2 / (m - 2)
    return np.asarray((products + totals - rows) / (m * (m - 3)))


def cka_terms(x: ArrayLike, y: ArrayLike) -> Values:
    """The three numbers that linear CKA is made of, of one minibatch.

    Args:
        x: What m originals give `[m, L, W]`, m at least 4.
        y: What their views give `[m, L, W]`.

    Returns:
        float64 `[L, 3]`: HSIC of x with y, of x with itself, of y with itself.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(8, 2, 3))
        >>> cka(cka_terms(x, 5 * x)).round(6).tolist()
        [1.0, 1.0]
    """
    return _terms(_likeness(x), _likeness(y))


def cka(terms: ArrayLike) -> Values:
    """Linear CKA (Kornblith et al. 2019) of terms, which may be a sum over minibatches (Nguyen et al. 2021).

    Args:
        terms: `[..., 3]`, as `cka_terms` gives them.

    Returns:
        float64 `[...]`: 1 = the views lie to each other as the originals do, up to turning and scaling; 0 = nothing in
        common. It may lie a little outside [0, 1], as the estimate is unbiased; NaN where all originals or all views
        are alike.

    Example:
        >>> cka([1.0, 4.0, 1.0]).item()
        0.5
    """
    parts = np.asarray(terms, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(parts[..., 0] / np.sqrt(parts[..., 1] * parts[..., 2]))


def _terms(k: Values, l: Values) -> Values:  # noqa: E741
    return np.stack([hsic(k, l), hsic(k, k), hsic(l, l)], axis=-1)


def _likeness(x: ArrayLike) -> Values:
    """Inner products `[L, m, m]` of `[m, L, W]`."""
    vectors = np.moveaxis(np.asarray(x, np.float64), 0, 1)
    # The estimate does not depend on the mean; a large one would only cost digits.
    vectors = vectors - vectors.mean(axis=1, keepdims=True)
    return np.asarray(vectors @ np.swapaxes(vectors, -2, -1))


@dataclass
class CkaSums(Sums):
    """Terms of CKA, summed over minibatches of images; memory holds one minibatch.

    Args:
        draws: Views per augmentation.
        images: Images in the minibatches so far. A last minibatch of fewer than `LEAST_IMAGES` gives nothing.
        sums: float64 `[A, T, L, 3]`, the terms of each augmentation, token and layer, added up over draws and
            minibatches, each minibatch by its number of images.

    Example:
        >>> rng, sums = np.random.default_rng(0), CkaSums(draws=1)
        >>> for _ in range(5):
        ...     sums.add_layers(rng.normal(size=(3, 2, 1, 4)))
        >>> found = sums.close()
        >>> found["images"].item(), found["terms"].shape
        (5.0, (2, 1, 2, 3))
    """

    draws: int
    images: int = 0
    sums: Values = field(default_factory=lambda: np.zeros(()))
    _waiting: list[NDArray[Any]] = field(default_factory=list)

    def add(self, output: "EncoderOutput") -> None:
        """One more image, by the layers in its output."""
        if output.layers is not None:
            self.add_layers(output.layers)

    def add_layers(self, layers: ArrayLike) -> None:
        """One more image: `[1 + A * draws, L, T, W]`, the original first, then draw by draw; not finite = left out."""
        states = np.asarray(layers)
        if np.isfinite(states).all():
            self._waiting.append(states)
        if len(self._waiting) == MINIBATCH:
            self._count()

    def close(self) -> Mapping[str, Values]:
        """`images`, how many are in the terms, and `terms` `[A, T, L, 3]`; nothing where there are too few."""
        self._count()
        return {"images": np.array(float(self.images)), "terms": self.sums} if self.images else {}

    def _count(self) -> None:
        """Takes what waits as a minibatch."""
        count, depth = len(self._waiting), self._waiting[0].shape[1] if self._waiting else 0
        if count >= LEAST_IMAGES:
            # [views, m, T * L, W]: tokens and layers are all alike to the formula.
            states = np.stack(self._waiting, axis=1).swapaxes(2, 3)
            states = states.reshape(*states.shape[:2], -1, states.shape[-1])
            original, *views = map(_likeness, states)
            terms = np.stack([_terms(original, view) for view in views])
            by_draw = terms.reshape(self.draws, -1, terms.shape[1] // depth, depth, 3)
            self.sums = self.sums + count * by_draw.sum(axis=0)
            self.images += count
        self._waiting = []


class MEASURE(Measure):
    """The shift after every block, and the terms of CKA."""

    @property
    def observations(self) -> Sequence[str]:
        """What every block gives."""
        return ("layers",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        """A list over the blocks for each token and metric."""
        assert probe is not None
        assert probe.layers is not None
        _, depth, tokens, _ = probe.layers.shape
        return [Column(column(name, token), depth) for token in TOKENS[-tokens:] for name in FUNCTIONS]

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: "Plan") -> dict[str, Values]:
        """Original against views, block by block."""
        return {} if output.layers is None else shift(output.layers)

    def sums(self, plan: "Plan") -> Mapping[str, Sums]:
        """The terms of CKA."""
        return {"cka": CkaSums(plan.config.draws)}

    def identity(self) -> dict[str, Any]:
        """That they are there."""
        return {"layers": True}
