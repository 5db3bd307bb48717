"""Runs beside the encoder: encodes the study's texts, captions shard by shard."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.encoders.base import Encoder, ReadsText
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.measure import Observer
from embedshift.questions.text.measure import MEASURE, TextVectors
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
        texts = measure.texts
        classes = directions = None
        phrases = [phrase for name, phrase in texts.words.items() if name != ORIGINAL]
        if phrases:
            directions = direction(self.encode(phrases), self.encode([texts.words[ORIGINAL]]))
        if texts.labels:
            prompts = [template.replace("{}", label) for label in texts.labels for template in TEMPLATES]
            vectors = unit(self.encode(prompts)).reshape(len(texts.labels), len(TEMPLATES), -1)
            classes = unit(vectors.mean(axis=1))
        # Of a method its function, because its object is the encoder.
        code = getattr(self.read, "__func__", self.read)
        tower = str(getattr(self.read, "weights_hash", None) or fingerprint(code))
        dim = self.encoder.dim
        return measure.changed(vectors=TextVectors(tower=tower, dim=dim, classes=classes, directions=directions))

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        captioned = [sample for sample in samples if has_caption(sample)] if measure.texts.captions else []
        if not captioned:
            return measure
        vectors = self.encode([str(sample.caption) for sample in captioned])
        captions = {sample.image_id: vector for sample, vector in zip(captioned, vectors, strict=True)}
        return measure.changed(vectors=replace(measure.vectors, captions=captions))

    def encode(self, texts: Sequence[str]) -> Values:
        """Returns vectors of N texts, float64 `[N, dim]`."""
        vectors = np.asarray(self.read(list(texts)), np.float64)
        if vectors.shape != (len(texts), self.encoder.dim):
            raise UsageError(
                f"{self.encoder.name}: the text tower gives {vectors.shape} for {len(texts)} texts and the encoder "
                f"embeddings of {self.encoder.dim} numbers: they do not share one space"
            )
        return vectors
