"""Checks images of finished shards: failed ones, and ones that may have changed since."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from embedshift.engines.job import loader_count
from embedshift.engines.loaders import ImageResult, Images, draw_all
from embedshift.pipeline.draw import draw_image, hash_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import StudyContext
from embedshift.sources.base import ImageRef, storable
from embedshift.store.shards import ShardRecord

log = logging.getLogger(__name__)

# Returns image id → hash of the measured pixels, for some images.
Measured = Callable[[Sequence[str]], Mapping[str, str]]


def _drawable_shards(study: StudyContext, done: Mapping[int, ShardRecord], *, transient: bool) -> set[int]:
    failed = {
        (index, failure.image_id)
        for index, record in done.items()
        for failure in record.failures
        if failure.transient or not transient
    }
    retried = [
        (shard.index, sample)
        for shard in study.shards
        for sample in shard.samples
        if (shard.index, storable(sample.image_id)) in failed
    ]
    if not retried:
        return set()
    log.info("trying %d failed images again", len(retried))
    drawn = _draw(study, [sample for _, sample in retried], draw_image)
    return {index for (index, _), image in zip(retried, drawn, strict=True) if isinstance(image, DrawnImage)}


def _draw(study: StudyContext, samples: Sequence[ImageRef], work: Callable[..., ImageResult]) -> Iterator[ImageResult]:
    images = Images(samples, study.plan.source, study.plan.for_loaders(), work)
    return draw_all(images, min(loader_count(study.plan.config), len(samples)))


def shards_to_retry(
    study: StudyContext, measured: Measured, done: Mapping[int, ShardRecord], *, transient: bool
) -> set[int]:
    """Returns the finished shards with failed images that can now be read."""
    readable = _drawable_shards(study, done, transient=transient)
    for shard in study.shards:
        changed, unreadable = changed_among(study, measured, shard.samples) if shard.index in readable else ([], [])
        words, what_to_do = "changed since the run", "restore them, or choose another `out`"
        if not changed:
            words, what_to_do = "could not be read again", "run the same command again when they can"
        if kept := changed or unreadable:
            readable.remove(shard.index)
            log.warning(
                "shard %d keeps its rows and failures: %d of its images %s (first: %s); %s",
                shard.index, len(kept), words, kept[0], what_to_do,
            )  # fmt: skip
    return readable


def changed_among(study: StudyContext, measured: Measured, samples: Sequence[ImageRef]) -> tuple[list[str], list[str]]:
    """Returns the ids of measured images whose pixels have changed since, and of those that cannot be read now."""
    pixels = measured([storable(sample.image_id) for sample in samples])
    candidates = [sample for sample in samples if storable(sample.image_id) in pixels]
    hashes = _draw(study, candidates, hash_image)
    now = {storable(sample.image_id): current for sample, current in zip(candidates, hashes, strict=True)}
    changed = sorted(name for name, current in now.items() if isinstance(current, str) and current != pixels[name])
    return changed, sorted(name for name, current in now.items() if not isinstance(current, str))
