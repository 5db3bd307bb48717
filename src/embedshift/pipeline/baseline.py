"""The baseline of every metric: its values for different images, from pairs of originals of one shard."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.encoders.base import EncoderOutput, concatenate
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Measure, Sums
from embedshift.pipeline.plan import Plan
from embedshift.sources import ImageRef
from embedshift.statistics.baselines import KEPT

# Pairs of a study, or all that exist; and images per pair in a large study.
LEAST_PAIRS, IMAGES_PER_PAIR = 200, 16
# Originals that are kept to be paired: their views are in memory until the shard ends.
MOST_KEPT = 64

Original = tuple[ImageRef, Pixels, EncoderOutput]


def pair_count(shard_images: int, study_images: int) -> int:
    count = -(-LEAST_PAIRS * shard_images // max(1, study_images))
    return min(max(count, shard_images // IMAGES_PER_PAIR), shard_images * (shard_images - 1) // 2)


def plan_of_sums(plan: Plan, shard: int) -> Plan:
    """Returns the plan for the sums of a shard, by which they are as fine as if the study ended with this shard.

    `until` may end it there.
    """
    return replace(plan, images=min(plan.images, max(KEPT + 1, (shard + 1) * plan.config.shard_size)))


def index_pairs(count: int) -> Iterator[tuple[int, int]]:
    for lag in range(1, count):
        for first in (*range(0, count - lag, 2), *range(1, count - lag, 2)):
            yield first, first + lag


class OtherImages(Sums):
    """Metrics of pairs of originals."""

    def __init__(self, measures: Sequence[Measure], plan: Plan, images: int) -> None:
        self.measures, self.plan = measures, plan
        self.pairs = pair_count(images, plan.images)
        self._most = min(MOST_KEPT, 2 * self.pairs)
        self._originals: list[Original] = []

    def add(self, image: DrawnImage, output: EncoderOutput) -> None:
        """Adds an original until there are enough."""
        if len(self._originals) < self._most:
            # Copies, because a slice keeps the whole array in memory: 14 MB for an image of 92 views.
            self._originals.append((image.sample, image.views[0].copy(), concatenate([output[:1]])))

    def close(self) -> Mapping[str, Values]:
        """Returns `values`, the metrics of each pair `[P, M]` in the plan's order, and `images`, its positions."""
        pairs = list(itertools.islice(index_pairs(len(self._originals)), self.pairs))
        measured = [self._measure(self._originals[first], self._originals[second]) for first, second in pairs]
        values = np.array([[row.get(name, np.nan) for name in self.plan.metrics] for row in measured], np.float64)
        return {} if np.isnan(values).all() else {"values": values, "images": np.array(pairs, np.float64)}

    def _measure(self, first: Original, second: Original) -> dict[str, float]:
        (sample, view, output), (other_sample, other_view, other_output) = first, second
        views, outputs = np.stack([view, other_view]), concatenate([output, other_output])
        values: dict[str, float] = {}
        for measure in self.measures:
            values |= measure.of_pair(views, outputs, (sample, other_sample), self.plan)
        return values
