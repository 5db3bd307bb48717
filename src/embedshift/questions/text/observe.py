"""Runs beside the encoder: encodes the study's texts, captions shard by shard."""

from collections.abc import Sequence

from embedshift.augmentations import ORIGINAL
from embedshift.pipeline.measure import Observer
from embedshift.questions.text.measure import MEASURE
from embedshift.questions.text.texts import TEMPLATES, has_caption
from embedshift.registry import fingerprint
from embedshift.sources import ImageRef
from embedshift.statistics.vectors import direction, normalised


class OBSERVER(Observer):
    def prepare(self, measure: MEASURE) -> MEASURE:
        texts = measure.texts
        classes = directions = None
        phrases = [phrase for name, phrase in texts.words.items() if name != ORIGINAL]
        if phrases:
            directions = direction(self.text_vectors(phrases), self.text_vectors([texts.words[ORIGINAL]]))
        if texts.labels:
            prompts = [template.replace("{}", label) for label in texts.labels for template in TEMPLATES]
            vectors = normalised(self.text_vectors(prompts)).reshape(len(texts.labels), len(TEMPLATES), -1)
            classes = normalised(vectors.mean(axis=1))
        read = getattr(self.text_tower, "encode_text", self.text_tower)
        # Of a method its function, because its object is the encoder.
        tower = str(getattr(read, "weights_hash", None) or fingerprint(getattr(read, "__func__", read)))
        return measure.changed(tower=tower, dim=self.encoder.dim, classes=classes, directions=directions)

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        captioned = [sample for sample in samples if has_caption(sample)] if measure.texts.captions else []
        if not captioned:
            return measure
        vectors = self.text_vectors([str(sample.caption) for sample in captioned])
        captions = {sample.image_id: vector for sample, vector in zip(captioned, vectors, strict=True)}
        return measure.changed(captions=captions)
