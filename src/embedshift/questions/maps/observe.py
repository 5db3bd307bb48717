"""Runs beside the encoder: makes the maps of the images drawn by the seed, and encodes their partial originals."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from embedshift.arrays import Floats, Pixels, Values
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.relevance import Explainer
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import UsageError
from embedshift.pipeline.batches import encode_views
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Observer
from embedshift.questions.maps import ATTENTION, column_of
from embedshift.questions.maps.measure import CAPTION, IMAGE, MEASURE, areas, blurred, partial_images
from embedshift.sources import ImageRef
from embedshift.statistics.vectors import cosine, normalised


class OBSERVER(Observer):
    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        self._explainer: Explainer | None = None

    def prepare(self, measure: MEASURE) -> MEASURE:
        size = self.encoder.size
        views = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
        output = encode_views(self.encoder, views)
        prepared = measure.changed()
        if measure.target_setting != IMAGE:
            prepared.tower = str(getattr(self.text_tower, "weights_hash", ""))
        if measure.target_setting not in (IMAGE, CAPTION):
            prepared.target = normalised(self.text_vectors([measure.target_setting]))[0]
        maps = self._maps(measure, views, _target(prepared, "", output))
        prepared.grid = next(iter(maps.values())).shape[1:]
        prepared.has_attention = self.encoder.grid == prepared.grid
        return prepared

    def begin(self, measure: MEASURE, samples: Sequence[ImageRef]) -> MEASURE:
        captioned = [image for image in samples if image.image_id in measure.images]
        if measure.target_setting != CAPTION or not captioned:
            return measure
        vectors = normalised(self.text_vectors([str(image.caption) for image in captioned]))
        ids = (image.image_id for image in captioned)
        return measure.changed(captions=dict(zip(ids, vectors, strict=True)))

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        """Returns the maps, their comparisons and their scores; nothing for images that the seed did not draw."""
        image_id = image.sample.image_id
        return self._map_columns(measure, image, output) if image_id in measure.images else {}

    def seconds(self, measure: MEASURE, image: DrawnImage) -> float:
        output = encode_views(self.encoder, image.views)
        ready = self.begin(measure, [image.sample]) if image.sample.image_id in measure.images else measure
        started = time.perf_counter()
        self._map_columns(ready, image, output)
        return (time.perf_counter() - started) * measure.count

    def _map_columns(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> dict[str, Values]:
        image_id = image.sample.image_id
        target = _target(measure, image_id, output)
        maps = self._maps(measure, image.views, target)
        if measure.has_attention and output.attention is not None:
            maps = {ATTENTION: output.attention} | maps
        return measure.columns_from_maps(image, maps) | self._scores(measure, image, maps, target)

    def _scores(
        self, measure: MEASURE, image: DrawnImage, maps: Mapping[str, Floats], target: Values
    ) -> dict[str, Values]:
        original = image.views[0]
        orders = measure.orders(image.sample.image_id, maps)
        full, background = self._cosines(np.stack([original, blurred(original)]), target)
        values: dict[str, Values] = {}
        for name, patch_ranks in orders.items():
            scores = areas(self._cosines(partial_images(original, patch_ranks), target), full, background)
            values |= {column_of(name, kind): np.asarray(area) for kind, area in scores.items()}
        return values

    def _cosines(self, views: Pixels, target: Values) -> Values:
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


def _target(measure: MEASURE, image_id: str, output: EncoderOutput) -> Values:
    """Returns the vector to explain for an image and its views, `[D]` of length 1; by default its own embedding."""
    embedding = normalised(np.asarray(output.embedding[0], np.float64))
    return measure.captions.get(image_id, embedding) if measure.target is None else measure.target
