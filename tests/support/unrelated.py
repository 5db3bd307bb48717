"""What a shard knows of unrelated images: its originals' vectors, and metrics of made pairs."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from embedshift.statistics.floors import GROUPS, KEPT
from embedshift.store.shards import SUMS_KEY, with_sums

# What a made metric gives for unrelated images, and how it varies; those of the embedding come from its vectors.
MADE, SPREAD, PAIRS = 0.6, 0.05, 64


def with_unrelated(table: pa.Table, metrics: Sequence[str], views: int, images: int) -> pa.Table:
    """A shard's rows with the sums that floors are made from, beside the sums that it has.

    Args:
        table: The rows.
        metrics: Of the study, in order.
        views: Rows of an image.
        images: Images of the study.
    """
    if not table.num_rows:
        return table
    values = table["embedding"].combine_chunks().flatten().to_numpy()
    originals = values.reshape(table.num_rows // views, views, -1)[:, 0]
    count, pairs = len(originals), np.full(len(metrics), float(PAIRS if len(originals) > 1 else 0))
    sums = {
        "vectors": {"vectors": originals[: count if images <= KEPT else max(1, KEPT * count // images)]},
        "floor": {
            "sums": MADE * pairs, "squares": (MADE**2 + SPREAD**2) * pairs, "pairs": pairs, "images": pairs,
        },
    }  # fmt: skip
    if images > KEPT:
        each = max(1, images // GROUPS)
        units = originals / np.linalg.norm(originals.astype(np.float64), axis=1, keepdims=True)
        starts = np.arange(0, count, each)
        sizes = np.diff([*starts, count]).astype(np.float64)
        sums["units"] = {"units": np.add.reduceat(units, starts, axis=0), "valid": sizes, "images": sizes}
    before = json.loads((table.schema.metadata or {}).get(SUMS_KEY, b"{}"))
    said = json.loads((with_sums(table, sums).schema.metadata or {}).get(SUMS_KEY, b"{}"))
    return table.replace_schema_metadata({SUMS_KEY: json.dumps({**before, **said})})
