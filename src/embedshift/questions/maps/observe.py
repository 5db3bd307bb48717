"""Runs beside the encoder: makes the maps of the images drawn by the seed, and encodes their partial originals."""

import copy
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels, Values
from embedshift.encoders.base import Encoder, EncoderOutput, ReadsText
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.relevance import Explainer
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.encoded import encode_views
from embedshift.pipeline.measure import Observer
from embedshift.questions.maps.columns import ATTENTION, score
from embedshift.questions.maps.measure import CAPTION, IMAGE, MEASURE, areas, blurred, taken_away
from embedshift.sources import ImageRef
from embedshift.statistics.vectors import cosine, unit


class OBSERVER(Observer):
    """Explains views, if the encoder can be differentiated."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        self._explainer: Explainer | None = None
        self._tower: Any = None

    def prepare(self, measure: MEASURE) -> MEASURE:
        """Adds the grid of the maps, and the vector of the words to explain."""
        size = self.encoder.size
        views = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        output = encode_views(self.encoder, views)
        made = copy.copy(measure)
        if measure.aim != IMAGE:
            self._tower = self.spec.text_tower(self.encoder)
            made.tower = str(getattr(self._tower, "weights_hash", ""))
        if measure.aim not in (IMAGE, CAPTION):
            made.target = self._read([measure.aim])[0]
        found = self._maps(measure, views, _target(made, "", output))
        made.grid = next(iter(found.values())).shape[1:]
        made.has_attention = self.encoder.grid == made.grid
        return made

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        """Adds the vectors of the captions of one shard's images, if these are explained."""
        there = [each for each in samples if each.image_id in measure.images] if measure.aim == CAPTION else []
        if not there:
            return measure
        made, vectors = copy.copy(measure), self._read([str(each.caption) for each in there])
        made.captions = {each.image_id: vector for each, vector in zip(there, vectors, strict=True)}
        return made

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        """Returns the maps, their comparisons and their scores; nothing for images that the seed did not draw."""
        image_id = image.sample.image_id
        return self._explained(measure, image, output) if image_id in measure.images else {}

    def seconds(self, measure: MEASURE, image: DrawnImage) -> float:
        """Returns the seconds for the maps of one image times the number of images that get any."""
        output = encode_views(self.encoder, image.views)
        asked = self.begin(measure, [image.sample]) if image.sample.image_id in measure.images else measure
        started = time.perf_counter()
        self._explained(asked, image, output)
        return (time.perf_counter() - started) * measure.count

    def _explained(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> dict[str, Values]:
        image_id = image.sample.image_id
        target = _target(measure, image_id, output)
        maps = self._maps(measure, image.views, target)
        if measure.has_attention and output.attention is not None:
            maps = {ATTENTION: output.attention} | maps
        return measure.of_maps(image, maps) | self._scores(measure, image, maps, target)

    def _scores(
        self, measure: MEASURE, image: DrawnImage, maps: Mapping[str, Floats], target: Values
    ) -> dict[str, Values]:
        """Returns deletion and insertion of the original, by column."""
        original = image.views[0]
        orders = measure.orders(image.sample.image_id, maps)
        whole, nothing = self._cosines(np.stack([original, blurred(original)]), target)
        values: dict[str, Values] = {}
        for name, places in orders.items():
            found = areas(self._cosines(taken_away(original, places), target), whole, nothing)
            values |= {score(name, kind): np.asarray(area) for kind, area in found.items()}
        return values

    def _cosines(self, views: Pixels, target: Values) -> Values:
        """Returns the cosines of the embeddings with the target, `[B]`."""
        size = self.spec.batch_for(self.encoder)
        parts = [encode_views(self.encoder, views[start : start + size]) for start in range(0, len(views), size)]
        return cosine(np.concatenate([part.embedding for part in parts]), target)

    def _maps(self, measure: MEASURE, views: Pixels, target: Values) -> dict[str, Floats]:
        if self._explainer is None:
            if not isinstance(self.encoder, ModuleEncoder):
                raise UsageError(
                    f"{self.encoder.name} cannot provide these maps: it is not a torch module; run it without `maps`"
                )
            self._explainer = Explainer(self.encoder, measure.names)
        return self._explainer(views, target)

    def _read(self, texts: Sequence[str]) -> Values:
        """Returns unit vectors of N texts, float64 `[N, D]`."""
        if self._tower is None:
            self._tower = self.spec.text_tower(self.encoder)
        read: Any = self._tower.encode_text if isinstance(self._tower, ReadsText) else self._tower
        vectors = np.asarray(read(list(texts)), np.float64)
        if vectors.shape != (len(texts), self.encoder.dim):
            raise UsageError(
                f"`maps_target`: {self.encoder.name} gives embeddings of {self.encoder.dim} numbers and its text tower "
                f"{vectors.shape} for {len(texts)} texts: they do not share one space"
            )
        return unit(vectors)


def _target(measure: MEASURE, image_id: str, output: EncoderOutput) -> Values:
    """Returns the vector to explain for an image and its views, `[D]` of length 1; by default its own embedding."""
    own = unit(np.asarray(output.embedding[0], np.float64))
    return measure.captions.get(image_id, own) if measure.target is None else measure.target
