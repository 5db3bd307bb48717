"""The tables `summary` and `ranking`, over whatever metrics a study has; with Polars, lazily."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.statistics import bootstrap

# The paper's order, which tables and figures keep.
PAPER_METRICS = (
    "cosine_similarity",
    "l2_distance",
    "attention_similarity",
    "patch_similarity",
    "edge_preservation",
    "detail_preservation",
)
# Those of which the paper takes the mean: its similarities.
RADAR_METRICS = tuple(name for name in PAPER_METRICS if name != "l2_distance")

SUMMARY_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"), pl.Float64),
}
RESAMPLES = bootstrap.RESAMPLES


def summary(
    rows: pl.LazyFrame,
    augmentations: Sequence[str],
    metrics: Sequence[str],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> pl.DataFrame:
    """Per augmentation and metric: n, mean, sd, median, quantiles and a bootstrap 95 % interval of the mean.

    Args:
        rows: Records of a study.
        augmentations: Names, in suite order.
        metrics: Columns to describe.
        seed: The study's seed; it decides the resamples.
        resamples: How many; 0 = no interval.

    Returns:
        One row per augmentation and metric, in these orders: `augmentation, metric, n, mean, sd, median, q05, q95,
        ci_low, ci_high`. NaN and null values are left out and `n` counts what was used; sd has ddof = 1; quantiles are
        linear; the interval is the percentile interval over the resamples of images with all their draws. A
        statistic of no value is null.
    """
    means = _resampled_summary(rows, bootstrap.layout(rows), augmentations, metrics, seed, resamples)
    described: list[dict[str, object]] = []
    for place, name in enumerate(augmentations):
        part = rows.filter(pl.col("view") == name).select(pl.col(metrics).cast(pl.Float64)).collect(engine="streaming")
        for column, metric in enumerate(metrics):
            values = part[metric].fill_null(np.nan).to_numpy()
            described.append({"augmentation": name, "metric": metric, **_describe(values, means[:, place, column])})
    return pl.DataFrame(described, schema=SUMMARY_SCHEMA)


def _resampled_summary(
    rows: pl.LazyFrame,
    order: bootstrap.Layout,
    augmentations: Sequence[str],
    metrics: Sequence[str],
    seed: int,
    resamples: int,
) -> Values:
    """Means `[resamples, A, M]`, NaN where a resample holds no value; the rows are read once, as a stream."""
    shape = (resamples, len(augmentations), len(metrics))
    if not resamples or not order.images:
        return np.full(shape, np.nan)
    parts = (
        np.hstack([np.hstack(order.per_image(block, name, metrics)) for name in augmentations])
        for block in bootstrap.blocks(rows.select(metrics), len(order.views))
    )
    totals = bootstrap.resampled_sums(parts, order.images, seed=seed, resamples=resamples).reshape(
        shape[0], shape[1], 2, shape[2]
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, :, 0] / totals[:, :, 1])


def _describe(values: Values, means: Values) -> dict[str, object]:
    used = values[~np.isnan(values)]
    if not len(used):
        return {"n": 0}
    q05, median, q95 = np.quantile(used, (0.05, 0.5, 0.95))
    low, high = map(float, np.nanquantile(means, (0.025, 0.975))) if len(means) else (None, None)
    sd = float(used.std(ddof=1)) if len(used) > 1 else None
    return {
        "n": len(used), "mean": float(used.mean()), "sd": sd, "median": float(median),
        "q05": float(q05), "q95": float(q95), "ci_low": low, "ci_high": high,
    }  # fmt: skip


def image_numbers(image_ids: pl.Series) -> NDArray[np.int64]:
    """Which image each row of one view belongs to, 0 to n - 1; the rows of an image follow each other.

    Example:
        >>> image_numbers(pl.Series(["b.jpg", "b.jpg", "a.jpg"])).tolist()
        [0, 0, 1]
    """
    return image_ids.rle_id().to_numpy().astype(np.int64)


def per_image(values: Values, image: NDArray[np.int64]) -> tuple[Values, Values]:
    """Sums and counts of the values that are not NaN, image by image.

    Args:
        values: `[N, K]`.
        image: Which image each of the N rows belongs to, 0 to n - 1, in order.

    Returns:
        Sums `[n, K]` and counts `[n, K]`.

    Example:
        >>> sums, counts = per_image(np.array([[1.0], [2.0], [np.nan]]), np.array([0, 0, 1]))
        >>> sums.ravel().tolist(), counts.ravel().tolist()
        ([3.0, 0.0], [2.0, 0.0])
    """
    if not len(values):
        return np.zeros((0, values.shape[1])), np.zeros((0, values.shape[1]))
    starts = np.flatnonzero(np.diff(image, prepend=-1))
    there = ~np.isnan(values)
    sums = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
    return sums, np.add.reduceat(there.astype(np.float64), starts, axis=0)


def resampled_means(sums: Values, counts: Values, *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Means over bootstrap resamples of the images, every image with all its draws (Efron's percentile bootstrap).

    The same seed and number of images give the same resamples, so that columns of different calls are paired.

    Args:
        sums: Per image and column, the sum of its values `[n, K]`.
        counts: Per image and column, the number of its values `[n, K]`.
        seed: Decides the resamples.
        resamples: How many.

    Returns:
        float64 `[resamples, K]`; NaN where a resample holds no value.

    Example:
        >>> resampled_means(np.full((3, 1), 4.0), np.ones((3, 1)), seed=0, resamples=2).ravel().tolist()
        [4.0, 4.0]
    """
    if not len(sums):
        return np.full((resamples, sums.shape[1]), np.nan)
    blocks = bootstrap.in_blocks(np.hstack([sums, counts]))
    totals = bootstrap.resampled_sums(blocks, len(sums), seed=seed, resamples=resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, : sums.shape[1]] / totals[:, sums.shape[1] :])


def ranking(summary: pl.DataFrame) -> pl.DataFrame:
    """`augmentation, mean_performance, rank`: the mean of the five radar metrics' means; rank 1 = least changed.

    A metric that the encoder does not have is left out of the mean.

    Example:
        >>> rows = [("flip", m, 0.9) for m in RADAR_METRICS] + [("noise", m, 0.5) for m in RADAR_METRICS]
        >>> ranking(pl.DataFrame(rows, schema=["augmentation", "metric", "mean"], orient="row"))["rank"].to_list()
        [1, 2]
    """
    return (
        summary.filter(pl.col("metric").is_in(RADAR_METRICS))
        .group_by("augmentation", maintain_order=True)
        .agg(pl.col("mean").mean().alias("mean_performance"))
        .with_columns(pl.col("mean_performance").rank("ordinal", descending=True).cast(pl.Int64).alias("rank"))
    )
