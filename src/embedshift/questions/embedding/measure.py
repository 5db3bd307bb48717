"""How far the encoder's vector moves: its angle and its distance from the original's."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Values
from embedshift.pipeline.measure import Measure
from embedshift.registry import METRICS, metric
from embedshift.statistics import vectors

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage
    from embedshift.pipeline.plan import Plan


@metric("cosine similarity", "embedding", no_change=1.0, low=-1.0, high=1.0, higher_is_better=True)
def cosine_similarity(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Cosine of the angle between two embeddings (the paper's equation 4).

    .. math:: \mathrm{sim}(u, v) = \frac{u \cdot v}{\|u\| \, \|v\|}

    Args:
        u: Original embeddings `[..., D]`, any float dtype; computed in float64.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]` in [-1, 1]; 1 = no change. NaN where a norm is zero: a direction that does not exist is never
        reported as 0.

    Raises:
        ValueError: when the embeddings differ in length.

    Example:
        >>> cosine_similarity([1.0, 0.0], [[2.0, 0.0], [0.0, 3.0]]).tolist()
        [1.0, 0.0]
    """
    return vectors.cosine(u, v)


@metric("L2 distance", "embedding", no_change=0.0, low=0.0, high=np.inf, higher_is_better=False, unit="encoder")
def l2_distance(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Euclidean distance between two raw embeddings (the paper's equation 5).

    .. math:: d(u, v) = \|u - v\|_2

    Args:
        u: Original embeddings `[..., D]`, not normalised.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]`, 0 or more, in the encoder's own units; 0 = no change. Not comparable between encoders.

    Raises:
        ValueError: when the embeddings differ in length.

    Example:
        >>> l2_distance([0.0, 0.0], [3.0, 4.0]).item()
        5.0
    """
    return vectors.distance(u, v)


class MEASURE(Measure):
    """Every metric that needs the embedding."""

    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: "Plan") -> dict[str, Values]:
        """Original against views."""
        embedding = output.embedding
        return {name: METRICS[name].function(embedding[:1], embedding[1:]) for name in self.metrics}
