"""Measures shards: drawn images in, rows and a record out."""

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput, concatenate
from embedshift.errors import EmbedshiftError, Transient, reason
from embedshift.pipeline.batches import BatchEncoder, Encoded, Started, unusable
from embedshift.pipeline.draw import Clock
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.measure import Sums
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.records import Rows, SampledPairs, plan_of_sums
from embedshift.sources.base import Failure, Shard, storable
from embedshift.store.shards import ShardRecord, with_sums

Result = tuple[pa.Table, ShardRecord]
# Called with the number of newly measured images.
Progress = Callable[[int], None]


def no_progress(_images: int) -> None: ...


def measure_shards(
    shards: Iterable[Shard],
    drawn: Iterator[DrawnImage | Failure],
    ready: ReadyEncoder,
    plan: Plan,
    progress: Progress = no_progress,
) -> Iterator[Result]:
    encoder, batches = BatchEncoder(ready.encoder, plan.batch_size, plan.encodes_files), deque[_Batch]()
    for shard in shards:
        rows, views = ShardInProgress(shard, ready, plan), list[Pixels]()
        for number, image in enumerate(islice(drawn, len(shard.samples)), start=1):
            progress(1)
            rows.clock.lap("wait")
            views.extend(rows.add(image))
            is_last_image = number == len(shard.samples)
            # The last batch of a shard is started below, even if it is full.
            while len(views) >= encoder.size + is_last_image:
                size = encoder.size
                batches.append(rows.start(encoder, views[:size]))
                del views[:size]
                yield from _finish(batches, encoder, running=1)
            rows.clock.restart()
        batches.append(rows.start(encoder, views, is_last=True))
        yield from _finish(batches, encoder, running=1)
    yield from _finish(batches, encoder, running=0)


@dataclass(frozen=True)
class _Batch:
    """Views of one shard sent to the encoder; the last batch of a shard may be empty."""

    shard: "ShardInProgress"
    views: Sequence[Pixels]
    started: Started | None
    is_last: bool


def _finish(batches: deque[_Batch], encoder: BatchEncoder, *, running: int) -> Iterator[Result]:
    """Measures all batches except the last `running` ones; yields completed shards."""
    while len(batches) > running or (batches and not callable(batches[0].started)):
        batch = batches.popleft()
        batch.shard.measure(encoder.finish(batch.views, batch.started))
        if batch.is_last:
            yield batch.shard.result(encoder.size)


class ShardInProgress:
    def __init__(self, shard: Shard, ready: ReadyEncoder, plan: Plan) -> None:
        self._shard, self._plan = shard, plan
        self.clock, self._loading = Clock(), Counter[str]()
        observers = [ready.observers[measure.question] for measure in plan.measures]
        self._questions = [
            (observer.begin(measure, shard.samples), observer)
            for measure, observer in zip(plan.measures, observers, strict=True)
        ]
        measures = [measure for measure, _ in self._questions]
        self._rows = Rows(plan)
        for_sums = plan_of_sums(plan, shard.index)
        self._sums: dict[str, Sums] = {"baseline": SampledPairs(measures, for_sums, len(shard.samples))}
        for measure in measures:
            self._sums |= measure.sums(for_sums)
        self._failures: list[Failure] = []
        self._images = deque[DrawnImage]()
        # Number of outputs of an image for its views, and for each measure's images beside them.
        counts = [1 + plan.views, *(measure.count_beside(1 + plan.views) for measure in measures)]
        self._ends = [*itertools.accumulate(counts)]
        # Of the first images: outputs, and for each the error of the encoder.
        self._outputs: list[EncoderOutput] = []
        self._problems: list[Exception | None] = []

    def add(self, image: DrawnImage | Failure) -> Iterable[Pixels]:
        if isinstance(image, Failure):
            self._failures.append(image)
            return ()
        self._loading.update(image.seconds)
        self._images.append(image)
        return [*image.encoded, *(view for measure, _ in self._questions for view in measure.beside(image))]

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
        count = self._ends[-1]
        while self._images and count <= len(rest):
            image = self._images.popleft()
            self._measure_image(image, rest[:count], next(filter(None, self._problems[:count]), None))
            rest = rest[count:]
            del self._problems[:count]
        self._outputs = [rest] if len(rest) else []
        self.clock.lap("measure")

    def _measure_image(self, image: DrawnImage, output: EncoderOutput, problem: Exception | None) -> None:
        ends = self._ends
        if words := f"the encoder failed: {reason(problem)}" if problem else self._unusable(output):
            transient = isinstance(problem, Transient)
            self._failures.append(Failure(storable(image.sample.image_id), "encode", words, transient))
            return
        whole, output = output, output[: ends[0]].without(image.missing)
        try:
            values = dict(image.pixels)
            for (measure, _), (start, end) in zip(self._questions, itertools.pairwise(ends), strict=True):
                values |= measure.of_output(image, output, self._plan)
                if end > start:
                    values |= measure.of_beside(image, whole[start:end])
        except EmbedshiftError as error:
            self._failures.append(Failure(storable(image.sample.image_id), "measure", reason(error)))
            return
        for measure, observer in self._questions:
            values |= observer.of_image(measure, image, output)
        self._rows.add(image, output, values)
        for sums in self._sums.values():
            sums.add(image, output)

    def _unusable(self, output: EncoderOutput) -> str | None:
        if (words := unusable(output)) is None:
            return None
        return unusable(output[: self._ends[0]]) or f"{words} (of a tile or a mirror image)"

    def result(self, batch_size: int) -> Result:
        self.clock.restart()
        table = with_sums(self._rows.table(), {name: sums.close() for name, sums in self._sums.items()})
        self.clock.lap("measure")
        order = {storable(sample.image_id): position for position, sample in enumerate(self._shard.samples)}
        record = ShardRecord(
            self._shard.index,
            self._plan.config_hash,
            len(self._rows.images),
            tuple(sorted(self._failures, key=lambda failure: order[failure.image_id])),
            batch_size,
            dict(self._loading) | self.clock.seconds,
            written=time.time(),
        )
        return table, record
