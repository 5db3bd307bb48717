"""Checks that studies are of the same images and views, and finds names that tell them apart."""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import METRICS
from embedshift.store.differences import differences
from embedshift.store.info import StudyInfo
from embedshift.store.naming import tails
from embedshift.study.study import Study

log = logging.getLogger(__name__)

# What must be equal for the views to be the same ones, but for their size.
SAME = ("seed", "draws", "resize", "augmentations")
# Machines and versions of OpenCV draw the same view up to 5 levels apart. Patch similarity is 1 / (1 + x²) with
# x = root of the MSE / 255, nowhere steeper than 0.65, so that moves it by 0.013 at most: what moves it more is another
# picture.
SAME_PICTURE = 0.02


def check_studies(studies: Sequence[Study]) -> None:
    """Raises UsageError for fewer than two studies, for one given twice, and for one that is not finished."""
    if len(studies) < 2:
        raise UsageError("name at least two studies to compare")
    for folder, often in Counter(study.folder.resolve() for study in studies).items():
        if often > 1:
            raise UsageError(f"{folder}: given {often} times; name different studies")
    for study in studies:
        if not study.is_complete():
            raise UsageError(f"{study.folder}: not finished; run the same command again first")


def check_same_views(studies: Sequence[Study]) -> list[bool]:
    """Refuses studies whose images, seed, draws, resize or augmentations differ; warns if sizes differ."""
    first, same = studies[0], [True]
    for other in studies[1:]:
        words = f"in {first.folder}", f"in {other.folder}"
        one, two = first.reader().info, other.reader().info
        found = differences(_settings(one), _settings(two), words=words)
        found += _other_images(_all_ids(first), _all_ids(other), words)
        if found:
            raise UsageError(
                f"{other.folder} does not have the same images and views as {first.folder}: {'; '.join(found)}"
            )
        geometry = differences(_geometry(one), _geometry(two), words=words)
        geometry += differences(_versions(one), _versions(two), words=words)
        if geometry:
            log.warning("the views of the studies do not have the same pixels: %s", "; ".join(geometry))
        same.append(_geometry(one) == _geometry(two))
    return same


def _settings(info: StudyInfo) -> Json:
    return {name: info.identity[name] for name in SAME}


def _geometry(info: StudyInfo) -> Json:
    """Returns the settings that decide the pixels of an image's original view."""
    crop = {"shortest": info.encoder.shortest, "resample": info.encoder.resample}
    return {"size": info.identity["size"], **(crop if info.identity["resize"] == "crop" else {})}


def _versions(info: StudyInfo) -> Json:
    return {name: info.identity["versions"][name] for name in ("albumentations", "opencv")}


def _all_ids(study: Study) -> set[str]:
    return study.reader().image_ids() | set(study.failures()["image_id"])


def _other_images(first: Collection[str], other: Collection[str], words: tuple[str, str]) -> list[str]:
    """Describes which images only one of two studies has."""
    only = (sorted(set(first) - set(other)), sorted(set(other) - set(first)))
    return [
        f"images: {len(ids)} only {place} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for ids, place in zip(only, words, strict=True)
        if ids
    ]


def common_images(studies: Sequence[Study]) -> list[str]:
    """Returns the sorted ids of the images that every study measured; a warning gives the number of the others."""
    measured = [study.reader().image_ids() for study in studies]
    common, all_ids = set.intersection(*measured), set.union(*measured)
    if not common:
        raise EmbedshiftError("no image was measured by every study: there is nothing to compare")
    if left := len(all_ids) - len(common):
        lost = [(len(all_ids - ids), study.folder) for study, ids in zip(studies, measured, strict=True)]
        failed = [f"{count} failed in {folder}" for count, folder in lost if count]
        log.warning("skipping %d of %d images: %s", left, len(all_ids), ", ".join(failed))
    return sorted(common)


def common_metrics(studies: Sequence[Study]) -> list[str]:
    """Returns the metrics that all studies have on the same basis, in the first study's order; warns of the others."""
    common = [name for name in studies[0].metrics if all(name in study.metrics for study in studies)]
    infos = [study.reader().info for study in studies]
    if apart := [name for name in common if any(_basis(name, info) != _basis(name, infos[0]) for info in infos)]:
        bases = " or ".join(dict.fromkeys(METRICS[name].depends_on for name in apart))
        log.warning("%s differ between the studies; skipping these metrics: %s", bases, ", ".join(apart))
        common = [name for name in common if name not in apart]
    if others := {name for study in studies for name in study.metrics} - set(common):
        log.warning("skipping metrics that not every study has: %s", ", ".join(sorted(others)))
    return common


def _basis(metric: str, info: StudyInfo) -> Any:
    """Returns what must be equal, in addition to images and views, for values of a metric to be comparable."""
    if metric not in METRICS or not METRICS[metric].depends_on:
        return None
    return info.questions.get(METRICS[metric].question, {}).get(METRICS[metric].depends_on)


def check_hashes(studies: Sequence[Study], image_ids: Sequence[str]) -> None:
    """Refuses studies in which the same ids belong to different images, by the hashes of pixels before resizing."""
    first, *others = studies
    for other in others:
        both = _hashes(first, image_ids).join(_hashes(other, image_ids), on="image_id")
        differ = both.filter(pl.col("pixels") != pl.col("pixels_right"))["image_id"].sort()
        if differ.is_empty():
            continue
        words = f"the pixels of {len(differ)} of {len(both)} images differ (first: {differ[0]})"
        decoders = [study.reader().info.versions.get("pillow", "unknown") for study in (first, other)]
        if decoders[0] == decoders[1]:
            raise UsageError(f"{other.folder} does not have the same images as {first.folder}: {words}")
        versions = f"Pillow {decoders[0]} in {first.folder}, {decoders[1]} in {other.folder}"
        log.warning("%s; other versions may decode an image differently: %s", words, versions)


def _hashes(study: Study, image_ids: Sequence[str]) -> pl.DataFrame:
    """Returns `image_id, pixels` of some images."""
    chosen = pl.col("pixels").is_not_null() & pl.col("image_id").is_in(list(image_ids))
    return study.rows().filter(chosen).select("image_id", "pixels").collect()


def check_pixels(study: Study, reference: Study, own: Values, others: Values, image_ids: Sequence[str]) -> None:
    """Refuses images whose views differ although their ids are equal, whatever the decoder."""
    apart = (np.abs(own - others) > SAME_PICTURE).any(axis=(1, 2))
    if apart.any():
        raise UsageError(
            f"{study.folder} does not have the same images as {reference.folder}: images of the same name differ "
            f"(first: {image_ids[int(apart.argmax())]})",
        )


def study_names(studies: Sequence[Study]) -> list[str]:
    """Names studies by encoder and precision, and adds folders where these are equal."""
    readers = [study.reader() for study in studies]
    return distinct(
        [f"{reader.naming.setting(reader.info.encoder.name)} ({reader.info.encoder.precision})" for reader in readers],
        [reader.folder.resolve() for reader in readers],
    )


def distinct(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Makes names unique by adding as little of the folder's path as tells them apart."""
    often = Counter(names)
    return [f"{name}, {tail}" if often[name] > 1 else name for name, tail in zip(names, tails(folders), strict=True)]
