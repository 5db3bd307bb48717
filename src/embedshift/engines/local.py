"""The engine for one machine: loader processes read, decode and draw; this process encodes and measures."""

import contextlib
from collections.abc import Iterator

from embedshift.encoders.device import keep_memory, takes_all_cores
from embedshift.engines.job import Job, Progress
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.limit import TookTooLong, time_limit
from embedshift.pipeline.shard import Result, measure_shards
from embedshift.sources.base import Failure


def run_local(job: Job) -> Iterator[Result]:
    assert job.ready is not None, "the encoder is loaded before"
    keep_memory()
    samples = [sample for shard in job.shards for sample in shard.samples]
    images, in_turns = Images(samples, job.source, job.plan, draw_image), takes_all_cores(job.ready.encoder)
    with contextlib.closing(draw_all(images, job.workers, in_turns=in_turns)) as ahead:
        yield from measure_shards(job.shards, _count(ahead, job.progress), job.ready, job.plan)


def read_blocks(job: Job) -> None:
    if not job.workers or not job.source.block(job.shards[0].samples[0]):
        return
    blocks = {job.source.block(sample): sample for shard in job.shards for sample in shard.samples}
    for sample in blocks.values():
        # The loader reports the error.
        with contextlib.suppress(Exception, TookTooLong), time_limit(job.config.image_timeout):
            job.source.read(sample)


def _count(drawn: Iterator[DrawnImage | Failure], progress: Progress) -> Iterator[DrawnImage | Failure]:
    for image in drawn:
        progress(1)
        yield image
