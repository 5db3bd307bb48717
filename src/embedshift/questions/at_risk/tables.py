"""The tables `at_risk` and `content`: which images a search misses, and which kinds of images move under a change."""

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.meaning import group_means, unit_ranks
from embedshift.statistics.sample import IN_MEMORY
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.table import Table

AT_RISK = pl.Schema({"image_id": str, "missed": int, "worst": str, "rank": int, "margin": float, "nearest": str})
CONTENT = pl.Schema({"augmentation": str, "property": str, "correlation": float, "limit": float, "significant": bool})
# The property of an image that is no column of its rows: 1 - cos to the nearest other original.
NEAREST = "distance_to_nearest"
# Images, or groups, from which on properties are compared; and shuffled studies behind a limit.
LEAST, SHUFFLED = 20, 1_999


def at_risk(reader: Reader) -> pl.DataFrame:
    """Returns a row for each image: the changes under which another image comes first, and the worst of all."""
    found, nearest = reader.table("search_ranks"), _nearest(reader)
    if found is None or nearest is None or found["rank"].drop_nulls().is_empty():
        return pl.DataFrame(schema=AT_RISK)
    ranks = found.drop_nulls("rank").with_columns(margin=pl.col("cosine") - pl.col("other_cosine"))
    worst = ranks.sort("rank", "margin", descending=[True, False], nulls_last=True, maintain_order=True)
    by_image = worst.group_by("image_id", maintain_order=True).agg(
        missed=pl.col("view").filter(pl.col("rank") > 1).n_unique(),
        worst=pl.col("view").first(),
        rank=pl.col("rank").first(),
        margin=pl.col("margin").first(),
    )
    table = by_image.join(nearest.select("image_id", nearest="other"), on="image_id", how="left")
    ordered = table.sort("missed", "margin", "image_id", descending=[True, False, False], nulls_last=True)
    return ordered.select(pl.col(name).cast(kind) for name, kind in AT_RISK.items())


def _nearest(reader: Reader) -> pl.DataFrame | None:
    """Finds the nearest other image of each original; None if the study has no search."""
    table = reader.table("search_neighbours")
    if table is None:
        return None
    return table.sort("cosine", descending=True, maintain_order=True).unique("image_id", keep="first")


def content(reader: Reader) -> pl.DataFrame:
    names, values, shifts = _measured(reader)
    if len(shifts) < LEAST or not names:
        return pl.DataFrame(schema=CONTENT)
    correlations, limit = related(shifts, values, reader.info.seed)
    rows = [
        (augmentation, name, float(value), limit, bool(abs(value) > limit))
        for augmentation, row in zip(reader.augmentations, correlations, strict=True)
        for name, value in zip(names, row, strict=True)
    ]
    return pl.DataFrame(rows, CONTENT, orient="row").fill_nan(None)


def _measured(reader: Reader) -> tuple[list[str], Values, Values]:
    """Returns properties that vary, their numbers `[n, P]`, and 1 - cos `[n, A]`, of images, or groups, with all."""
    rows = reader.image_rows.head(IN_MEMORY).frame
    names = [*reader.identity_of("meaning").get("properties", ())]
    originals = rows.filter(pl.col("view") == ORIGINAL).select("image_id", *names).collect()
    if (nearest := _nearest(reader)) is not None:
        distances = nearest.select("image_id", (1 - pl.col("cosine")).alias(NEAREST))
        originals = originals.join(distances, on="image_id", how="left", maintain_order="left")
    # Image by image, and each by augmentation, as the rows are.
    by_view = rows.filter(pl.col("view") != ORIGINAL).group_by("image_id", "view", maintain_order=True)
    moved = by_view.agg(shift=1 - pl.col(COSINE).mean()).collect()["shift"].cast(pl.Float64).fill_null(np.nan)
    shifts = moved.to_numpy().reshape(len(originals), -1)
    values = originals.drop("image_id").select(pl.all().cast(pl.Float64).fill_null(np.nan))
    groups = reader.first_groups(len(shifts))
    numbers, shifts = group_means(values.to_numpy().reshape(len(shifts), -1), groups), group_means(shifts, groups)
    is_often = [np.isfinite(each).mean() > CONFIDENCE and np.nanstd(each) > 0 for each in numbers.T]
    kept = np.flatnonzero(is_often)
    there = np.isfinite(numbers[:, kept]).all(axis=1) & np.isfinite(shifts).all(axis=1)
    return [values.columns[place] for place in kept], numbers[there][:, kept], shifts[there]


def related(shifts: Values, numbers: Values, seed: int) -> tuple[Values, float]:
    """Correlates shifts `[n, A]` with properties `[n, P]` by Spearman's ρ, `[A, P]`, and finds their joint limit.

    The limit is what the largest of all correlations reaches in 5 % of studies whose images are shuffled (max-T of
    Westfall and Young 1993).
    """
    moved, known = (unit_ranks(values) for values in (shifts, numbers))
    rng, largest = np.random.default_rng(seed), np.empty(SHUFFLED)
    for place in range(SHUFFLED):
        largest[place] = np.abs(moved.T @ known[rng.permutation(len(known))]).max(initial=0.0)
    kept = round(CONFIDENCE * (SHUFFLED + 1))
    return np.asarray(moved.T @ known), float(np.sort(largest)[kept - 1])


def _has_search(reader: Reader) -> bool:
    return bool(reader.info.has_vectors and reader.augmentations)


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "at_risk",
        at_risk,
        reads=("search_ranks", "search_neighbours"),
        is_available=_has_search,
        requires="stored embeddings: run it with `store` all",
        per_image=True,
        names=("image_id", "nearest"),
        doc="One row per image, first those that a search misses under most changes: worst change, rank and margin.",
    ),
    Table(
        "content",
        content,
        reads=("search_neighbours",),
        is_available=lambda reader: reader.augmentations,
        requires="augmentations",
        doc="Rank correlation of each change's shift with properties of the originals, with a joint limit.",
    ),
)
