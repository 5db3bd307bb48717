"""One shard: read → views → encode → measure → records."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift import images
from embedshift.augmentations import ORIGINAL, Suite, draw_views
from embedshift.encoders.base import Encoder, EncoderOutput, Preprocess
from embedshift.errors import EmbedshiftError, cause, reason
from embedshift.metrics import METRICS
from embedshift.metrics.embedding import pairwise_cosine_distances
from embedshift.shards import Failure, ShardRecord, fixed_lists, schema, storable
from embedshift.sources import Sample, Source

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What decides the rows of a study, beside the images and the encoder."""

    suite: Suite
    preprocess: Preprocess
    resize: images.Resize
    seed: int
    draws: int
    metrics: tuple[str, ...]
    batch_size: int
    config_hash: str

    def of_family(self, family: str) -> list[str]:
        """The study's metrics of one family."""
        return [name for name in self.metrics if METRICS[name].family == family]


@dataclass(frozen=True)
class DrawnImage:
    """One image on its way to the encoder: its views `[1 + A * draws, S, S, 3]` and what their pixels say."""

    sample: Sample
    views: NDArray[np.uint8]
    seeds: list[int]
    pixels: dict[str, Values]
    seconds: dict[str, float]


@dataclass
class Clock:
    """Seconds per stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Counts the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def draw_image(sample: Sample, source: Source, plan: Plan) -> DrawnImage | Failure:
    """Reads one image, draws its views once, and measures their pixels; whatever goes wrong becomes a `Failure`."""
    if sample.problem is not None:
        return Failure(storable(sample.image_id), "list", sample.problem)
    clock, stage = Clock(), "read"
    try:
        data = source.read(sample)
        clock.lap(stage)
        stage = "decode"
        picture = images.decode(data)
        preprocess = plan.preprocess
        original = images.resize(
            picture, preprocess.size, plan.resize, shortest=preprocess.shortest, resample=preprocess.resample
        )
        clock.lap(stage)
        stage = "draw"
        views, seeds = draw_views(original, sample.image_id, plan.suite, seed=plan.seed, draws=plan.draws)
        clock.lap(stage)
        stage = "measure"
        pixels = {name: METRICS[name].function(views[:1], views[1:]) for name in plan.of_family("pixels")}
        clock.lap("pixels")
    except Exception as error:
        return Failure(storable(sample.image_id), stage, cause(error))
    return DrawnImage(sample, views, seeds, pixels, clock.seconds)


def encode(
    drawn: Iterable[DrawnImage], encoder: Encoder, batch_size: int
) -> Iterator[tuple[DrawnImage, EncoderOutput]]:
    """Encodes views in batches of `batch_size` that run across images, and gives each image its own part back."""
    waiting: list[DrawnImage] = []
    views: list[NDArray[np.uint8]] = []
    outputs: list[EncoderOutput] = []
    for image in drawn:
        waiting.append(image)
        views.extend(image.views)
        while len(views) >= batch_size:
            outputs.append(_forward(encoder, views[:batch_size]))
            del views[:batch_size]
        yield from _hand_out(waiting, outputs)
    if views:
        outputs.append(_forward(encoder, views))
    yield from _hand_out(waiting, outputs)


def _forward(encoder: Encoder, views: Sequence[NDArray[np.uint8]]) -> EncoderOutput:
    try:
        return encoder(np.stack(views))
    except Exception as error:
        raise EmbedshiftError(
            f"the encoder {encoder.name} failed on a batch of {len(views)} views: {reason(error)}"
        ) from error


def _hand_out(waiting: list[DrawnImage], outputs: list[EncoderOutput]) -> Iterator[tuple[DrawnImage, EncoderOutput]]:
    """Gives out the images at the front whose views are all encoded, and keeps the rest in both lists."""
    if not outputs:
        return
    merged = _concatenate(outputs)
    start = 0
    while waiting and start + len(waiting[0].views) <= len(merged.embedding):
        image = waiting.pop(0)
        yield image, _slice(merged, start, start + len(image.views))
        start += len(image.views)
    outputs[:] = [_slice(merged, start, None)] if start < len(merged.embedding) else []


def _slice(output: EncoderOutput, start: int, stop: int | None) -> EncoderOutput:
    attention = None if output.attention is None else output.attention[start:stop]
    return EncoderOutput(output.embedding[start:stop], attention, output.attention_kind)


def _concatenate(outputs: Sequence[EncoderOutput]) -> EncoderOutput:
    maps = [o.attention for o in outputs if o.attention is not None]
    embedding = np.concatenate([o.embedding for o in outputs])
    return EncoderOutput(embedding, np.concatenate(maps) if maps else None, outputs[0].attention_kind)


def measure(image: DrawnImage, output: EncoderOutput, plan: Plan) -> dict[str, Values]:
    """All metrics of one image's augmented views, `[A * draws]` each, and `pairwise` `[draws, pairs]`."""
    embedding, maps = output.embedding, output.attention
    values = dict(image.pixels)
    for name in plan.of_family("embedding"):
        values[name] = METRICS[name].function(embedding[:1], embedding[1:])
    for name in plan.of_family("attention"):
        empty = np.full(len(embedding) - 1, np.nan)
        values[name] = empty if maps is None else METRICS[name].function(maps[:1], maps[1:], plan.preprocess.size)
    values["pairwise"] = pairwise_cosine_distances(embedding[1:].reshape(plan.draws, len(plan.suite.names), -1))
    return values


