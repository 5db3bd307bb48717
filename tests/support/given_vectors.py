"""Vectors that a test gives, as arrays and as a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from embedshift.arrays import Values

EMBEDDING = ["cosine_similarity", "l2_distance"]


def arrays(seed: int = 0, images: int = 12, dim: int = 8) -> tuple[Values, dict[str, Values]]:
    """Vectors of originals and of two views, the second further away."""
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(images, dim))
    return original, {
        name: original + by * rng.normal(size=original.shape) for name, by in {"a": 0.1, "b": 0.5}.items()
    }


def table(folder: Path, original: Values, views: Mapping[str, Values], **columns: Sequence[object]) -> Path:
    """A Parquet file of them, with more columns, whose cells are those of each view."""
    given = {"original": original, **views}
    ids = [f"{number}.jpg" for number in range(len(original))]
    content = {
        "image_id": ids * len(given),
        "view": [name for name in given for _ in ids],
        "vector": [list(vector) for vectors in given.values() for vector in vectors],
    }
    frame = pl.DataFrame(content | {name: list(cells) * len(given) for name, cells in columns.items()})
    frame.write_parquet(folder / "vectors.parquet")
    return folder / "vectors.parquet"
