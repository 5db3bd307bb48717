"""Rows of a study with heads, made of numbers, as Polars holds them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values

COLUMNS = ("heads", "mlps", "head_input", "head_pattern", "head_rest")


def headed(
    relative_shifts: Mapping[str, Values],
    cosine: Mapping[str, Values],
    shape: tuple[int, int],
    missing: float | None = None,
) -> pl.LazyFrame:
    """The rows, image by image and draw by draw.

    Args:
        relative_shifts: Augmentation → `[images, draws, K]`, in the order of the columns; NaN in all K of a view without relative shifts.
        cosine: Augmentation → `[images, draws]`.
        shape: Blocks, and heads of each.
        missing: What the columns of a view without relative shifts hold: NaN; None = they are null.
    """
    depth, width = shape
    lengths = dict(zip(COLUMNS, (depth * width, depth, 1, 1, 1), strict=True))
    ends = np.cumsum([0, *lengths.values()])
    rows: list[dict[str, object]] = []
    images, draws, _ = next(iter(relative_shifts.values())).shape
    for image in range(images):
        rows.append({"image_id": f"{image}.jpg", "view": "original", "draw": 0})
        for draw in range(draws):
            for name, values in relative_shifts.items():
                own = values[image, draw]
                row: dict[str, object] = {"image_id": f"{image}.jpg", "view": name, "draw": draw}
                row["cosine_similarity"] = float(cosine[name][image, draw])
                if missing is not None or np.isfinite(own).all():
                    row |= {each: own[a:b].tolist() for each, a, b in zip(COLUMNS, ends, ends[1:], strict=False)}
                    row |= {each: float(own[ends[k]]) for k, each in enumerate(COLUMNS) if k > 1}
                rows.append(row)
    kinds = {
        name: pl.Array(pl.Float32, length) if name in ("heads", "mlps") else pl.Float64()
        for name, length in lengths.items()
    }
    schema: dict[str, Any] = {
        "image_id": pl.String,
        "view": pl.String,
        "draw": pl.Int32,
        "cosine_similarity": pl.Float64,
        **kinds,
    }
    return pl.DataFrame(rows, schema=schema).lazy()


def detailed(
    rows: pl.LazyFrame, columns: Mapping[str, Values], of_view: Callable[[Mapping[str, Any]], bool]
) -> pl.LazyFrame:
    """The rows with more columns, which are null on originals.

    Args:
        rows: As `headed` makes them.
        columns: Lists `[n, length]`, or numbers `[n]`.
        of_view: Whether a row of a view has them.
    """
    found = rows.collect()
    there = [row["view"] != "original" and of_view(row) for row in found.iter_rows(named=True)]
    for name, values in columns.items():
        kind: pl.DataType = pl.Float64() if values.ndim == 1 else pl.Array(pl.Float32, values.shape[1])
        held = [own if keep else None for own, keep in zip(values.tolist(), there, strict=True)]
        found = found.with_columns(pl.Series(name, held, dtype=kind))
    return found.lazy()
