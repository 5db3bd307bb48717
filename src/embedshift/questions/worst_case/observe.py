"""Runs beside the encoder: natural changes of the attacked originals, as a scale for the attack."""

from collections.abc import Mapping

import numpy as np

from embedshift.arrays import Values
from embedshift.augmentations import load_suite
from embedshift.augmentations.views import draw_views
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.encoded import encode_views
from embedshift.pipeline.measure import Observer
from embedshift.questions.worst_case.columns import NATURAL, SUITE
from embedshift.questions.worst_case.measure import MEASURE
from embedshift.statistics.vectors import cosine


class OBSERVER(Observer):
    """Draws and encodes the views."""

    def __init__(self, spec: EncoderSpec, encoder: Encoder) -> None:
        super().__init__(spec, encoder)
        self._suite = load_suite(SUITE)

    def of_image(self, measure: MEASURE, image: DrawnImage, output: EncoderOutput) -> Mapping[str, Values]:
        """Returns the cosine of the original with each view; nothing if no attack made the variants."""
        if not measure.natural:
            return {}
        views, _ = draw_views(image.views[0], image.sample.image_id, self._suite, seed=measure.seed)
        together = self.spec.batch_for(self.encoder)
        starts = range(1, len(views), together)
        found = [encode_views(self.encoder, views[start : start + together]).embedding for start in starts]
        return {NATURAL: np.asarray(cosine(output.embedding[:1], np.concatenate(found)), np.float64)}
