"""The engine of existing vectors, which are read instead of encoded, without torch."""

from collections.abc import Generator, Sequence

import numpy as np
from numpy.typing import NDArray

from embedshift.encoders.base import EncoderOutput
from embedshift.engines.job import Progress
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result, ShardInProgress
from embedshift.sources import ImageRef, Shard, VectorSource
from embedshift.sources.base import Failure, storable
from embedshift.sources.vectors import INFINITE


def run_vectors(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
    assert isinstance(plan.source, VectorSource)
    for shard in shards:
        measured = ShardInProgress(shard, ready, plan)
        vectors = plan.source.vectors([sample.position for sample in shard.samples])
        measured.clock.lap("read")
        finite = np.asarray(np.isfinite(vectors).all(axis=-1))
        for sample, numbers in zip(shard.samples, finite, strict=True):
            measured.add(_without_pixels(sample, numbers, plan.source))
        known = vectors[finite.all(axis=-1)].reshape(-1, vectors.shape[2])
        measured.measure(iter([(EncoderOutput(known, None, None), None)] if len(known) else []))
        progress(len(shard.samples))
        yield measured.result(plan.batch_size)


def _without_pixels(sample: ImageRef, finite: NDArray[np.bool_], source: VectorSource) -> DrawnImage | Failure:
    """Returns an image with vectors only; a failure if one of them has NaN or infinity."""
    if not finite.all():
        reason = f"{source.place(sample.position, int(finite.argmin()))} {INFINITE}"
        return Failure(storable(sample.image_id), "read", reason)
    views, pixels = len(finite) - source.tiles, np.zeros((len(finite), 1, 1, 3), np.uint8)
    return DrawnImage(sample, None, pixels[:views], [0] * views, {}, {}, parts=(*pixels[views:],))
