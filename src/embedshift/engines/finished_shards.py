"""Looks again at images of finished shards: those that failed, and those that may have changed since."""

import logging
from collections.abc import Callable, Mapping, Sequence

from embedshift.engines.job import loader_count
from embedshift.engines.loaders import Images, draw_all
from embedshift.pipeline.draw import draw_image, hash_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import StudyContext
from embedshift.pipeline.study_plan import StudyPlan
from embedshift.sources import ImageRef, Shard, Source
from embedshift.sources.base import storable
from embedshift.store.shards import ShardRecord

log = logging.getLogger(__name__)

# Returns image id → hash of the pixels that were measured, of some images.
Measured = Callable[[Sequence[str]], Mapping[str, str]]


def _drawable_shards(
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


def shards_to_retry(
    study: StudyContext, measured: Measured, done: Mapping[int, ShardRecord], *, transient: bool
) -> set[int]:
    """Returns the finished shards to measure again because failed images in them can now be read."""
    workers = loader_count(study.config)
    readable = _drawable_shards(study.shards, done, study.source, study.plan, workers=workers, transient=transient)
    for shard in study.shards:
        changed, unreadable = changed_among(study, measured, shard.samples) if shard.index in readable else ([], [])
        words, what_to_do = "have changed since they were measured", "restore them, or choose another `out`"
        if not changed:
            words, what_to_do = "cannot be read now", "run the same command again when they can"
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
    now = current_hashes(candidates, study.source, study.plan, workers=loader_count(study.config)) if candidates else {}
    changed = sorted(name for name, current in now.items() if current not in (None, pixels[name]))
    return changed, sorted(name for name, current in now.items() if current is None)
