"""The baseline of every metric: its values for other images, as pairs of originals of one shard."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embedshift.arrays import Pixels, Values
from embedshift.encoders.base import EncoderOutput, concatenate
from embedshift.pipeline.draw import DrawnImage
from embedshift.pipeline.measure import Measure, Sums
from embedshift.sources import ImageRef

if TYPE_CHECKING:
    from embedshift.pipeline.plan import Plan

# Pairs of a study, or all that exist; and images per pair in a large study.
LEAST_PAIRS, IMAGES_PER_PAIR = 200, 16
# Originals that are kept to be paired: their views are in memory until the shard ends.
MOST_KEPT = 64


def pairs_wanted(shard_images: int, study_images: int) -> int:
    """Returns how many pairs of originals a shard measures."""
    relative_shift = -(-LEAST_PAIRS * shard_images // max(1, study_images))
    return min(max(relative_shift, shard_images // IMAGES_PER_PAIR), shard_images * (shard_images - 1) // 2)


def pairs_of(count: int) -> Iterator[tuple[int, int]]:
    """Yields all pairs of `count` items, first those that share no item."""
    for lag in range(1, count):
        for first in (*range(0, count - lag, 2), *range(1, count - lag, 2)):
            yield first, first + lag


class OtherImages(Sums):
    """Sums of metrics over pairs of originals."""

    def __init__(self, measures: Sequence[Measure], plan: "Plan", images: int) -> None:
        self.measures, self.plan = measures, plan
        self.pairs = pairs_wanted(images, plan.images)
        self._most = min(MOST_KEPT, 2 * self.pairs)
        self._kept: list[tuple[ImageRef, Pixels, EncoderOutput]] = []

    def add(self, image: DrawnImage, output: EncoderOutput) -> None:
        """Adds an original until there are enough."""
        if len(self._kept) < self._most:
            # Copies, because a slice keeps the whole array in memory: 14 MB for an image of 92 views.
            self._kept.append((image.sample, image.views[0].copy(), concatenate([output[:1]])))

    def close(self) -> Mapping[str, Values]:
        """Returns by metric, in the plan's order, `[M]`: `sums`, `squares`, `pairs` and `images`, without NaN."""
        metrics = self.plan.metrics
        totals = {name: np.zeros(len(metrics)) for name in ("sums", "squares", "pairs", "images")}
        seen = np.zeros((len(metrics), len(self._kept)), bool)
        for (one, other), _ in zip(pairs_of(len(self._kept)), range(self.pairs), strict=False):
            values = self._values(one, other)
            found = np.array([values.get(name, np.nan) for name in metrics])
            there = ~np.isnan(found)
            seen[there, one] = seen[there, other] = True
            found = np.where(there, found, 0.0)
            for name, part in (("sums", found), ("squares", found**2), ("pairs", there)):
                totals[name] += part
        totals["images"] += seen.sum(axis=1)
        return totals if totals["pairs"].any() else {}

    def _values(self, one: int, other: int) -> dict[str, float]:
        """Returns the metrics of one pair."""
        (first, view, output), (second, other_view, other_output) = self._kept[one], self._kept[other]
        views, both = np.stack([view, other_view]), concatenate([output, other_output])
        found: dict[str, float] = {}
        for each in self.measures:
            found |= each.of_pair(views, both, (first, second), self.plan)
        return found
