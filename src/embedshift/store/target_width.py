"""Whether the first shards of a study are enough: `until` ends a run when every relative shift is precise.

The end depends only on the rows of these shards, not on engine, order or kills; later shards are not kept.
"""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from embedshift.arrays import Values
from embedshift.config.processes import one_thread
from embedshift.registry import METRICS
from embedshift.statistics.baselines import SMALL, has_least, widths
from embedshift.statistics.layout import image_rows, metric_parts, scan
from embedshift.statistics.sample import gather
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import joined_sums
from embedshift.store.groups import Groups
from embedshift.store.info import StudyInfo, Until
from embedshift.store.shards import ShardRecord, shard_path, shard_sums

# Minimum fraction of images that a shard must add to be tested.
STEP = 0.02
SUMS = ("vectors", "normalised")


class TargetWidth:
    """Tests the intervals of a growing study, for its first shards without gaps."""

    def __init__(
        self, folder: Path, until: Until, augmentations: Sequence[str], seed: int, shards: int, groups: Groups | None
    ) -> None:
        self.until, self._next = until, 0
        self._folder, self._augmentations, self._seed, self._shards = folder, augmentations, seed, shards
        self._group = None if groups is None else dict(zip(groups.ids, groups.names, strict=True))
        self._waiting: dict[int, ShardRecord] = {}
        self._parts: list[tuple[Values, Values]] = []
        self._ids: list[str] = []
        self._sums: dict[str, list[tuple[int, dict[str, Values]]]] = {name: [] for name in SUMS}

    def add(self, record: ShardRecord) -> None:
        """Takes a finished shard, in any order; sets `until.shards` once they are enough."""
        self._waiting[record.index] = record
        while self.until.shards is None and self._next in self._waiting:
            self._take(self._waiting.pop(self._next))
            self._next += 1
            if self._is_due(self._next):
                self._test()

    def note(self) -> str:
        present, width = self.until.present, f"{self.until.width:g}"
        return "" if present is None else f"{self.until.augmentation} ±{present:.2g}, ends at ±{width}"

    def _take(self, record: ShardRecord) -> None:
        start, path = len(self._ids), shard_path(self._folder, record.index)
        if not record.images:
            return
        rows = image_rows(scan([path]))
        self._parts.extend(metric_parts(rows, self._augmentations, [COSINE]))
        ids = rows.frame.select("image_id").collect()["image_id"]
        self._ids += ids.gather_every(len(rows.layout.views)).to_list()
        for name, sums in self._sums.items():
            sums += [(start, part)] if (part := shard_sums(path, name)) else []

    def _is_due(self, shards: int) -> bool:
        """Returns whether to test at this number of shards: each if it adds enough images, else in steps."""
        steps = [math.floor(math.log(count) / math.log1p(STEP)) for count in (max(1, shards - 1), shards)]
        return shards >= self.until.kept and (steps[0] < steps[1] or shards in (1, self._shards))

    def _test(self) -> None:
        group, metric, images = self._group, METRICS[COSINE], len(self._ids)
        groups = None if group is None else Groups("", self._ids, [group[name] for name in self._ids]).numbers
        if not images or not self._augmentations or metric.baseline is None:
            return
        with one_thread():
            joined = functools.partial(joined_sums, self._sums.__getitem__, self._next, groups)
            baseline = metric.baseline(joined, images)
            if baseline is None:
                return
            sample = gather(self._parts, chunks=baseline.chunk_sizes, groups=groups)
            width, limits = self.until.width, (metric.low, metric.high)
            found = widths(sample, baseline, metric.no_change, limits, seed=self._seed, target=width)
        widest = int(np.argmax(np.nan_to_num(found, nan=np.inf)))
        self.until = Until(
            width=width,
            kept=self.until.kept,
            shards=self._next if has_least(sample, images) and (found <= width).all() else None,
            augmentation=self._augmentations[widest],
            present=float(found[widest]) if np.isfinite(found[widest]) else None,
        )


def why_ended(info: StudyInfo) -> str:
    """Returns in one sentence why a finished study with `until` has its number of images; "" for others."""
    until = info.until
    if not info.complete or until is None:
        return ""
    tried = f"{info.images_tried:,} of {info.counts.images:,} images"
    far = "has no interval" if until.present is None else f"ends within {until.present:.2g} x max({SMALL}, r)"
    widest = f"the widest, of {until.augmentation}, {far}" if until.augmentation else "none has an interval"
    if until.shards is None:
        return f"All {tried} were measured, but `until` {until.width:g} was not reached: {widest}."
    rule = f"the interval of every relative shift r ends within {until.width:g} x max({SMALL}, r) of it"
    return f"Ended after {tried} by `until` {until.width:g}: {rule}; {widest}."


def asked(
    stored: StudyInfo | None, width: float | None, done: Collection[int], other_groups: Callable[[], bool]
) -> tuple[Until | None, bool]:
    """Returns the target of a run, and whether it continues a study that `until` ended.

    Shards that a command with another width has measured are kept, whatever their intervals.
    """
    before, ended = (None, None) if stored is None else (stored.until, stored.ended)
    goes_on = ended is not None and (width is None or width < ended.width)
    if ended is not None and len(done) == ended.shards:
        goes_on = goes_on or other_groups()
    if width is None:
        return None, goes_on
    if before is not None and before.width == width and not goes_on:
        return Until(width=width, kept=before.kept), goes_on
    first_missing = next(index for index in range(len(done) + 1) if index not in done)
    return Until(width=width, kept=0 if stored is None else first_missing), goes_on


def discard(folder: Path, until: Until | None, done: Mapping[int, ShardRecord]) -> dict[int, ShardRecord]:
    """Deletes the shards behind the end; returns the others."""
    if until is None or until.shards is None:
        return dict(done)
    for index in done:
        if index >= until.shards:
            shard_path(folder, index).unlink(missing_ok=True)
    return {index: record for index, record in done.items() if index < until.shards}
