"""What a shard knows of other images: its originals' vectors, and metrics of made pairs."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from embedshift.questions.embedding.measure import MEASURE
from embedshift.store.shards import SUMS_KEY, with_sums

# What a made metric gives for other images, and how it varies; those of the embedding come from its vectors.
MADE, SPREAD, PAIRS = 0.6, 0.05, 64


def with_other_images(table: pa.Table, metrics: Sequence[str], views: int, images: int) -> pa.Table:
    """A shard's rows, so many `views` an image, with the sums that baselines are made from beside those that it has."""
    if not table.num_rows:
        return table
    values = table["embedding"].combine_chunks().flatten().to_numpy()
    originals = values.reshape(table.num_rows // views, views, -1)[:, 0]
    plan = SimpleNamespace(images=images, shard_size=len(originals))
    own = MEASURE.sums(cast(Any, None), cast(Any, plan))
    for vector in originals:
        for each in own.values():
            each.add(cast(Any, None), cast(Any, SimpleNamespace(embedding=vector[None])))
    # As far above the mean as below it.
    values = MADE + SPREAD * np.array([1.0, -1.0]).repeat(PAIRS // 2)[:, None] * np.ones(len(metrics))
    pairs = np.array([(pair % len(originals), (pair + 1) % len(originals)) for pair in range(PAIRS)], np.float64)
    sums = {name: each.close() for name, each in own.items()} | {
        "baseline": {"values": values, "images": pairs} if len(originals) > 1 else {}
    }
    before = json.loads((table.schema.metadata or {}).get(SUMS_KEY, b"{}"))
    said = json.loads((with_sums(table, sums).schema.metadata or {}).get(SUMS_KEY, b"{}"))
    return table.replace_schema_metadata({SUMS_KEY: json.dumps({**before, **said})})