def measure_shard(
    index: int, drawn: Iterable[DrawnImage | Failure], encoder: Encoder, plan: Plan
) -> tuple[pa.Table, ShardRecord]:
    """The rows of one shard, and its record; batches never cross a shard."""
    failures: list[Failure] = []
    tables: list[pa.Table] = []
    clock, worker_seconds = Clock(), Clock()

    def good() -> Iterator[DrawnImage]:
        for image in drawn:
            clock.lap("wait")
            if isinstance(image, Failure):
                failures.append(image)
                continue
            for stage, seconds in image.seconds.items():
                worker_seconds.seconds[stage] = worker_seconds.seconds.get(stage, 0.0) + seconds
            yield image
            clock.lap("encode")

    for image, output in encode(good(), encoder, plan.batch_size):
        clock.lap("encode")
        if np.isfinite(output.embedding).all():
            tables.append(_rows(image, output, measure(image, output, plan), plan))
        else:
            words = "the encoder's embedding holds values that are not finite"
            failures.append(Failure(storable(image.sample.image_id), "encode", words))
        clock.lap("measure")
    cells = None if encoder.grid is None else encoder.grid[0] * encoder.grid[1]
    columns = schema(encoder.dim, cells, plan.metrics)
    table = pa.concat_tables([part.cast(columns) for part in tables]) if tables else columns.empty_table()
    seconds = worker_seconds.seconds | clock.seconds
    return table, ShardRecord(index, plan.config_hash, len(tables), tuple(failures), plan.batch_size, seconds)


def _rows(image: DrawnImage, output: EncoderOutput, values: dict[str, Values], plan: Plan) -> pa.Table:
    """One image's rows: the original, then draw by draw the augmentations in suite order."""
    names, count = plan.suite.names, len(image.views)
    attention = pa.nulls(count, pa.list_(pa.float32()))
    if output.attention is not None:
        attention = fixed_lists(output.attention.reshape(count, -1))
    nothing = np.full(1, np.nan)
    columns: dict[str, pa.Array] = {
        "image_id": pa.array([storable(image.sample.image_id)] * count),
        "view": pa.array([ORIGINAL, *(names * plan.draws)]),
        "draw": pa.array([0, *np.repeat(np.arange(plan.draws), len(names))], pa.int32()),
        "view_seed": pa.array(image.seeds, pa.int64()),
        "embedding": fixed_lists(output.embedding),
        "attention": attention,
    }
    for name in plan.metrics:
        column = np.concatenate([nothing, values[name]])
        missing = np.arange(count) == 0
        if METRICS[name].family == "attention" and output.attention is None:
            missing[:] = True
        columns[name] = pa.array(column, pa.float64(), mask=missing)
    pairs: list[list[float] | None] = [values["pairwise"].ravel().tolist(), *([None] * (count - 1))]
    columns["pairwise"] = pa.array(pairs, pa.list_(pa.float32()))
    columns["caption"] = pa.array([image.sample.caption] * count, pa.string())
    return pa.table(columns)
