"""Chosen images with all their views, drawn again from the sources by the seeds that the rows hold."""

import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift import images
from embedshift.augmentations import ORIGINAL, Suite, rebuild_suite
from embedshift.errors import EmbedshiftError, cause, reason
from embedshift.images import Pixels
from embedshift.results import Study
from embedshift.sources import read_again


@dataclass(frozen=True)
class GalleryImage:
    """One image of a study, as a reader looks at it.

    Args:
        image_id: Its name in the study.
        views: Name → uint8 `[S, S, 3]`, "original" first; a view whose augmentation cannot be rebuilt is missing.
        attention: Name → float32 `[g_h, g_w]`; empty for an encoder without attention.
        metrics: Augmentation → metric → value.
    """

    image_id: str
    views: dict[str, Pixels]
    attention: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def extremes(rows: pl.LazyFrame, augmentation: str, *, count: int = 3) -> dict[str, list[str]]:
    """The images that one augmentation moved most, least and typically, by cosine similarity of draw 0.

    Args:
        rows: Records of a study.
        augmentation: Its name.
        count: Images of each kind; fewer where the study is small. No image stands twice.

    Returns:
        "most", "typical" (next to the median) and "least" → image ids, the most telling first.
    """
    part = (
        rows.filter((pl.col("view") == augmentation) & (pl.col("draw") == 0))
        .select("image_id", pl.col("cosine_similarity").fill_nan(None))
        .drop_nulls()
        .collect()
        .sort("cosine_similarity", "image_id")
    )
    ids = part["image_id"].to_list()
    share = max(1, min(count, len(ids) // 3)) if ids else 0
    most, least = ids[:share], ids[max(share, len(ids) - share) :][::-1]
    between = ids[share : len(ids) - len(least)]
    start = max(0, (len(between) - share) // 2)
    return {"most": most, "typical": between[start : start + share], "least": least}


def sample_ids(study: Study, count: int, *, with_attention: bool = False) -> list[str]:
    """`count` image ids drawn by the study's seed, sorted.

    Args:
        study: Where they were measured.
        count: How many.
        with_attention: Of a study with `--store metrics`, only images whose attention maps it kept, where there are.
    """
    few = study.image_ids(with_attention=True) if with_attention and not study.has_vectors else set()
    return draw_ids(few or study.image_ids(), count, study.info()["config"]["seed"])


def draw_ids(image_ids: Iterable[str], count: int, seed: int) -> list[str]:
    """`count` of the ids, drawn by the seed, sorted; all where there are fewer.

    Example:
        >>> draw_ids(["b", "a"], 5, seed=0)
        ['a', 'b']
    """
    ids = sorted(image_ids)
    return sorted(random.Random(seed).sample(ids, min(count, len(ids))))


def load_images(study: Study, image_ids: Sequence[str]) -> tuple[list[GalleryImage], dict[str, str]]:
    """The images with their views of draw 0, in the order asked for.

    Args:
        study: Where they were measured.
        image_ids: Which.

    Returns:
        The images, and why the others are missing: image id → reason (its file is gone or
        cannot be read any more).

    Raises:
        EmbedshiftError: when the study has no image of that name.
    """
    found: list[GalleryImage] = []
    missing: dict[str, str] = {}
    for image_id, image in iter_images(study, image_ids):
        if isinstance(image, str):
            missing[image_id] = image
        else:
            found.append(image)
    return found, missing


def iter_images(
    study: Study, image_ids: Sequence[str], only: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[str, GalleryImage | str]]:
    """The images one after the other, as `load_images` draws them, so that few are in memory at once.

    Args:
        study: Where they were measured.
        image_ids: Which.
        only: Image id → the augmentations to draw; by default all.

    Yields:
        Image id, and the image or why it is missing.
    """
    info = study.info()
    encoder, identity = info["encoder"], info["identity"]
    suite = rebuild_suite(identity["augmentations"])
    wanted = study.rows().filter(pl.col("image_id").is_in(list(image_ids)) & (pl.col("draw") == 0))
    columns = ("image_id", "view", "view_seed", "attention", *study.metrics)
    stored = wanted.select(columns).collect().partition_by("image_id", as_dict=True)
    unknown = [image_id for image_id in image_ids if (image_id,) not in stored]
    if unknown:
        raise EmbedshiftError(f"{unknown[0]}: no such image in {study.folder}", exit_code=2)
    try:
        read = read_again(info["source"])
    except EmbedshiftError as error:  # the whole archive is gone
        yield from ((image_id, reason(error)) for image_id in image_ids)
        return
    for image_id in image_ids:
        try:
            picture = images.decode(read(image_id))
        except (OSError, EmbedshiftError) as error:
            yield image_id, cause(error)
            continue
        original = images.resize(
            picture, encoder["size"], identity["resize"], shortest=encoder["shortest"], resample=encoder["resample"]
        )
        views = {ORIGINAL: original} | _views(original, stored[(image_id,)], suite, only and only[image_id])
        yield image_id, _gallery_image(image_id, views, stored[(image_id,)], encoder["grid"], study.metrics)


def _views(
    original: Pixels, rows: pl.DataFrame, suite: Suite | None, only: Collection[str] | None
) -> dict[str, Pixels]:
    seeds = dict(rows.select("view", "view_seed").iter_rows())
    names = [name for name in seeds if suite and name in suite.transforms and (only is None or name in only)]
    return {name: suite.draw(name, original, seeds[name]) for name in names} if suite else {}


def _gallery_image(
    image_id: str,
    views: dict[str, Pixels],
    rows: pl.DataFrame,
    grid: Sequence[int] | None,
    metrics: Sequence[str],
) -> GalleryImage:
    attention: dict[str, NDArray[np.float32]] = {}
    values: dict[str, dict[str, float]] = {}
    for row in rows.iter_rows(named=True):
        name = row["view"]
        if grid is not None and row["attention"] is not None:
            attention[name] = np.asarray(row["attention"], np.float32).reshape(grid[0], grid[1])
        if name != ORIGINAL:
            values[name] = {metric: row[metric] for metric in metrics}
    return GalleryImage(image_id, views, attention, values)
