"""Looks again at images of finished shards: those that failed, and those that may have changed since."""

import logging
from collections.abc import Mapping, Sequence

from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image, hash_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.study_plan import StudyPlan
from embedshift.sources import ImageRef, Shard, Source
from embedshift.sources.base import storable
from embedshift.store.shards import ShardRecord

log = logging.getLogger(__name__)


def shards_to_retry(
    cut: Sequence[Shard],
    done: Mapping[int, ShardRecord],
    source: Source,
    plan: StudyPlan,
    *,
    workers: int,
    transient: bool,
) -> set[int]:
    """Returns the finished shards with a failed image that can be drawn now; reads only failed images."""
    failed = {
        (index, failure.image_id)
        for index, record in done.items()
        for failure in record.failures
        if failure.transient or not transient
    }
    retried = [
        (shard.index, sample)
        for shard in cut
        for sample in shard.samples
        if (shard.index, storable(sample.image_id)) in failed
    ]
    if not retried:
        return set()
    log.info("trying %d failed images again", len(retried))
    samples = [sample for _, sample in retried]
    drawn = draw_all(Images(samples, source, plan, draw_image), min(workers, len(retried)))
    return {index for (index, _), image in zip(retried, drawn, strict=True) if isinstance(image, DrawnImage)}


def current_hashes(
    samples: Sequence[ImageRef], source: Source, plan: StudyPlan, *, workers: int
) -> dict[str, str | None]:
    """Returns image id → hash of the current pixels; None if an image cannot be read."""
    hashes = draw_all(Images(samples, source, plan, hash_image), min(workers, len(samples)))
    return {
        storable(sample.image_id): result if isinstance(result, str) else None
        for sample, result in zip(samples, hashes, strict=True)
    }
