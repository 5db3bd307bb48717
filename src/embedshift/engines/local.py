"""One machine: loader processes read, decode and draw; this process encodes and measures."""

import collections
import concurrent.futures
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
from torch.utils.data import DataLoader, Dataset

from embedshift.engines.job import Job, Progress, Result
from embedshift.errors import EmbedshiftError, reason
from embedshift.pipeline.draw import DrawnImage, draw_image
from embedshift.pipeline.kept import keeping
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.shard import measure_shard
from embedshift.sources import Sample, Source
from embedshift.store.shards import Failure

Drawn = DrawnImage | Failure
VIEWS_AHEAD = 80  # at each loader, and as many that were received from all of them
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def run_local(job: Job) -> Iterator[Result]:
    """Measures the shards one after another, the loader always some images ahead of the encoder."""
    assert job.ready is not None, "the encoder is loaded before"
    keep_memory()
    samples = [sample for shard in job.shards for sample in shard.samples]
    ahead = max(2, VIEWS_AHEAD // (1 + job.plan.views))  # images
    loader: DataLoader[Drawn] = DataLoader(
        _Images(samples, job.source, job.plan),
        batch_size=None,
        num_workers=job.workers,
        prefetch_factor=ahead if job.workers else None,
        worker_init_fn=_end_with_parent if job.workers else None,
        multiprocessing_context=_context() if job.workers else None,
    )
    with _one_opencv_thread():
        drawn = _count(_received(iter(loader), ahead) if job.workers else iter(loader), job.progress)
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
        with contextlib.suppress(Exception):  # the loader will say what is wrong
            job.source.read(sample)


def keep_memory() -> None:
    """Tells glibc to keep freed memory for what comes next; other libraries of C are left as they are.

    An encoder on a CPU asks for the same tens of megabytes layer after layer. Given back to the kernel in between, they
    come as new pages every time, which cost CLIP ViT-B/32 in float32 15 % of its time.
    """
    with contextlib.suppress(OSError, AttributeError):
        set_option = ctypes.CDLL("libc.so.6").mallopt
        set_option(M_MMAP_THRESHOLD, 2**30)
        set_option(M_TRIM_THRESHOLD, 2**31 - 1)


class _Images(Dataset[Drawn]):
    def __init__(self, samples: Sequence[Sample], source: Source, plan: Plan) -> None:
        self._samples, self._source, self._plan = samples, source, plan

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Drawn:
        return draw_image(self._samples[index], self._source, self._plan)


def _received(drawn: Iterator[Drawn], ahead: int) -> Iterator[Drawn]:
    """What the workers hand over, taken from them while the encoder works, so many images ahead."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        waiting = collections.deque(thread.submit(next, drawn, None) for _ in range(ahead))
        while (image := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, drawn, None))
            yield image


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
            "Use fewer `workers` and run again"
        ) from error


def _end_with_parent(_worker: int) -> None:
    # A worker whose parent was killed, or left at Ctrl-C, would wait for ever to hand over what it has drawn.
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Sets OpenCV to one thread while workers are forked, and back.

    The encoder has the cores; a pool of threads in each worker would only get in its way. It is set before the fork: a
    worker that ends the pool it inherited waits for threads that it does not have, for ever.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _context() -> multiprocessing.context.BaseContext:
    # Forked workers take the user's own augmentations along, lambdas too. macOS's libraries do not survive a fork.
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
