"""Runs beside the encoder: natural changes of the attacked originals, as a scale for the attack."""

import functools
from collections.abc import Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.views import draw_views
from embedshift.encoders.base import EncoderOutput
from embedshift.pipeline.batches import encode_views
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Observer
from embedshift.questions.worst_case import NATURAL, SUITE
from embedshift.questions.worst_case.measure import MEASURE
from embedshift.statistics.vectors import cosine


class OBSERVER(Observer):
    @functools.cached_property
    def _suite(self) -> Suite:
        """The augmentations, whose library takes a second to import, which no study without an attack needs."""
        return load_suite(SUITE)

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        if not measure.natural:
            return {}
        views, _ = draw_views(image.views[0], image.sample.image_id, self._suite, seed=measure.seed)
        batch = self.spec.batch_for(self.encoder)
        starts = range(1, len(views), batch)
        embeddings = [encode_views(self.encoder, views[start : start + batch]).embedding for start in starts]
        return {NATURAL: np.asarray(cosine(output.embedding[:1], np.concatenate(embeddings)), np.float64)}
