"""Moments of what each head adds to the embeddings of originals, from which words for heads are derived."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.pipeline.measure import Sums

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.draw import DrawnImage


@dataclass(frozen=True)
class WordSpace:
    """How the contributions of some heads are read from the encoder's output, and the texts to compare with."""

    sizes: Sequence[tuple[int, int]]
    bases: Floats
    texts: Values

    def contributions(self, kept: Floats) -> Values:
        """Returns what each of the heads adds to the embedding of one image, float64 `[L', H, d]`."""
        blocks, heads, width, _ = self.bases.shape
        starts = np.cumsum([0, *(3 * stream + merged for stream, merged in self.sizes)])
        stream = kept[starts[-1] - self.sizes[-1][0] : starts[-1]].astype(np.float64)
        found = np.empty((blocks, heads, width))
        for place, (start, (before, merged)) in enumerate(
            zip(starts[-blocks - 1 : -1], self.sizes[-blocks:], strict=True)
        ):
            outputs = kept[start + before : start + before + merged].reshape(heads, -1)
            found[place] = np.einsum("hed,hd->he", self.bases[place], outputs)
        found /= stream.std()
        return found


class HeadMoments(Sums):
    """First and second moments of the contributions of heads to the embeddings of originals."""

    def __init__(self, space: WordSpace, *, with_texts: bool) -> None:
        self.space, self.with_texts = space, with_texts
        blocks, heads, width, _ = space.bases.shape
        self.images = 0
        self.first, self.second = np.zeros((blocks, heads, width)), np.zeros((blocks, heads, width, width))

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        """Adds an original."""
        found = self.space.contributions(output.observed["heads"][0])
        if np.isfinite(found).all():
            self.images += 1
            self.first += found
            self.second += found[..., :, None] * found[..., None, :]

    def close(self) -> Mapping[str, Values]:
        """Returns `images`, `first` `[L', H, d]`, `second` `[L', H, d, d]`, and with texts `texts`."""
        texts = {"texts": self.space.texts} if self.with_texts else {}
        if not self.images:
            return texts
        return {"images": np.array(float(self.images)), "first": self.first, "second": self.second, **texts}
