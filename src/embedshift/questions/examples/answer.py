"""The question's answer on the first screen: which images an augmentation moves far."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.report.numbers import with_interval
from embedshift.report.section import Answer, PageInput
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.summary import COSINE, FAR
from embedshift.store.naming import ImageNaming

# Images that are named.
NAMED = 3


def answer(page: PageInput) -> Answer:
    table = furthest(page.data.rows, page.data.summary, page.data.by_shift())
    return Answer("Which images have the largest shift?", largest_of(table, page.reader.naming))


def largest_of(table: pl.DataFrame, naming: ImageNaming) -> Json:
    far = table.filter(pl.col("far") > 0).sort("far", descending=True, maintain_order=True)
    names = table["augmentation", "image_id", "relative_shift"].head(NAMED).rows()
    largest = [(name, naming.image(image), with_interval(shift, None, None)[0]) for name, image, shift in names]
    return {"far": far.to_dicts(), "largest": largest}


def furthest(rows: pl.LazyFrame, summary: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    baselines = summary.filter((pl.col("metric") == COSINE) & pl.col("relative_shift").is_not_null())["baseline"]
    far_counts, image_counts = (dict.fromkeys(order if len(baselines) else (), 0) for _ in range(2))
    furthest_image: dict[str, tuple[float, str]] = {}
    row_layout = layout(rows)
    size = len(row_layout.views)
    for block in blocks(rows.select("image_id", COSINE), size) if far_counts and row_layout.images else ():
        ids = block["image_id"].gather_every(size)
        for name in order:
            sums, counts = row_layout.per_image(block, name, [COSINE])
            with np.errstate(invalid="ignore", divide="ignore"):
                relative_shifts = (1.0 - sums[:, 0] / counts[:, 0]) / (1.0 - baselines[0])
            far_counts[name] += int((relative_shifts > FAR).sum())
            image_counts[name] += int(np.isfinite(relative_shifts).sum())
            if np.isfinite(relative_shifts).any():
                largest = float(np.nanmax(relative_shifts))
                tied = ids.filter(pl.Series(relative_shifts == largest)).min()
                # Of equal relative shifts the first name, whatever the order of the images.
                candidate = (-largest, str(tied))
                furthest_image[name] = min(furthest_image.get(name, candidate), candidate)
    furthest_rows = [
        (name, image_counts[name], far_counts[name], furthest_image[name][1], -furthest_image[name][0])
        for name in order
        if name in furthest_image
    ]
    schema = {"augmentation": pl.String, **dict.fromkeys(("images", "far"), pl.Int64), "image_id": pl.String}
    schema |= {"relative_shift": pl.Float64}
    return pl.DataFrame(furthest_rows, schema=schema, orient="row")
