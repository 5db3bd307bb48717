"""The engine of one machine and one device: loader processes draw, this process encodes and measures."""

import contextlib
import logging
from collections.abc import Generator, Sequence

import torch

from embedshift.encoders.base import EncoderInfo
from embedshift.encoders.device import keep_memory, takes_all_cores
from embedshift.engines.job import Progress, loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import TookTooLong, draw_image, time_limit
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result, measure_shards
from embedshift.sources import Shard

log = logging.getLogger(__name__)


def run_local(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    if not shards:
        return
    is_any_gpu = plan.config.device in ("auto", "cuda") and str(EncoderInfo.of(ready.encoder).device).startswith("cuda")
    if is_any_gpu and (devices := torch.cuda.device_count()) > 1:
        log.warning("one of %d GPUs is used; `engine` ray uses all of them", devices)
    with plan.spec.compiled(ready.encoder):
        yield from measure(shards, plan, ready, progress)


def measure(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    keep_memory()
    samples = [sample for shard in shards for sample in shard.samples]
    images = Images(samples, plan.source, plan.for_loaders(), draw_image)
    drawn = draw_all(images, loader_count(plan.config), in_turns=takes_all_cores(ready.encoder))
    with contextlib.closing(drawn):
        yield from measure_shards(shards, drawn, ready, plan, progress)


def read_blocks(shard: Shard, plan: Plan) -> None:
    """Reads the blocks of archives before loaders are forked, which then share them."""
    if not loader_count(plan.config) or not plan.source.block(shard.samples[0]):
        return
    for sample in {plan.source.block(sample): sample for sample in shard.samples}.values():
        # The loader reports the error.
        with contextlib.suppress(Exception, TookTooLong), time_limit(plan.config.image_timeout):
            plan.source.read(sample)
