"""One machine: loader processes read, decode and draw; this process encodes and measures."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import replace

from embedshift.encoders.device import keep_memory
from embedshift.engines.job import Job, Progress, Result
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import DrawnImage, draw_image
from embedshift.pipeline.kept import keeping
from embedshift.pipeline.limit import TookTooLong, time_limit
from embedshift.pipeline.shard import measure_shard
from embedshift.store.shards import Failure


def run_local(job: Job) -> Iterator[Result]:
    """Measures the shards one after another, the loader always some images ahead of the encoder."""
    assert job.ready is not None, "the encoder is loaded before"
    keep_memory()
    samples = [sample for shard in job.shards for sample in shard.samples]
    with contextlib.closing(draw_all(Images(samples, job.source, job.plan, draw_image), job.workers)) as ahead:
        drawn = _count(ahead, job.progress)
        for shard in job.shards:
            with keeping(job.ready.encoder, job.folder, shard, job.plan) as encoder:
                images = itertools.islice(drawn, len(shard.samples))
                table, record = measure_shard(shard, images, replace(job.ready, encoder=encoder), job.plan)
            job = job.with_batch(record.batch_size)
            yield table, record


def read_blocks(job: Job) -> None:
    """Reads an image of every block that the shards stand in.

    Loaders that are forked for these shards alone then find the blocks in memory, where a source keeps them.
    """
    if not job.workers or not job.source.block(job.shards[0].samples[0]):
        return
    blocks = {job.source.block(sample): sample for shard in job.shards for sample in shard.samples}
    for sample in blocks.values():
        # The loader will say what is wrong.
        with contextlib.suppress(Exception, TookTooLong), time_limit(job.config.image_timeout):
            job.source.read(sample)


def _count(drawn: Iterator[DrawnImage | Failure], progress: Progress) -> Iterator[DrawnImage | Failure]:
    for image in drawn:
        progress(1)
        yield image
