"""What tests of the gate share: another encoder, and rules that have one result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import embedshift
from embedshift.study import Study
from embedshift.study.gate.result import Result

Numbers = NDArray[np.float64]


def turned(seed: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Another encoder: embeddings of its own, and the cosines that follow from them."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        vectors = np.stack(rows["embedding"].to_list()).astype(np.float64)
        vectors = (vectors + 0.2 * rng.normal(size=vectors.shape) + 0.3).astype(np.float32).astype(np.float64)
        is_original = (rows["view"] == "original").to_numpy()
        cosine = cosines(vectors, vectors[is_original][is_original.cumsum() - 1])
        kept = pl.when(pl.col("view") != "original").then(pl.Series(cosine)).alias("cosine_similarity")
        return rows.with_columns(pl.Series("embedding", vectors, dtype=rows.schema["embedding"]), kept)

    return change


def cosines(a: Numbers, b: Numbers) -> Numbers:
    """Cosines of vectors, row by row."""
    return np.asarray((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


def only(study: Study, against: Study | None, **rule: Any) -> Result:
    """The only result of a rule."""
    (result,) = each(study, against, [rule])
    return result


def each(study: Study, against: Study | None, rules: Sequence[Mapping[str, Any]]) -> tuple[Result, ...]:
    """The only result of each rule, of one check."""
    results = embedshift.check(study, rules, against).results
    assert [result.number for result in results] == [*range(1, len(rules) + 1)]
    return results
