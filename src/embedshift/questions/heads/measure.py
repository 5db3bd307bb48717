"""The contributions of a view's shift that heads, MLPs and input carry; and moments of heads, for words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from embedshift.arrays import Floats, Values
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Column, Measure, StudyPlan, StudySwitches, Sums
from embedshift.questions.heads import HEADS, MLPS, SINGLE, TOKENS, Switches

if TYPE_CHECKING:
    from embedshift.encoders.base import EncoderOutput
    from embedshift.pipeline.drawn import DrawnImage


@dataclass(frozen=True)
class WordSpace:
    """How the contributions of some heads are read from the encoder's output, and the texts to compare with."""

    sizes: Sequence[tuple[int, int]]
    bases: Floats
    texts: Values

    def contributions(self, kept: Floats) -> Values:
        blocks, heads, width, _ = self.bases.shape
        starts = np.cumsum([0, *(3 * stream + merged for stream, merged in self.sizes)])
        stream = kept[starts[-1] - self.sizes[-1][0] : starts[-1]].astype(np.float64)
        projected = np.empty((blocks, heads, width))
        for block, (start, (before, merged)) in enumerate(
            zip(starts[-blocks - 1 : -1], self.sizes[-blocks:], strict=True)
        ):
            outputs = kept[start + before : start + before + merged].reshape(heads, -1)
            projected[block] = np.einsum("hed,hd->he", self.bases[block], outputs)
        projected /= stream.std()
        return projected


class HeadMoments(Sums):
    """First and second moments of the contributions of heads to the embeddings of originals."""

    def __init__(self, space: WordSpace, *, with_texts: bool) -> None:
        self.space, self.with_texts = space, with_texts
        blocks, heads, width, _ = space.bases.shape
        self.images = 0
        self.first, self.second = np.zeros((blocks, heads, width)), np.zeros((blocks, heads, width, width))

    def add(self, image: "DrawnImage", output: "EncoderOutput") -> None:
        contributions = self.space.contributions(output.observed["heads"][0])
        if np.isfinite(contributions).all():
            self.images += 1
            self.first += contributions
            self.second += contributions[..., :, None] * contributions[..., None, :]

    def close(self) -> Mapping[str, Values]:
        """Returns `images`, `first` `[L', H, d]`, `second` `[L', H, d, d]`, and with texts `texts`."""
        texts = {"texts": self.space.texts} if self.with_texts else {}
        if not self.images:
            return texts
        return {"images": np.array(float(self.images)), "first": self.first, "second": self.second, **texts}


class MEASURE(Measure):
    in_float32 = True

    def __init__(self, study: StudySwitches) -> None:
        super().__init__(study)
        config = study.config
        settings = config.of(Switches)
        if config.precision not in ("float32", "auto") or config.compile:
            given = "`compile`" if config.compile else f"`precision` {config.precision}"
            raise UsageError(f"`heads` splits a shift in float32, by torch's own passes; run it without {given}")
        self.tokens, self.bank_file = settings.heads_tokens, settings.bank
        self.images = len(study.samples)
        self.first = study.samples[0].image_id if study.samples else ""
        # Of the loaded encoder, and its texts.
        self.layers = self.heads = self.cells = 0
        self.bank: tuple[str, ...] = ()
        self.space: WordSpace | None = None
        self.keeps_texts = False

    @property
    def observations(self) -> Sequence[str]:
        return ("heads",)

    def columns(self, probe: "EncoderOutput | None") -> Sequence[Column]:
        assert self.layers, "the encoder is loaded before"
        lists = {HEADS: self.layers * self.heads, MLPS: self.layers}
        if self.tokens:
            lists |= dict.fromkeys(TOKENS.values(), 1 + self.cells)
        return [*(Column(*each) for each in lists.items()), *(Column(name, None) for name in SINGLE.values())]

    def sums(self, plan: StudyPlan) -> Mapping[str, Sums]:
        return {} if self.space is None else {"words": HeadMoments(self.space, with_texts=self.keeps_texts)}

    def identity(self) -> Json:
        return {"heads": True, "detail": "tokens" if self.tokens else None, "bank": [*self.bank]}
