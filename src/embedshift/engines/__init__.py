"""Engines: who does the work of the pending shards. One interface, equal results."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from embedshift.encoders.base import Encoder
from embedshift.pipeline import Plan
from embedshift.shards import ShardRecord
from embedshift.sources import Shard, Source

__all__ = ["Engine", "Progress"]

Progress = Callable[[int], None]
Engine = Callable[[Sequence[Shard], Source, Encoder, Plan, int, Progress], Iterator[tuple[pa.Table, ShardRecord]]]
