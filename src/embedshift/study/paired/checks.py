"""Refuses studies that cannot be paired, and finds what they share: images, metrics, and names that tell them apart."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import METRICS
from embedshift.store.info import StudyInfo, differences
from embedshift.store.naming import tails
from embedshift.store.reader import Reader
from embedshift.study.study import Study

log = logging.getLogger(__name__)

# What must be equal for the views to be the same ones, but for their size.
SAME = ("seed", "draws", "resize", "augmentations", "apply_to", "longest")
DRAWN_BY = ("albumentations", "opencv")
# Machines and versions of OpenCV draw the same view up to 5 levels apart. Patch similarity is 1 / (1 + x²) with
# x = root of the MSE / 255, nowhere steeper than 0.65, so that moves it by 0.013 at most: what moves it more is another
# picture.
SAME_PICTURE = 0.02


def check_finished(studies: Sequence[Study], *, may_repeat: bool) -> None:
    if len(studies) < 2:
        raise UsageError("name at least two studies to compare")
    given = Counter((study.folder.resolve(), study.reader().index is None) for study in studies)
    for (folder, _), count in given.items():
        if count > 1 and not may_repeat:
            raise UsageError(f"{folder}: given {count} times; name different studies")
    for study in studies:
        if not study.is_complete():
            raise study.reader().unfinished()


def check_same_views(readers: Sequence[Reader]) -> list[bool]:
    """Refuses studies whose images, seed, draws, resize or augmentations differ; warns if sizes or versions do."""
    first, same = readers[0], [True]
    for other in readers[1:]:
        words = f"in {first.folder}", f"in {other.folder}"
        # Of vectors nobody knows how images became square, and what drew the views.
        have_pixels = first.info.has_pixels and other.info.has_pixels
        names = SAME if have_pixels else [name for name in SAME if name != "resize"]
        different = differences(_settings(first.info, names), _settings(other.info, names), words=words)
        # Of the same images, `until` may have ended one study before the other.
        if not (first.info.ended or other.info.ended) or first.info.identity["images"] != other.info.identity["images"]:
            ids = [reader.image_ids() | {*reader.failures()["image_id"]} for reader in (first, other)]
            different += _other_images(ids[0], ids[1], words)
        if different:
            raise UsageError(
                f"{other.folder} does not have the same images and views as {first.folder}: {'; '.join(different)}"
            )
        geometry = differences(_geometry(first.info), _geometry(other.info), words=words)
        same.append(not geometry)
        if have_pixels:
            drawn_by = [{name: each.info.identity["versions"][name] for name in DRAWN_BY} for each in (first, other)]
            geometry += differences(drawn_by[0], drawn_by[1], words=words)
        if geometry:
            told = f"{'; '.join(geometry)}; `embedshift parity` says what that changes"
            log.warning("the views of the studies do not have the same pixels: %s", told)
    return same


def _settings(info: StudyInfo, names: Iterable[str]) -> Json:
    return {name: info.identity[name] for name in names if name in info.identity}


def _geometry(info: StudyInfo) -> Json:
    size = info.identity["size"]
    crop = {"shortest": info.encoder.shortest or size, "resample": info.encoder.resample}
    return {"size": size, **(crop if info.identity["resize"] == "crop" else {})}


def _other_images(first: set[str], other: set[str], words: tuple[str, str]) -> list[str]:
    only = (sorted(first - other), sorted(other - first))
    return [
        f"images: {len(ids)} only {folder_words} ({', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})"
        for ids, folder_words in zip(only, words, strict=True)
        if ids
    ]


def common_images(readers: Sequence[Reader]) -> list[str]:
    measured = [reader.image_ids() for reader in readers]
    common, all_ids = set.intersection(*measured), set.union(*measured)
    if not common:
        raise EmbedshiftError("no image was measured by every study: there is nothing to compare")
    if skipped := len(all_ids) - len(common):
        missing = [
            f"{len(all_ids - ids)} {'not measured' if reader.info.ended else 'failed'} in {reader.folder}"
            for reader, ids in zip(readers, measured, strict=True)
            if ids != all_ids
        ]
        log.warning("skipping %d of %d images: %s", skipped, len(all_ids), ", ".join(missing))
    return sorted(common)


def common_metrics(readers: Sequence[Reader]) -> list[str]:
    """Returns the metrics that all studies have on the same basis, in the first study's order; warns of the others."""
    first = readers[0]
    common = [name for name in first.metrics if all(name in reader.metrics for reader in readers)]
    different = [
        name for name in common if any(_basis(name, reader.info) != _basis(name, first.info) for reader in readers)
    ]
    if different:
        bases = " or ".join(dict.fromkeys(METRICS[name].depends_on for name in different))
        log.warning("%s differ between the studies; skipping these metrics: %s", bases, ", ".join(different))
        common = [name for name in common if name not in different]
    if others := {name for reader in readers for name in reader.metrics} - set(common):
        log.warning("skipping metrics that not every study has: %s", ", ".join(sorted(others)))
    return common


