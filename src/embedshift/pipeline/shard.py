"""Measures shards: read, draw, encode, measure, rows; each pass starts before the previous output is read."""

import functools
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from embedshift.arrays import Pixels
from embedshift.encoders.base import Encoder, EncoderOutput
from embedshift.pipeline import records
from embedshift.pipeline.baseline import OtherImages
from embedshift.pipeline.batches import Batch, Encoded
from embedshift.pipeline.draw import Clock, DrawnImage
from embedshift.pipeline.encoded import unusable
from embedshift.pipeline.kept import Kept
from embedshift.pipeline.measure import Sums
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.sources import Shard
from embedshift.sources.base import storable
from embedshift.store.shards import Failure, ShardRecord, with_sums

Result = tuple[pa.Table, ShardRecord]


@dataclass(frozen=True)
class Step:
    """A started pass."""

    finish: Callable[[], Result | None]
    is_begun: bool


def measure_shards(
    shards: Iterable[Shard], drawn: Iterator[DrawnImage | Failure], ready: ReadyEncoder, plan: Plan, kept: Kept
) -> Iterator[Result]:
    """Yields the rows of each shard, and its record; batches never cross a shard."""
    for result in _one_behind(_steps(shards, drawn, ready, plan, kept)):
        if result is not None:
            yield result


def _one_behind(steps: Iterator[Step]) -> Iterator[Result | None]:
    """Yields the result of each step, read after the next pass has started."""
    last: Step | None = None
    for step in steps:
        if last is not None:
            yield last.finish()
        last = step if step.is_begun else None
        if not step.is_begun:
            yield step.finish()
    if last is not None:
        yield last.finish()


def _steps(
    shards: Iterable[Shard], drawn: Iterator[DrawnImage | Failure], ready: ReadyEncoder, plan: Plan, kept: Kept
) -> Iterator[Step]:
    """Starts the passes, one after the other."""
    batch = Batch(plan.batch_size)
    for shard in shards:
        now = _UnderWay(shard, ready, plan, batch, kept)
        now.clock.restart()
        for left, image in enumerate(itertools.islice(drawn, len(shard.samples)), 1 - len(shard.samples)):
            now.clock.lap("wait")
            yield from now.take(image, is_last=not left)
            now.clock.restart()
        yield now.last()


class _UnderWay:
    """A shard in progress."""

    def __init__(self, shard: Shard, ready: ReadyEncoder, plan: Plan, batch: Batch, kept: Kept) -> None:
        self.shard, self.plan, self.batch, self.kept = shard, plan, batch, kept
        self.clock, self._loading = Clock(), Counter[str]()
        self._encoder: Encoder = kept.encoder(ready.encoder, shard)
        self._ready = ready
        self._measures = ready.begin(plan.measures, shard.samples)
        self._rows = records.Rows(records.columns(ready.encoder, plan), plan)
        self._sums: dict[str, Sums] = {"baseline": OtherImages(self._measures, plan, len(shard.samples))}
        self._sums |= {name: each for measure in self._measures for name, each in measure.sums(plan).items()}
        self._failures: list[Failure] = []
        self._waiting: list[DrawnImage] = []  # images whose views are not all encoded
        self._views: list[Pixels] = []  # of images that wait, not yet given to the encoder
        self._encoded = Encoded()

    def take(self, image: DrawnImage | Failure, *, is_last: bool) -> Iterator[Step]:
        """Adds an image; starts a pass for each full batch, except the shard's last."""
        if isinstance(image, Failure):
            self._failures.append(image)
            return
        self._loading.update(image.seconds)
        self._waiting.append(image)
        self._views.extend(image.views)
        while len(self._views) >= self.batch.size + is_last:
            yield self._begin(self.batch.size)

    def last(self) -> Step:
        """Starts the last pass."""
        last = self._begin(len(self._views)) if self._views else None
        return Step(functools.partial(self._end, last), last is not None and last.is_begun)

    def _begin(self, count: int) -> Step:
        views, self._views = self._views[:count], self._views[count:]
        self.clock.restart()
        begun = self.batch.begin(self._encoder, views)
        self.clock.lap("encode")
        return Step(functools.partial(self._finish, begun.finish), begun.is_begun)

    def _finish(self, finish: Callable[[], Encoded]) -> None:
        self.clock.restart()
        self._encoded.extend(finish())
        self.clock.lap("encode")
        for encoded in self._encoded.take(self._waiting):
            if isinstance(encoded, Failure):
                self._failures.append(encoded)
            else:
                self._measure(*encoded)
        self.clock.lap("measure")

    def _measure(self, image: DrawnImage, output: EncoderOutput) -> None:
        if problem := unusable(output):
            self._failures.append(Failure(storable(image.sample.image_id), "encode", problem))
            return
        output = output.without(image.missing)
        values = records.measure(image, output, self._measures, self.plan)
        self._rows.add(image, output, values | self._ready.of_image(self._measures, image, output))
        for each in self._sums.values():
            each.add(image, output)

    def _end(self, last: Step | None) -> Result:
        if last is not None:
            last.finish()
        self.kept.done(self.shard)
        self.clock.restart()
        table = with_sums(self._rows.table(), {name: each.close() for name, each in self._sums.items()})
        self.clock.lap("measure")
        record = ShardRecord(
            self.shard.index,
            self.plan.config_hash,
            len(self._rows),
            _in_order(self._failures, self.shard),
            self.batch.size,
            dict(self._loading) | self.clock.seconds,
            written=time.time(),
        )
        return table, record


def _in_order(failures: Sequence[Failure], shard: Shard) -> tuple[Failure, ...]:
    """Returns failures in the order of the images."""
    places = {storable(sample.image_id): place for place, sample in enumerate(shard.samples)}
    return tuple(sorted(failures, key=lambda failure: places[failure.image_id]))
