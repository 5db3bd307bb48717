"""A study → one point for each of its images, and what a click on one shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from embedshift.app.look import Scale
from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.baselines import relative_shift
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn

# Points that a page draws; of more images so many, drawn by the seed.
MOST = 4_000
# Views of one image that a page shows; of more, those of the family.
MOST_VIEWS = 20
RELATIVE_SHIFT = "relative_shift"


@dataclass(frozen=True)
class Points:
    """Images as points."""

    ids: list[str]
    x: Values
    y: Values
    of: int
    left_out: int = 0


@dataclass(frozen=True)
class Detail:
    """What a click on a point shows."""

    image_id: str
    image: RedrawnImage | None
    missing: Mapping[str, str]
    relative_shifts: Mapping[str, float]


def axes(reader: Reader) -> list[str]:
    """What an axis may show: the relative shift of the cosine, then the metrics of the rows."""
    return [RELATIVE_SHIFT, *reader.metrics]


def axis_label(name: str) -> str:
    """What a reader calls an axis."""
    if name == RELATIVE_SHIFT:
        return "relative shift"
    known = METRICS[name]
    return f"{known.label} ({known.no_change:g} = no change)"


def points(
    reader: Reader,
    augmentation: str,
    x: str,
    y: str,
    scale: Scale,
    *,
    holds: str = "",
    least: float = 0.0,
) -> Points:
    """One point per image, by its view of draw 0."""
    for kind, name, known in (
        ("augmentation", augmentation, reader.augmentations), ("metric", x, axes(reader)), ("metric", y, axes(reader)),
    ):  # fmt: skip
        if name not in known:
            raise UsageError(f"{kind} {name!r}: the study does not have it")
    of = sum(record.images for record in reader.records)
    rows = reader.rows().filter((pl.col("view") == augmentation) & (pl.col("draw") == 0))
    if of > MOST:
        rows = rows.filter(pl.col("image_id").is_in(reader.sample_ids(MOST)))
    metrics = dict.fromkeys(name for name in (COSINE, x, y) if name != RELATIVE_SHIFT)
    found = rows.select("image_id", *metrics).collect()
    found = found.with_columns(_relative_shifts(found, scale))
    if holds:
        found = found.filter(pl.col("image_id").str.to_lowercase().str.contains(holds.lower(), literal=True))
    if least:
        found = found.filter(pl.col(RELATIVE_SHIFT) >= least)
    kept = found.filter(pl.col(x).is_finite() & pl.col(y).is_finite()).sort(x, y, "image_id")
    return Points(kept["image_id"].to_list(), kept[x].to_numpy(), kept[y].to_numpy(), of, len(found) - len(kept))


def detail(reader: Reader, image_id: str, augmentation: str, scale: Scale) -> Detail:
    """An image of a study and its views, drawn again."""
    wanted = shown_views(reader, augmentation)
    rows = reader.rows().filter((pl.col("image_id") == image_id) & (pl.col("draw") == 0) & (pl.col("view") != ORIGINAL))
    numbers = rows.select("view", COSINE).collect()
    relative_shifts = dict(zip(numbers["view"], _relative_shifts(numbers, scale), strict=True))
    kept = {name: relative_shifts[name] for name in wanted if relative_shifts.get(name) is not None}
    if not reader.shows_images:
        return Detail(image_id, None, {ORIGINAL: reader.unseen}, kept)
    _, image = next(iter_redrawn(reader, [image_id], {image_id: wanted}))
    if isinstance(image, str):
        return Detail(image_id, None, {ORIGINAL: image}, kept)
    missing = {name: image.missing.get(name, "it cannot be drawn again") for name in wanted if name not in image.views}
    return Detail(image_id, image, missing, kept)


def shown_views(reader: Reader, augmentation: str) -> list[str]:
    """The views that a click shows: all, or of many those of one family, or that one alone."""
    names = reader.augmentations
    if len(names) <= MOST_VIEWS:
        return names
    described = reader.info.identity["augmentations"]
    family = described[augmentation].get("grade", {}).get("family")
    same = [name for name in names if family and described[name].get("grade", {}).get("family") == family]
    return same[:MOST_VIEWS] or [augmentation]


def _relative_shifts(rows: pl.DataFrame, scale: Scale) -> pl.Series:
    """The relative shift of each row's cosine; null without a baseline."""
    if scale.baseline is None:
        return pl.Series(RELATIVE_SHIFT, [None] * len(rows), pl.Float64)
    cosines = rows[COSINE].cast(pl.Float64).to_numpy()
    return pl.Series(RELATIVE_SHIFT, relative_shift(cosines, scale.baseline, METRICS[COSINE].no_change))
