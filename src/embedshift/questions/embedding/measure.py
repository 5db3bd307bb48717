"""Metrics of the embedding: the angle and the distance between a view's vector and its original's."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Floats, Values
from embedshift.pipeline.measure import Measure, StudyPlan, Sums
from embedshift.registry import METRICS, metric
from embedshift.statistics import vectors
from embedshift.statistics.baselines import CHUNKS, KEPT, cosine_baseline, distance_baseline

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


@metric(
    "cosine similarity", "embedding", no_change=1.0, low=-1.0, high=1.0, higher_is_better=True, baseline=cosine_baseline
)
def cosine_similarity(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Cosine of the angle between two embeddings (the paper's equation 4).

    .. math:: \mathrm{sim}(u, v) = \frac{u \cdot v}{\|u\| \, \|v\|}

    Args:
        u: Original embeddings `[..., D]`, any float dtype; computed in float64.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]` in [-1, 1]; 1 = no change. NaN if a norm is zero: an undefined direction is never reported as 0.

    Raises:
        ValueError: The embeddings differ in length.

    Example:
        >>> cosine_similarity([1.0, 0.0], [[2.0, 0.0], [0.0, 3.0]]).tolist()
        [1.0, 0.0]
    """
    return vectors.cosine(u, v)


@metric(
    "L2 distance", "embedding", no_change=0.0, low=0.0, high=np.inf, higher_is_better=False, unit="encoder",
    baseline=distance_baseline,
)  # fmt: skip
def l2_distance(u: ArrayLike, v: ArrayLike) -> Values:
    r"""Euclidean distance between two raw embeddings (the paper's equation 5).

    .. math:: d(u, v) = \|u - v\|_2

    Args:
        u: Original embeddings `[..., D]`, not normalised.
        v: Embeddings of the views `[..., D]`.

    Returns:
        float64 `[...]`, 0 or more, in the encoder's own units; 0 = no change. Not comparable between encoders.

    Raises:
        ValueError: The embeddings differ in length.

    Example:
        >>> l2_distance([0.0, 0.0], [3.0, 4.0]).item()
        5.0
    """
    return vectors.distance(u, v)


class KeptVectors(Sums):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: list[Floats] = []

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        if len(self._kept) < self.limit:
            self._kept.append(output.embedding[0])

    def close(self) -> Mapping[str, Values]:
        return {"vectors": np.stack(self._kept)} if self._kept else {}


class NormalisedSums(Sums):
    """Sums of the originals' unit vectors by chunks of images, from which the mean cosine of all pairs follows."""

    def __init__(self, chunk_size: int) -> None:
        self.chunk_size = chunk_size
        self._waiting: list[Floats] = []
        self._chunks: list[tuple[float, float, Values]] = []

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        self._waiting.append(output.embedding[0])
        if len(self._waiting) == self.chunk_size:
            self._close_chunk()

    def close(self) -> Mapping[str, Values]:
        """Returns by chunk: `images`, `valid` (number whose vector has a length) `[G]`, and `normalised` `[G, D]`."""
        self._close_chunk()
        names = ("images", "valid", "normalised") if self._chunks else ()
        return {name: np.stack([chunk[index] for chunk in self._chunks]) for index, name in enumerate(names)}

    def _close_chunk(self) -> None:
        if self._waiting:
            directions = vectors.normalised(np.stack(self._waiting))
            valid = ~np.isnan(directions).any(axis=1)
            self._chunks.append((float(len(directions)), float(valid.sum()), directions[valid].sum(axis=0)))
            self._waiting = []


class MEASURE(Measure):
    def of_output(self, image: "DrawnImage", output: "EncoderOutput", plan: StudyPlan) -> dict[str, Values]:
        embedding = output.embedding
        return {name: METRICS[name].function(embedding[:1], embedding[1:]) for name in self.metrics}

    def sums(self, plan: StudyPlan) -> Mapping[str, Sums]:
        """Returns sums of the originals' vectors: all vectors if they are few, else some vectors and sums of all."""
        if plan.images <= KEPT:
            return {"vectors": KeptVectors(KEPT)}
        kept = -(-KEPT * plan.shard_size // plan.images)
        return {"vectors": KeptVectors(kept), "normalised": NormalisedSums(max(1, plan.images // CHUNKS))}
