"""Measures shards: drawn images in, batches of their views through the encoder, rows and a record out."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput, concatenate
from embedshift.errors import EmbedshiftError, Transient, reason
from embedshift.pipeline import records
from embedshift.pipeline.baseline import OtherImages, plan_of_sums
from embedshift.pipeline.batches import BatchEncoder, Encoded, Started
from embedshift.pipeline.draw import Clock
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.encoded import unusable
from embedshift.pipeline.measure import Sums
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.study_plan import StudyPlan
from embedshift.sources.base import Failure, Shard, storable
from embedshift.store.shards import ShardRecord, with_sums

Result = tuple[pa.Table, ShardRecord]


def measure_shards(
    shards: Iterable[Shard], drawn: Iterator[DrawnImage | Failure], ready: ReadyEncoder, plan: StudyPlan
) -> Iterator[Result]:
    """Yields the rows of each shard and its record; `drawn` gives the images of all shards in order."""
    encoder, batches = BatchEncoder(ready.encoder, plan.batch_size, plan.encodes_files), deque[_Batch]()
    for shard in shards:
        progress, views = ShardInProgress(shard, ready, plan), list[Pixels]()
        for number, image in enumerate(islice(drawn, len(shard.samples)), start=1):
            progress.clock.lap("wait")
            views.extend(progress.add(image))
            is_last_image = number == len(shard.samples)
            # The last batch of a shard is started below, even if it is full.
            while len(views) >= encoder.size + is_last_image:
                size = encoder.size
                batches.append(progress.start(encoder, views[:size]))
                del views[:size]
                yield from _finish(batches, encoder, running=1)
            progress.clock.restart()
        batches.append(progress.start(encoder, views, is_last=True))
        yield from _finish(batches, encoder, running=1)
    yield from _finish(batches, encoder, running=0)


@dataclass(frozen=True)
class _Batch:
    """Views of one shard that were given to the encoder; the last batch of a shard may be empty."""

    shard: "ShardInProgress"
    views: Sequence[Pixels]
    started: Started | None
    is_last: bool


def _finish(batches: deque[_Batch], encoder: BatchEncoder, *, running: int) -> Iterator[Result]:
    """Measures all batches except the last `running` ones; yields the shards that this completes."""
    while len(batches) > running or (batches and not callable(batches[0].started)):
        batch = batches.popleft()
        batch.shard.measure(encoder.finish(batch.views, batch.started))
        if batch.is_last:
            yield batch.shard.result(encoder.size)


class ShardInProgress:
    """The rows, sums and failures of a shard, and its images that are not encoded yet."""

    def __init__(self, shard: Shard, ready: ReadyEncoder, plan: StudyPlan) -> None:
        self._shard, self._ready, self._plan = shard, ready, plan
        self.clock, self._loading = Clock(), Counter[str]()
        self._measures = ready.begin(plan.measures, shard.samples)
        self._rows = records.Rows(records.columns(ready.encoder, plan), plan)
        for_sums = plan_of_sums(plan, shard.index)
        self._sums: dict[str, Sums] = {"baseline": OtherImages(self._measures, for_sums, len(shard.samples))}
        for measure in self._measures:
            self._sums |= measure.sums(for_sums)
        self._failures: list[Failure] = []
        self._images = deque[DrawnImage]()
        # Of the first views of these images: outputs, and for each view the error of the encoder.
        self._outputs: list[EncoderOutput] = []
        self._problems: list[Exception | None] = []

    def add(self, image: DrawnImage | Failure) -> Iterable[Pixels]:
        """Adds an image; returns its views, which the encoder needs."""
        if isinstance(image, Failure):
            self._failures.append(image)
            return ()
        self._loading.update(image.seconds)
        self._images.append(image)
        return image.inputs

    def start(self, encoder: BatchEncoder, views: Sequence[Pixels], *, is_last: bool = False) -> _Batch:
        self.clock.restart()
        started = encoder.start(views) if views else None
        self.clock.lap("encode")
        return _Batch(self, views, started, is_last)

    def measure(self, outputs: Iterator[Encoded]) -> None:
        self.clock.restart()
        for output, problem in outputs:
            self._outputs.append(output)
            self._problems += [problem] * len(output)
        self.clock.lap("encode")
        if not self._outputs:
            return
        rest = concatenate(self._outputs)
        while self._images and len(self._images[0].views) <= len(rest):
            image = self._images.popleft()
            count = len(image.views)
            self._measure_image(image, rest[:count], next(filter(None, self._problems[:count]), None))
            rest = rest[count:]
            del self._problems[:count]
        self._outputs = [rest] if len(rest) else []
        self.clock.lap("measure")

    def _measure_image(self, image: DrawnImage, output: EncoderOutput, problem: Exception | None) -> None:
        if words := f"the encoder failed: {reason(problem)}" if problem else unusable(output):
            transient = isinstance(problem, Transient)
            self._failures.append(Failure(storable(image.sample.image_id), "encode", words, transient))
            return
        output = output.without(image.missing)
        try:
            values = records.measure(image, output, self._measures, self._plan)
        except EmbedshiftError as error:
            self._failures.append(Failure(storable(image.sample.image_id), "measure", reason(error)))
            return
        self._rows.add(image, output, values | self._ready.of_image(self._measures, image, output))
        for sums in self._sums.values():
            sums.add(image, output)

    def result(self, batch_size: int) -> Result:
        self.clock.restart()
        table = with_sums(self._rows.table(), {name: sums.close() for name, sums in self._sums.items()})
        self.clock.lap("measure")
        order = {storable(sample.image_id): position for position, sample in enumerate(self._shard.samples)}
        record = ShardRecord(
            self._shard.index,
            self._plan.config_hash,
            len(self._rows),
            tuple(sorted(self._failures, key=lambda failure: order[failure.image_id])),
            batch_size,
            dict(self._loading) | self.clock.seconds,
            written=time.time(),
        )
        return table, record
