"""Records as a study holds them, made of numbers, for the tests of the tables."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.spatial import distance

from embedshift.registry import METRICS as METRICS_KNOWN
from embedshift.statistics import summary as tables
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import PAPER_METRICS

Rows = list[dict[str, Any]]

SUITE = ["noise", "blur", "flip", "zoom"]
METRICS = list(PAPER_METRICS)
DIM = 6


def records(
    images: int = 9, suite: Sequence[str] = SUITE, draws: int = 2, seed: int = 0, metrics: Sequence[str] = METRICS
) -> Rows:
    """Rows as a study holds them, in its order; every number drawn, embeddings too. As a list of dicts."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for image in range(images):
        image_id = f"image {images - image:03}.jpg"  # the order of the rows is not that of the names
        vectors: dict[Any, np.ndarray] = {"original": rng.normal(size=DIM).astype(np.float32)}
        vectors |= {(name, d): rng.normal(size=DIM).astype(np.float32) for d in range(draws) for name in suite}
        pairs = [
            distance.cosine(vectors[first, d].astype(float), vectors[second, d].astype(float))
            for d in range(draws)
            for first, second in itertools.combinations(suite, 2)
        ]
        nothing = dict.fromkeys(metrics)
        rows.append({"image_id": image_id, "view": "original", "draw": 0, "embedding": vectors["original"], **nothing, "pairwise": pairs})  # fmt: skip  # noqa: E501
        level = rng.normal()  # draws of one image are alike
        for d, name in itertools.product(range(draws), suite):
            values = {m: _within(m, level + rng.normal() * (1 + SUITE.index(name))) for m in metrics}
            cosine = 1 - distance.cosine(vectors["original"].astype(float), vectors[name, d].astype(float))
            values["cosine_similarity"] = cosine
            rows.append({"image_id": image_id, "view": name, "draw": d, "embedding": vectors[name, d], **values, "pairwise": None})  # fmt: skip  # noqa: E501
    return rows


def _within(metric: str, number: float) -> float:
    """Any number as a value that the metric can have."""
    low, high = METRICS_KNOWN[metric].low, METRICS_KNOWN[metric].high
    fraction = 1 / (1 + np.exp(-number))
    return float(low + (high - low) * fraction) if np.isfinite(high) else float(np.exp(number))


def lazy(rows: Rows, metrics: Sequence[str] = METRICS) -> pl.LazyFrame:
    schema: dict[str, Any] = {
        "image_id": pl.String, "view": pl.String, "draw": pl.Int32, "embedding": pl.Array(pl.Float32, DIM),
        **dict.fromkeys(metrics, pl.Float64), "pairwise": pl.List(pl.Float32),
    }  # fmt: skip
    return pl.DataFrame([row | {"embedding": row["embedding"].tolist()} for row in rows], schema=schema).lazy()


def holes(rows: Rows, seed: int = 1) -> Rows:
    """The same with NaN and null among the metrics."""
    rng = np.random.default_rng(seed)
    for row in rows:
        if row["view"] == "original":
            continue
        for metric in METRICS[1:]:
            chance = rng.random()
            row[metric] = np.nan if chance < 0.15 else None if chance < 0.25 else row[metric]
        if row["view"] == "blur":
            row["attention_similarity"] = None
        if row["view"] == "flip":
            row["detail_preservation"] = np.nan
    return rows


def summarised(
    rows: Rows, suite: Sequence[str] = SUITE, metrics: Sequence[str] = METRICS, seed: int = 0, **more: Any
) -> pl.DataFrame:
    """The summary of the records."""
    return tables.summary(
        image_rows(lazy(rows)), tables.measured(image_rows(lazy(rows)), suite, metrics), seed=seed, **more
    )
