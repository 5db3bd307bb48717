"""Images of finished shards, looked at again: those that failed, and those that may have changed since."""

import logging
from collections.abc import Mapping, Sequence

from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import DrawnImage, draw_image, hash_image
from embedshift.pipeline.plan import Plan
from embedshift.sources import Sample, Shard, Source
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
    """The finished shards with an image that failed and can be drawn now; only images that failed are read.

    Args:
        cut: All shards of the study.
        done: What the finished ones say, by index.
        source: Reads the images.
        plan: What to draw.
        workers: Loader processes.
        transient: Whether only failures that are transient are tried again.
    """
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


def hashes_now(samples: Sequence[Sample], source: Source, plan: Plan, *, workers: int) -> dict[str, str | None]:
    """By id, the hash of the pixels of some images as they are now; None where one cannot be read."""
    found = draw_all(Images(samples, source, plan, hash_image), min(workers, len(samples)))
    return {
        storable(sample.image_id): hashed if isinstance(hashed, str) else None
        for sample, hashed in zip(samples, found, strict=True)
    }