def _basis(metric: str, info: StudyInfo) -> Any:
    """Returns what must be equal, in addition to images and views, for values of a metric to be comparable."""
    depends_on = METRICS[metric].depends_on
    return info.questions.get(METRICS[metric].question, {}).get(depends_on) if depends_on else None


def check_hashes(readers: Sequence[Reader], image_ids: Sequence[str]) -> None:
    """Refuses studies in which the same ids belong to different images, by the hashes of pixels before resizing."""
    first, *others = readers
    for other in others:
        both = _hashes(first, image_ids).join(_hashes(other, image_ids), on="image_id")
        different = both.filter(pl.col("pixels") != pl.col("pixels_right"))["image_id"].sort()
        if different.is_empty():
            continue
        words = f"the pixels of {len(different)} of {len(both)} images differ (first: {different[0]})"
        decoders = [reader.info.versions.get("pillow", "unknown") for reader in (first, other)]
        if decoders[0] == decoders[1]:
            raise UsageError(f"{other.folder} does not have the same images as {first.folder}: {words}")
        versions = f"Pillow {decoders[0]} in {first.folder}, {decoders[1]} in {other.folder}"
        log.warning("%s; other versions may decode an image differently: %s", words, versions)


def _hashes(reader: Reader, image_ids: Sequence[str]) -> pl.DataFrame:
    chosen = pl.col("pixels").is_not_null() & pl.col("image_id").is_in(list(image_ids))
    return reader.rows().filter(chosen).select("image_id", "pixels").collect()


def check_groups(readers: Sequence[Reader], positions: Sequence[NDArray[np.intp]]) -> None:
    groups = [
        np.arange(len(images)) if reader.groups is None else reader.groups[images]
        for reader, images in zip(readers, positions, strict=True)
    ]
    for reader, other in zip(readers[1:], groups[1:], strict=True):
        both = {*zip(groups[0].tolist(), other.tolist(), strict=True)}
        if not len(both) == len(np.unique(groups[0])) == len(np.unique(other)):
            words = f"{reader.folder} and {readers[0].folder} have different groups of images"
            raise UsageError(f"{words}: choose them for both by `groups`")


def check_pixels(
    readers: Sequence[Reader], similarity: Values, image_ids: Sequence[str], same_pixels: Sequence[bool]
) -> None:
    for reader, values, same in zip(readers, similarity, same_pixels, strict=True):
        differs = (np.abs(values - similarity[0]) > SAME_PICTURE).any(axis=(1, 2))
        if same and differs.any():
            words = f"images of the same name differ (first: {image_ids[int(differs.argmax())]})"
            raise UsageError(f"{reader.folder} does not have the same images as {readers[0].folder}: {words}")


def study_names(readers: Sequence[Reader]) -> list[str]:
    return distinct(
        [
            f"{reader.naming.setting(reader.info.encoder.name)} ({reader.info.encoder.precision}"
            f"{'' if reader.index is None else f', {reader.index.name}'})"
            for reader in readers
        ],
        [reader.folder.resolve() for reader in readers],
    )


def distinct(names: Sequence[str], folders: Sequence[Path]) -> list[str]:
    counts = Counter(names)
    return [f"{name}, {tail}" if counts[name] > 1 else name for name, tail in zip(names, tails(folders), strict=True)]
