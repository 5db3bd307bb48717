"""Chosen images with all their views, drawn again from the sources by the seeds that the rows hold."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift import images
from embedshift.augmentations import ORIGINAL, Suite, rebuild_suite
from embedshift.errors import EmbedshiftError, reason
from embedshift.images import Pixels
from embedshift.results import Study


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


def sample_ids(study: Study, count: int) -> list[str]:
    """`count` image ids drawn by the study's seed, sorted."""
    ids = sorted(study.image_ids())
    return sorted(random.Random(study.info()["config"]["seed"]).sample(ids, min(count, len(ids))))


def load_images(study: Study, image_ids: Sequence[str]) -> tuple[list[GalleryImage], dict[str, str]]:
    """The images with their views of draw 0, in the order asked for.

    Args:
        study: Where they were measured.
        image_ids: Which.

    Returns:
        The images, and why the others are missing: image id → reason (its file is gone or
        cannot be read any more).
    """
    info = study.info()
    encoder, identity = info["encoder"], info["identity"]
    suite = rebuild_suite(identity["augmentations"])
    wanted = study.rows().filter(pl.col("image_id").is_in(list(image_ids)) & (pl.col("draw") == 0))
    stored = wanted.drop("embedding", "pairwise", "caption").collect().partition_by("image_id", as_dict=True)
    root = Path(info["source"]["root"])
    found: list[GalleryImage] = []
    missing: dict[str, str] = {}
    for image_id in image_ids:
        rows = stored.get((image_id,))
        if rows is None:
            raise EmbedshiftError(f"{image_id}: no such image in {study.folder}", exit_code=2)
        try:
            picture = images.decode((root / image_id).read_bytes())
        except (OSError, EmbedshiftError) as error:
            missing[image_id] = (error.strerror if isinstance(error, OSError) else None) or reason(error)
            continue
        original = images.resize(
            picture, encoder["size"], identity["resize"], shortest=encoder["shortest"], resample=encoder["resample"]
        )
        found.append(_gallery_image(image_id, original, rows, suite, encoder["grid"], study.metrics))
    return found, missing


def _gallery_image(
    image_id: str,
    original: Pixels,
    rows: pl.DataFrame,
    suite: Suite,
    grid: Sequence[int] | None,
    metrics: Sequence[str],
) -> GalleryImage:
    views: dict[str, Pixels] = {ORIGINAL: original}
    attention: dict[str, NDArray[np.float32]] = {}
    values: dict[str, dict[str, float]] = {}
    for row in rows.iter_rows(named=True):
        name = row["view"]
        if name in suite.transforms:
            views[name] = suite.draw(name, original, row["view_seed"])
        if grid is not None and row["attention"] is not None:
            attention[name] = np.asarray(row["attention"], np.float32).reshape(grid[0], grid[1])
        if name != ORIGINAL:
            values[name] = {metric: row[metric] for metric in metrics}
    return GalleryImage(image_id, views, attention, values)
