"""Tries the functions of the user on inputs of the encoder's size and length, before the first shard."""

from typing import Any

from embedshift.pipeline.measure import Observer


class OBSERVER(Observer):
    def prepare(self, measure: Any) -> Any:
        return measure.tried(self.encoder.size, self.encoder.dim)
