"""Looks again at images of finished shards: those that failed, and those that may have changed since."""

import logging
from collections.abc import Mapping, Sequence

from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import DrawnImage, draw_image, hash_image
from embedshift.pipeline.plan import Plan
from embedshift.sources import ImageRef, Shard, Source
from embedshift.sources.base import storable
from embedshift.store.shards import ShardRecord

log = logging.getLogger(__name__)


def worth_again(
    cut: Sequence[Shard],
    done: Mapping[int, ShardRecord],
    source: Source,
    plan: Plan,
    *,
    workers: int,
    transient: bool,
) -> set[int]:
    """Returns the finished shards with a failed image that can be drawn now; reads only failed images."""
    failed = {
        (index, each.image_id)
        for index, record in done.items()
        for each in record.failures
        if each.transient or not transient
    }
    places = [
        (shard.index, sample)
        for shard in cut
        for sample in shard.samples
        if (shard.index, storable(sample.image_id)) in failed
    ]
    if not places:
        return set()
    log.info("trying %d failed images again", len(places))
    samples = [sample for _, sample in places]
    drawn = draw_all(Images(samples, source, plan, draw_image), min(workers, len(places)))
    return {index for (index, _), image in zip(places, drawn, strict=True) if isinstance(image, DrawnImage)}


def hashes_now(samples: Sequence[ImageRef], source: Source, plan: Plan, *, workers: int) -> dict[str, str | None]:
    """Returns image id → hash of the current pixels; None if an image cannot be read."""
    found = draw_all(Images(samples, source, plan, hash_image), min(workers, len(samples)))
    return {
        storable(sample.image_id): hashed if isinstance(hashed, str) else None
        for sample, hashed in zip(samples, found, strict=True)
    }
