"""One machine: loader processes read, decode and draw; this process encodes and measures."""

import itertools
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence

import cv2
import pyarrow as pa
from torch.utils.data import DataLoader, Dataset

from embedshift.encoders.base import Encoder
from embedshift.engines import Progress
from embedshift.errors import EmbedshiftError, reason
from embedshift.pipeline import DrawnImage, Plan, draw_image, measure_shard
from embedshift.shards import Failure, ShardRecord
from embedshift.sources import Sample, Shard, Source

Drawn = DrawnImage | Failure


def default_workers() -> int:
    """Loader processes where the user names none: one for each core but the first, at most 8."""
    return max(
        1, min(8, len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 2) - 1)
    )


def run_local(
    shards: Sequence[Shard], source: Source, encoder: Encoder, plan: Plan, workers: int, progress: Progress
) -> Iterator[tuple[pa.Table, ShardRecord]]:
    """Measures the shards one after another, the loader always some images ahead.

    Args:
        shards: What is still to be done.
        source: Reads the bytes.
        encoder: Encodes, in this process.
        plan: What to draw and measure.
        workers: Loader processes; 0 = draw in this process.
        progress: Called with 1 for every image that was drawn or failed.

    Returns:
        Per shard its rows and its record.
    """
    samples = [sample for shard in shards for sample in shard.samples]
    loader: DataLoader[Drawn] = DataLoader(
        _Images(samples, source, plan),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=8 if workers else None,
        worker_init_fn=_one_thread if workers else None,
        multiprocessing_context=_context() if workers else None,
    )
    drawn = _count(iter(loader), progress)
    for shard in shards:
        yield measure_shard(shard.index, itertools.islice(drawn, len(shard.samples)), encoder, plan)


class _Images(Dataset[Drawn]):
    def __init__(self, samples: Sequence[Sample], source: Source, plan: Plan) -> None:
        self._samples, self._source, self._plan = samples, source, plan

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Drawn:
        return draw_image(self._samples[index], self._source, self._plan)


def _count(drawn: Iterator[Drawn], progress: Progress) -> Iterator[Drawn]:
    try:
        for image in drawn:
            progress(1)
            yield image
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise EmbedshiftError(
            f"a loader process was ended from outside ({reason(error)[:120]}): out of memory? "
            "Use fewer --workers and run again"
        ) from error


def _one_thread(_worker: int) -> None:
    # The encoder has the cores; a pool of threads in each loader process would only get in its way.
    cv2.setNumThreads(1)


def _context() -> multiprocessing.context.BaseContext:
    # Forked workers take the user's own augmentations along, lambdas too. macOS's libraries do not survive a fork.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
