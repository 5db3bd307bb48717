"""Contributions of heads: do they add up, and what do they cost?

usage: python benchmarks/heads.py PHOTOS [--count 25]

Measures the bundled encoder twice on the same drawn views, image by image in turns, without and with `heads`. Ends with
exit code 1 where contributions do not add up to 1 within 1e-4, or cost more than a tenth of the encoder's time.
"""

import sys
from contextlib import ExitStack
from time import process_time

import numpy as np
import polars as pl

from bench import BUNDLED, arguments, print_head, print_machine, print_row, spread_over
from embedshift.arrays import Values
from embedshift.config import Json, make_config
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.drawn import DrawnImage
from embedshift.pipeline.prepare import StudyContext, prepared
from embedshift.pipeline.shard import measure_shards
from embedshift.sources import Shard

SUMS_TO, MOST = 1e-4, 1.1


def main() -> None:
    options = arguments(__doc__, "photos", count=25)
    settings: Json = {"images": [str(path) for path in spread_over(options.photos, options.count)], "model": BUNDLED}
    seconds, tables = [], []
    with ExitStack() as stack:
        plain = stack.enter_context(prepared(make_config(settings), None))
        split = stack.enter_context(prepared(make_config(settings | {"heads": True}), None))
        for sample in plain.samples:
            image = draw_image(sample, plain.plan.source, plain.plan)
            if isinstance(image, DrawnImage):
                (without, _), (within, table) = measured(image, plain), measured(image, split)
                seconds.append((without, within))
                tables.append(table)
    rows = pl.concat(tables).filter(pl.col("view") != "original")
    heads, mlps = (np.stack(rows[name].to_list()).astype(np.float64) for name in ("heads", "mlps"))
    rest = sum(rows[name].to_numpy() for name in ("head_input", "head_pattern", "head_rest"))
    off = float(np.abs(heads.sum(axis=1) + mlps.sum(axis=1) + rest - 1).max())
    without, within = np.array(seconds[1:]).T  # the first warms up
    ratio, quartiles = within.sum() / without.sum(), np.quantile(within / without, (0.25, 0.5, 0.75))
    print(f"{len(tables)} photos, {rows.height} views: contributions add up to 1 within {off:.1e}")
    print(f"CPU time with heads: {ratio:.3f} of that without; quartiles {np.round(quartiles, 3).tolist()}\n")
    print_contributions(rows, heads.reshape(*mlps.shape, -1)[:, -1].sum(axis=1) + mlps[:, -1], mlps.sum(axis=1))
    print_machine()
    sys.exit(not (off < SUMS_TO and ratio < MOST))


def measured(image: DrawnImage, study: StudyContext) -> tuple[float, pl.DataFrame]:
    """CPU seconds, and the rows."""
    started = process_time()
    [(table, _)] = measure_shards([Shard(0, (image.sample,))], iter([image]), study.ready, study.plan)
    return process_time() - started, pl.DataFrame(pl.from_arrow(table))


def print_contributions(rows: pl.DataFrame, last: Values, mlps: Values) -> None:
    """What the last block and all MLPs carry, by augmentation; each view weighted by its shift."""
    print_head("augmentation", "last block", "all MLPs")
    for (name,), part in rows.with_row_index().group_by("view", maintain_order=True):
        places, weights = part["index"].to_numpy(), 1 - part["cosine_similarity"].to_numpy()
        print_row(name, *(f"{np.average(values[places], weights=weights):.2f}" for values in (last, mlps)))


if __name__ == "__main__":
    main()
