"""The engines of one process: loader processes draw, this process encodes and measures; or vectors are read."""

import contextlib
from collections.abc import Generator, Sequence

import numpy as np

from embedshift.arrays import Floats
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.device import keep_memory, takes_all_cores
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.limit import TookTooLong, time_limit
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result, ShardInProgress, measure_shards
from embedshift.sources import ImageRef, Shard, VectorSource
from embedshift.sources.base import Failure, storable


def run_local(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    keep_memory()
    samples = [sample for shard in shards for sample in shard.samples]
    images = Images(samples, plan.source, plan.for_loaders(), draw_image)
    drawn = draw_all(images, loader_count(plan.config), in_turns=takes_all_cores(ready.encoder))
    with contextlib.closing(drawn):
        yield from measure_shards(shards, drawn, ready, plan, progress)


def read_blocks(shards: Sequence[Shard], plan: Plan) -> None:
    """Reads the blocks of archives before loaders are forked, which then share them."""
    if not loader_count(plan.config) or not plan.source.block(shards[0].samples[0]):
        return
    blocks = {plan.source.block(sample): sample for shard in shards for sample in shard.samples}
    for sample in blocks.values():
        # The loader reports the error.
        with contextlib.suppress(Exception, TookTooLong), time_limit(plan.config.image_timeout):
            plan.source.read(sample)


def run_vectors(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    """Measures vectors that exist, which are read instead of encoded."""
    assert isinstance(plan.source, VectorSource)
    for shard in shards:
        measured = ShardInProgress(shard, ready, plan)
        vectors = plan.source.vectors([sample.position for sample in shard.samples])
        measured.clock.lap("read")
        for sample, image_vectors in zip(shard.samples, vectors, strict=True):
            image = _without_pixels(sample, image_vectors, plan.source)
            measured.add(image)
            if isinstance(image, DrawnImage):
                measured.measure(iter([(EncoderOutput(image_vectors, None, None), None)]))
            progress(1)
        yield measured.result(plan.batch_size)


def _without_pixels(sample: ImageRef, vectors: Floats, source: VectorSource) -> DrawnImage | Failure:
    """Returns an image of which only vectors are known; a failure if one of them has a number that is none."""
    views = len(vectors)
    if (wrong := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        place = source.place(int(source.rows[sample.position, wrong[0]]))
        reason = f"{place} has a number that is NaN or infinite"
        return Failure(storable(sample.image_id), "read", reason)
    return DrawnImage(sample, None, np.zeros((views, 1, 1, 3), np.uint8), [0] * views, {}, {})
