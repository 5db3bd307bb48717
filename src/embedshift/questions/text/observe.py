"""Runs beside the encoder: encodes the study's texts, captions shard by shard."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.base import Encoder, ReadsText
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Observer
from embedshift.questions.text.measure import MEASURE
from embedshift.questions.text.texts import TEMPLATES, has_caption
from embedshift.registry import fingerprint
from embedshift.sources import ImageRef
from embedshift.statistics.vectors import direction, unit


class OBSERVER(Observer):
    """A text tower: the encoder itself, or the one that belongs to its weights."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        tower = spec.text_tower(encoder)
        self.read: Any = tower.encode_text if isinstance(tower, ReadsText) else tower

    def prepare(self, measure: MEASURE) -> MEASURE:
        """Adds the vectors of class names and words."""
        texts, vectors = measure.texts, dict[str, Any]()
        phrases = [phrase for name, phrase in texts.words.items() if name != ORIGINAL]
        if phrases:
            vectors["directions"] = direction(self.encode(phrases), self.encode([texts.words[ORIGINAL]]))
        if texts.labels:
            prompts = self.encode([each.replace("{}", label) for label in texts.labels for each in TEMPLATES])
            vectors["classes"] = unit(unit(prompts).reshape(len(texts.labels), len(TEMPLATES), -1).mean(axis=1))
        made = copy.copy(measure)
        made.vectors, made.dim = vectors, self.encoder.dim
        made.tower = str(getattr(self.read, "weights_hash", None) or fingerprint(_code(self.read)))
        return made

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        """Adds the vectors of the captions of one shard's images."""
        there = [sample for sample in samples if has_caption(sample)] if measure.texts.captions else []
        if not there:
            return measure
        made, found = copy.copy(measure), self.encode([str(sample.caption) for sample in there])
        captions = {sample.image_id: vector for sample, vector in zip(there, found, strict=True)}
        made.vectors = {**measure.vectors, "captions": captions}
        return made

    def encode(self, texts: Sequence[str]) -> Values:
        """Returns vectors of N texts, float64 `[N, dim]`."""
        vectors = np.asarray(self.read(list(texts)), np.float64)
        if vectors.shape != (len(texts), self.encoder.dim):
            raise UsageError(
                f"{self.encoder.name}: the text tower gives {vectors.shape} for {len(texts)} texts and the encoder "
                f"embeddings of {self.encoder.dim} numbers: they do not share one space"
            )
        return vectors


def _code(read: Any) -> Any:
    """Returns the object that reads the texts; for a method its function, because its object is the encoder."""
    return getattr(read, "__func__", read)
