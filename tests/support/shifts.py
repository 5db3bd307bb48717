"""Sums of shifts by a slow loop, image by image and view by view."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from embedshift.store.shards import SUMS_KEY, with_sums


def shift_sums(embedding: np.ndarray, augmentations: int, draws: int) -> dict[str, np.ndarray]:
    """Of embeddings `[n, 1 + A * draws, D]`, none of length zero."""
    count, _, dim = embedding.shape
    sums: dict[str, Any] = {"count": np.array(float(count)), "originals": np.zeros(dim)}
    sums |= {name: np.zeros(augmentations) for name in ("images", "counts", "lengths", "squares", "together")}
    sums["shifts"] = np.zeros((augmentations, dim))
    for vectors in embedding.astype(np.float64):
        original = vectors[0] / np.sqrt((vectors[0] ** 2).sum())
        sums["originals"] += original
        for a in range(augmentations):
            of_image = np.zeros(dim)
            for d in range(draws):
                view = vectors[1 + d * augmentations + a]
                view = view / np.sqrt((view**2).sum())
                shift = view - original
                of_image += shift
                sums["counts"][a] += 1
                sums["lengths"][a] += np.sqrt((shift**2).sum())
                sums["squares"][a] += (shift**2).sum()
            sums["shifts"][a] += of_image
            sums["together"][a] += (of_image**2).sum()
            sums["images"][a] += 1
    return sums | {"shifts": sums["shifts"].astype(np.float32)}


def with_shifts(table: pa.Table, augmentations: int, draws: int) -> pa.Table:
    """A shard's rows with the sums of its embeddings, beside the sums that it has."""
    views = 1 + augmentations * draws
    values = table["embedding"].combine_chunks().flatten().to_numpy()
    embedding = values.reshape(table.num_rows // views, views, -1)
    before: Mapping[str, object] = json.loads((table.schema.metadata or {}).get(SUMS_KEY, b"{}"))
    sums = {"shifts": shift_sums(embedding, augmentations, draws)} if table.num_rows else {}
    made = with_sums(table, sums)
    said = json.loads((made.schema.metadata or {}).get(SUMS_KEY, b"{}"))
    return made.replace_schema_metadata({SUMS_KEY: json.dumps({**before, **said})})
