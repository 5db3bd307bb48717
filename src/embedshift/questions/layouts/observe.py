"""Says how long the vectors of the encoder are."""

from embedshift.pipeline.measure import Observer
from embedshift.questions.layouts.measure import MEASURE


class OBSERVER(Observer):
    def prepare(self, measure: MEASURE) -> MEASURE:
        return measure.changed(dim=self.encoder.dim)
