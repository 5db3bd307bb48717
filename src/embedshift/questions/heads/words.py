"""Words for heads: the texts that name the directions along which what a head adds differs most between images.

TextSpan (Gandelsman, Efros and Steinhardt 2024) picks, one after the other, the text along which the contributions of a
head vary most, and takes that direction out of contributions and texts. All that it asks of the contributions is their
second moment within the head's own space, `d x d` numbers: so nothing is kept of single images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, Values
from embedshift.pipeline.measure import Sums

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage

# Heads of so many last blocks are named, by so many words each; earlier ones hardly reach the embedding by themselves.
LAST_BLOCKS = 4
WORDS = 5
# Variance below this share of what there was at first is rounding.
NOTHING = 1e-9


@dataclass(frozen=True)
class Picked:
    """A text that was picked for a head.

    Args:
        text: Its place in the bank.
        explained: The share of the head's variance along this and all earlier picks.
    """

    text: int
    explained: float


def textspan(covariance: ArrayLike, texts: ArrayLike, count: int = WORDS) -> list[Picked]:
    """The texts that span most of what a head adds.

    Args:
        covariance: Of its contributions in an orthonormal basis of its space, `[d, d]`.
        texts: Of N texts, their vectors in that basis, `[N, d]`.
        count: How many to pick; never more than the d that there can be.

    Returns:
        The picks; fewer where nothing varies any more.

    Example:
        >>> [(each.text, round(each.explained, 2)) for each in textspan([[1, 0], [0, 3]], [[5, 0], [0, 5], [4, 4]])]
        [(1, 0.75), (0, 1.0)]
    """
    left, vectors = np.array(covariance, np.float64), np.array(texts, np.float64)
    whole, picks = float(np.trace(left)), list[Picked]()
    for _ in range(min(count, len(left))):
        along = np.einsum("nd,de,ne->n", vectors, left, vectors)
        best = int(along.argmax())
        if not along[best] > NOTHING * whole:
            break
        direction = vectors[best] / np.linalg.norm(vectors[best])
        rest = np.eye(len(left)) - np.outer(direction, direction)
        left, vectors = rest @ left @ rest, vectors @ rest
        picks.append(Picked(best, 1 - float(np.trace(left)) / whole))
    return picks


@dataclass(frozen=True)
class WordSpace:
    """How the contributions of some heads are read from what the encoder gave, and the texts beside them.

    Args:
        sizes: Of each block, the widths of the stream and of its heads side by side, as `HeadsTap` keeps them.
        bases: Of L' last blocks of H heads, `[L', H, d, d]`: a head's output → its contribution in the basis.
        texts: Vectors of N texts in each basis, `[L', H, N, d]`.
    """

    sizes: Sequence[tuple[int, int]]
    bases: Floats
    texts: Values

    def contributions(self, kept: Floats) -> Values:
        """What each of the heads adds to the embedding of one image, float64 `[L', H, d]`.

        Args:
            kept: What `HeadsTap` kept of it, `[F]`.
        """
        blocks, heads, width, _ = self.bases.shape
        ends = np.cumsum([3 * stream + merged for stream, merged in self.sizes])
        stream = kept[ends[-1] - self.sizes[-1][0] : ends[-1]].astype(np.float64)
        found = np.empty((blocks, heads, width))
        for place, (start, (before, merged)) in enumerate(
            zip(ends[-blocks - 1 : -1], self.sizes[-blocks:], strict=True)
        ):
            outputs = kept[start + before : start + before + merged].reshape(heads, -1)
            found[place] = np.einsum("hed,hd->he", self.bases[place], outputs)
        found /= stream.std()
        return found


class HeadMoments(Sums):
    """First and second moments of the contributions of heads to the embeddings of originals.

    Args:
        space: How they are read.
        with_texts: Whether the texts are put beside them: one shard of a study keeps these.
    """

    def __init__(self, space: WordSpace, *, with_texts: bool) -> None:
        self.space, self.with_texts = space, with_texts
        blocks, heads, width, _ = space.bases.shape
        self.images = 0
        self.first, self.second = np.zeros((blocks, heads, width)), np.zeros((blocks, heads, width, width))

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        """One more original."""
        found = self.space.contributions(output.observed["heads"][0])
        if np.isfinite(found).all():
            self.images += 1
            self.first += found
            self.second += found[..., :, None] * found[..., None, :]

    def close(self) -> Mapping[str, Values]:
        """`images`, `first` `[L', H, d]`, `second` `[L', H, d, d]`, and perhaps `texts`."""
        texts = {"texts": self.space.texts} if self.with_texts else {}
        if not self.images:
            return texts
        return {"images": np.array(float(self.images)), "first": self.first, "second": self.second, **texts}


def covariances(sums: Mapping[str, Values]) -> NDArray[np.float64]:
    """Of the contributions of each head, `[L', H, d, d]`, from the moments of all shards."""
    mean = sums["first"] / sums["images"]
    return np.asarray(sums["second"] / sums["images"] - mean[..., :, None] * mean[..., None, :], np.float64)
