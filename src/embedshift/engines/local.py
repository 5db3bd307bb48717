"""The engine of one process: loader processes draw, this process encodes and measures."""

import contextlib
from collections.abc import Generator, Sequence

from embedshift.encoders.device import keep_memory, takes_all_cores
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.limit import TookTooLong, time_limit
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result, measure_shards
from embedshift.sources import Shard


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
