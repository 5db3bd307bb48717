"""Finds the images that an augmentation moved most, typically and least."""

import polars as pl


def extremes(rows: pl.LazyFrame, augmentation: str, *, count: int = 3) -> dict[str, list[str]]:
    """Returns the images that one augmentation moved most, typically and least, by cosine similarity of draw 0."""
    part = (
        rows.filter((pl.col("view") == augmentation) & (pl.col("draw") == 0))
        .select("image_id", pl.col("cosine_similarity").fill_nan(None))
        .drop_nulls()
        .collect()
        .sort("cosine_similarity", "image_id")
    )
    ids = part["image_id"].to_list()
    fraction = max(1, min(count, len(ids) // 3)) if ids else 0
    most, least = ids[:fraction], ids[max(fraction, len(ids) - fraction) :][::-1]
    between = ids[fraction : len(ids) - len(least)]
    start = max(0, (len(between) - fraction) // 2)
    return {"most": most, "typical": between[start : start + fraction], "least": least}
