"""Words for heads: texts that name the directions along which a head's contributions vary most between images.

TextSpan (Gandelsman, Efros and Steinhardt 2024) picks, one after the other, the text along which the contributions of a
head vary most, and removes that direction from contributions and texts. It needs only the second moment of the
contributions within the head's own space, `d x d` numbers, so that no data of single images is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Values

# The number of last blocks whose heads get words, and words per head; earlier heads hardly reach the embedding.
LAST_BLOCKS = 4
WORDS = 5
# Variance below this fraction of the first is rounding.
NOTHING = 1e-9


@dataclass(frozen=True)
class Picked:
    """A text that was picked for a head."""

    text: int
    explained: float


def textspan(covariance: ArrayLike, texts: ArrayLike, count: int = WORDS) -> list[Picked]:
    remaining, vectors = np.array(covariance, np.float64), np.array(texts, np.float64)
    total, picked = float(np.trace(remaining)), list[Picked]()
    for _ in range(min(count, len(remaining))):
        variances = ((vectors @ remaining) * vectors).sum(axis=1)
        best = int(variances.argmax())
        if not variances[best] > NOTHING * total:
            break
        direction = vectors[best] / np.linalg.norm(vectors[best])
        projection = np.eye(len(remaining)) - np.outer(direction, direction)
        remaining, vectors = projection @ remaining @ projection, vectors @ projection
        picked.append(Picked(best, 1 - float(np.trace(remaining)) / total))
    return picked


def covariances(sums: Mapping[str, Values]) -> NDArray[np.float64]:
    """Returns the covariances of each head's contributions, `[L', H, d, d]`, from the moments of all shards."""
    mean = sums["first"] / sums["images"]
    return np.asarray(sums["second"] / sums["images"] - mean[..., :, None] * mean[..., None, :], np.float64)
