"""Contributions of heads: do they add up, and what do they cost?

usage: python benchmarks/heads.py PHOTOS [--every 8]

Measures the bundled encoder twice on the same drawn views, image by image in turns, without and with `heads`. Ends with
exit code 1 where contributions do not add up to 1 within 1e-4, or cost more than a tenth of the encoder's time.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.config import Json, make_config
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.pipeline.shard import measure_shards
from embedshift.sources import Shard
from machine import describe_machine

Array = NDArray[np.float64]
SUMS_TO = 1e-4
MOST = 1.1


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--every", type=int, default=8, help="take every so many of the photos")
    options = parser.parse_args()
    files = [str(path) for path in sorted(options.photos.iterdir())[:: options.every]]
    settings: Json = {"images": files, "model": "dinov2-small-offline"}
    with ExitStack() as stack:
        plain = stack.enter_context(prepared(make_config(settings), None))
        split = stack.enter_context(prepared(make_config(settings | {"heads": True}), None))
        drawn = [each for each in _drawn(plain) if isinstance(each, DrawnImage)]
        seconds, tables = _measure(drawn, plain, split)
        rows = pl.concat(tables).filter(pl.col("view") != "original")
        off = _off(rows)
        ratio = seconds[:, 1].sum() / seconds[:, 0].sum()
        print(f"{len(drawn)} photos, {rows.height} views: contributions add up to 1 within {off:.1e}")
        print(f"CPU time with heads: {ratio:.3f} of that without; image by image {_quartiles(seconds)}")
        _contributions(rows)
    print(describe_machine())
    sys.exit(0 if off < SUMS_TO and ratio < MOST else 1)


def _drawn(study: StudyContext) -> Iterator[object]:
    for sample in study.samples:
        yield draw_image(sample, study.plan.source, study.plan)


def _measure(drawn: list[DrawnImage], *studies: StudyContext) -> tuple[Array, list[pl.DataFrame]]:
    """CPU seconds `[images, studies]`, and the rows of the last study."""
    seconds, tables = [], []
    for place, image in enumerate(drawn):
        row = []
        for study in studies:
            shard = Shard(0, (image.sample,))
            started = time.process_time()
            [(table, _)] = measure_shards([shard], iter([image]), study.ready, study.plan)
            row.append(time.process_time() - started)
        tables.append(pl.DataFrame(pl.from_arrow(table)))
        if place:  # the first warms up
            seconds.append(row)
    return np.array(seconds), tables


def _quartiles(seconds: Array) -> str:
    low, middle, high = np.quantile(seconds[:, 1] / seconds[:, 0], (0.25, 0.5, 0.75))
    return f"{low:.3f}, {middle:.3f}, {high:.3f} (quartiles)"


def _lists(rows: pl.DataFrame, name: str) -> Array:
    return np.stack(rows[name].to_list()).astype(np.float64)


def _off(rows: pl.DataFrame) -> float:
    total = _lists(rows, "heads").sum(axis=1) + _lists(rows, "mlps").sum(axis=1)
    total += sum(rows[name].to_numpy() for name in ("head_input", "head_pattern", "head_rest"))
    return float(np.abs(total - 1).max())


def _contributions(rows: pl.DataFrame) -> None:
    """What the last block carries, by augmentation."""
    depth = len(rows["mlps"][0])
    heads, mlps = _lists(rows, "heads"), _lists(rows, "mlps")
    last = heads.reshape(len(heads), depth, -1)[:, -1].sum(axis=1) + mlps[:, -1]
    table = rows.select("view", pl.Series("last block", last), pl.Series("all MLPs", mlps.sum(axis=1)))
    weights = 1 - pl.col("cosine_similarity")
    table = table.with_columns(rows["cosine_similarity"])
    with pl.Config(tbl_rows=-1, float_precision=2, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print("contributions, each view weighted by its shift:")
        print(
            table.group_by("view", maintain_order=True).agg(
                (pl.col(name) * weights).sum() / weights.sum() for name in ("last block", "all MLPs")
            )
        )


if __name__ == "__main__":
    main()
