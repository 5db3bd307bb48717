"""Engines: who does the work of the pending shards. One interface, equal results."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from embedshift.encoders.base import Encoder
from embedshift.plan import Plan
from embedshift.shards import ShardRecord
from embedshift.sources import Shard, Source

__all__ = ["Engine", "Job", "Progress", "Result"]

Progress = Callable[[int], None]
Result = tuple[pa.Table, ShardRecord]


@dataclass(frozen=True)
class Job:
    """What an engine is asked to do.

    Args:
        shards: What is still to be done.
        source: Reads the bytes.
        plan: What to draw and measure.
        encoder: Loaded in this process; None = not yet.
        load: Loads it; `load(device=...)` on a device of this machine.
        workers: Loader processes beside each encoder; 0 = draw in the encoder's own process.
        progress: Called with a number of images whenever so many more are through.
        num_gpus: On a cluster: GPUs of one encoder; None = one where the cluster has any.
        concurrency: On a cluster: encoders at work at once; None = as many as fit.
        device: On one machine: the devices that encoders are loaded on, as in the settings; "" = `encoder` is all.
    """

    shards: Sequence[Shard]
    source: Source
    plan: Plan
    encoder: Encoder | None
    load: Callable[..., Encoder]
    workers: int
    progress: Progress
    num_gpus: float | None = None
    concurrency: int | None = None
    device: str = ""

    def with_batch(self, size: int) -> "Job":
        """The same in batches of `size`: what was too large for the memory once is too large again."""
        return replace(self, plan=replace(self.plan, batch_size=size))


# Yields the rows and the record of each shard as it is done, in any order.
Engine = Callable[[Job], Iterator[Result]]
