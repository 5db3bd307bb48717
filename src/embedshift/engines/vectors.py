"""The engine of vectors that exist, which are read instead of encoded; without torch."""

from collections.abc import Generator, Sequence

import numpy as np

from embedshift.arrays import Floats
from embedshift.encoders.base import EncoderOutput
from embedshift.engines.job import Progress
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.plan import Plan
from embedshift.pipeline.ready import ReadyEncoder
from embedshift.pipeline.shard import Result, ShardInProgress
from embedshift.sources import ImageRef, Shard, VectorSource
from embedshift.sources.base import Failure, storable


def run_vectors(
    shards: Sequence[Shard], plan: Plan, ready: ReadyEncoder, progress: Progress
) -> Generator[Result, None, None]:
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
    views = len(vectors) - source.tiles
    if (wrong := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        place = source.place(int(source.rows[sample.position, wrong[0]]))
        reason = f"{place} has a number that is NaN or infinite"
        return Failure(storable(sample.image_id), "read", reason)
    pixels = np.zeros((len(vectors), 1, 1, 3), np.uint8)
    return DrawnImage(sample, None, pixels[:views], [0] * views, {}, {}, parts=(*pixels[views:],))
