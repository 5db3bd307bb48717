"""A study's images as points, and one of them with its views."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from embedshift.app.measured import Scale
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.baselines import relative_shift
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# Points that a page draws; of more images so many, drawn by the seed.
MOST_POINTS = 4_000
# Views of one image that a page shows; of more, those of the family.
MOST_VIEWS = 20
SHIFT = "relative shift"


@dataclass(frozen=True)
class PointChoice:
    augmentation: str
    x: str
    y: str
    name_part: str = ""
    least: float = 0.0


@dataclass(frozen=True)
class ImageViews:
    image: RedrawnImage | None
    missing: Mapping[str, str]
    shifts: Mapping[str, float]


def axes(reader: Reader) -> list[str]:
    """What an axis may show: the relative shift, then the metrics of the rows."""
    return [SHIFT, *reader.metrics]


def axis_label(name: str) -> str:
    if name == SHIFT:
        return f"{SHIFT} (0 = no change)"
    return f"{METRICS[name].label} ({METRICS[name].no_change:g} = no change)"


def points(reader: Reader, choice: PointChoice, scale: Scale) -> tuple[pl.DataFrame, str]:
    """Images as points by their views of draw 0: `name, x, y`, sorted by x; and how many there are, in words."""
    for kind, name, allowed in (
        ("augmentation", choice.augmentation, reader.augmentations),
        ("metric", choice.x, axes(reader)),
        ("metric", choice.y, axes(reader)),
    ):
        if name not in allowed:
            raise UsageError(f"{kind} {name!r}: the study does not have it")
    images = sum(record.images for record in reader.records)
    rows = reader.rows().filter((pl.col("view") == choice.augmentation) & (pl.col("draw") == 0))
    if images > MOST_POINTS:
        rows = rows.filter(pl.col("image_id").is_in(reader.sample_ids(MOST_POINTS)))
    metrics = dict.fromkeys(name for name in (COSINE, choice.x, choice.y) if name != SHIFT)
    table = rows.select("image_id", *metrics).collect()
    table = table.with_columns(_relative_shifts(table, scale))
    if choice.name_part:
        lower = pl.col("image_id").str.to_lowercase()
        table = table.filter(lower.str.contains(choice.name_part.lower(), literal=True))
    if choice.least:
        table = table.filter(pl.col(SHIFT) >= choice.least)
    shown = table.select(name="image_id", x=pl.col(choice.x).cast(pl.Float64), y=pl.col(choice.y).cast(pl.Float64))
    shown = shown.filter(pl.col("x").is_finite() & pl.col("y").is_finite()).sort("x", "y", "name")
    left_out = len(table) - len(shown)
    words = f"{len(shown):,} of {images:,} images shown"
    return shown, f"{words}; {left_out:,} without a number on an axis" if left_out else words


def image_views(reader: Reader, image_id: str, augmentation: str, scale: Scale) -> ImageViews:
    if augmentation not in reader.augmentations:
        raise UsageError(f"augmentation {augmentation!r}: the study does not have it")
    names = shown_views(reader, augmentation)
    rows = reader.rows().filter((pl.col("image_id") == image_id) & (pl.col("draw") == 0) & (pl.col("view") != ORIGINAL))
    cosines = rows.select("view", COSINE).collect()
    by_view = dict(zip(cosines["view"], _relative_shifts(cosines, scale), strict=True))
    shifts = {name: by_view[name] for name in names if by_view.get(name) is not None}
    if not reader.shows_images:
        return ImageViews(None, {ORIGINAL: reader.unseen}, shifts)
    _, image = next(iter_redrawn(reader, [image_id], {image_id: names}))
    if isinstance(image, str):
        return ImageViews(None, {ORIGINAL: image}, shifts)
    missing = {name: image.missing.get(name, "it cannot be drawn again") for name in names if name not in image.views}
    return ImageViews(image, missing, shifts)


def shown_views(reader: Reader, augmentation: str) -> list[str]:
    """The views that are shown: all, or of many those of one family, or that one alone."""
    names = reader.augmentations
    if len(names) <= MOST_VIEWS:
        return names
    descriptions = reader.info.identity["augmentations"]
    family = descriptions[augmentation].get("grade", {}).get("family")
    family_views = [name for name in names if family and descriptions[name].get("grade", {}).get("family") == family]
    return family_views[:MOST_VIEWS] or [augmentation]


def _relative_shifts(rows: pl.DataFrame, scale: Scale) -> pl.Series:
    """The relative shift of each row's cosine; null without a baseline."""
    if scale.baseline is None:
        return pl.Series(SHIFT, [None] * len(rows), pl.Float64)
    cosines = rows[COSINE].cast(pl.Float64).to_numpy()
    return pl.Series(SHIFT, relative_shift(cosines, scale.baseline, METRICS[COSINE].no_change))
