"""The engine for vectors that exist: it measures shard by shard what is read instead of encoded."""

from collections.abc import Generator

import numpy as np

from embedshift.arrays import Floats
from embedshift.encoders.base import EncoderOutput
from embedshift.engines.job import Job
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.shard import Result, ShardInProgress
from embedshift.sources import ImageRef, VectorSource
from embedshift.sources.base import Failure, storable


def run_vectors(job: Job) -> Generator[Result, None, None]:
    assert job.ready is not None
    assert isinstance(job.source, VectorSource)
    for shard in job.shards:
        progress = ShardInProgress(shard, job.ready, job.plan)
        vectors = job.source.vectors([sample.position for sample in shard.samples])
        progress.clock.lap("read")
        for sample, image_vectors in zip(shard.samples, vectors, strict=True):
            image = _image(sample, image_vectors, job.source)
            progress.add(image)
            if isinstance(image, DrawnImage):
                progress.measure(iter([(EncoderOutput(image_vectors, None, None), None)]))
            job.progress(1)
        yield progress.result(job.plan.batch_size)


def _image(sample: ImageRef, vectors: Floats, source: VectorSource) -> DrawnImage | Failure:
    """Returns an image without pixels; a failure if one of its vectors has a number that is none."""
    views = len(vectors)
    if (wrong := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        place = source.place(int(source.rows[sample.position, wrong[0]]))
        reason = f"{place} has a number that is NaN or infinite"
        return Failure(storable(sample.image_id), "read", reason)
    return DrawnImage(sample, None, np.zeros((views, 1, 1, 3), np.uint8), [0] * views, {}, {})
