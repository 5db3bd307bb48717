"""Shards → tables, with Polars, lazily. Tables never read an embedding, but for `mean_embeddings`."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.metrics import RADAR_METRICS

Values = NDArray[np.float64]

SUMMARY_SCHEMA: dict[str, type[pl.DataType]] = {
    "augmentation": pl.String,
    "metric": pl.String,
    "n": pl.Int64,
    **dict.fromkeys(("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"), pl.Float64),
}
RESAMPLES = 2_000
# Bootstrap weights held at once, as numbers: 32 MB.
_CHUNK = 4_000_000


def summary(rows: pl.LazyFrame, augmentations: Sequence[str], metrics: Sequence[str], *, seed: int) -> pl.DataFrame:
    """Per augmentation and metric: n, mean, sd, median, quantiles and a bootstrap 95 % interval of the mean.

    Args:
        rows: Records of a study.
        augmentations: Names, in suite order.
        metrics: Columns to describe.
        seed: The study's seed; it decides the resamples.

    Returns:
        One row per augmentation and metric, in these orders: `augmentation, metric, n, mean, sd, median, q05, q95,
        ci_low, ci_high`. NaN and null values are left out and `n` counts what was used; sd has ddof = 1; quantiles are
        linear; the interval is the percentile interval over 2,000 resamples of images with all their draws. A
        statistic of no value is null.
    """
    described: list[dict[str, object]] = []
    for name in augmentations:
        part = rows.filter(pl.col("view") == name).select("image_id", *metrics).collect()
        image = image_numbers(part["image_id"])
        values = part.select(metrics).cast(pl.Float64).fill_null(np.nan).to_numpy()
        means = resampled_means(*per_image(values, image), seed=seed)
        for column, metric in enumerate(metrics):
            described.append({"augmentation": name, "metric": metric, **_describe(values[:, column], means[:, column])})
    return pl.DataFrame(described, schema=SUMMARY_SCHEMA)


def _describe(values: Values, means: Values) -> dict[str, object]:
    used = values[~np.isnan(values)]
    if not len(used):
        return {"n": 0}
    q05, median, q95 = np.quantile(used, (0.05, 0.5, 0.95))
    low, high = np.nanquantile(means, (0.025, 0.975))
    sd = float(used.std(ddof=1)) if len(used) > 1 else None
    return {
        "n": len(used), "mean": float(used.mean()), "sd": sd, "median": float(median),
        "q05": float(q05), "q95": float(q95), "ci_low": float(low), "ci_high": float(high),
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
    totals = resampled_sums(np.hstack([sums, counts]), seed=seed, resamples=resamples)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals[:, : sums.shape[1]] / totals[:, sums.shape[1] :])


def resampled_sums(values: Values, *, seed: int, resamples: int = RESAMPLES) -> Values:
    """Sums `[resamples, K]` of per-image values `[n, K]` over the resamples that `resampled_means` describes.

    Example:
        >>> resampled_sums(np.ones((3, 1)), seed=0, resamples=2).ravel().tolist()
        [3.0, 3.0]
    """
    images = len(values)
    if not images:
        return np.zeros((resamples, values.shape[1]))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // images)
    totals: list[Values] = []
    for start in range(0, resamples, step):
        weights = np.stack(
            [
                np.bincount(rng.integers(images, size=images), minlength=images)
                for _ in range(min(step, resamples - start))
            ]
        ).astype(np.float64)
        totals.append(weights @ values)
    return np.concatenate(totals)


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


def pairwise(rows: pl.LazyFrame, augmentations: Sequence[str], *, include_original: bool = False) -> pl.DataFrame:
    """Mean over images and draws of `1 - cos` between the views of the same image and draw.

    Args:
        rows: Records of a study.
        augmentations: Names, in suite order.
        include_original: Adds the original view as a first row and column.

    Returns:
        `augmentation` and one column per augmentation; symmetric, zeros on the diagonal.
    """
    size = len(augmentations)
    matrix = np.zeros((size, size))
    first, second = np.triu_indices(size, k=1)
    if len(first):
        matrix[first, second] = matrix[second, first] = _mean(pair_distances(rows, len(first))[0])
    names = list(augmentations)
    if include_original:
        means = (
            rows.filter(pl.col("view") != ORIGINAL)
            .group_by("view")
            .agg((1.0 - pl.col("cosine_similarity").fill_nan(None)).mean().alias("distance"))
            .collect()
        )
        far = dict(means.iter_rows())
        edge = np.array([far[name] for name in names], dtype=np.float64)
        matrix = np.block([[np.zeros((1, 1)), edge[None]], [edge[:, None], matrix]])
        names = [ORIGINAL, *names]
    return pl.DataFrame({"augmentation": names} | dict(zip(names, matrix, strict=True)))


def pair_distances(rows: pl.LazyFrame, pairs: int) -> tuple[Values, NDArray[np.int64]]:
    """Cosine distances between views of the same image and draw, and the image that each row belongs to.

    Args:
        rows: Records of a study.
        pairs: Number of pairs of augmentations.

    Returns:
        `[images * draws, pairs]` in the order of the upper triangle, and the image numbers `[images * draws]`.
    """
    lists = rows.filter(pl.col("view") == ORIGINAL).select("pairwise").collect()["pairwise"]
    values = lists.explode().to_numpy().astype(np.float64).reshape(-1, pairs)
    return values, np.repeat(np.arange(len(lists)), lists.list.len().to_numpy() // pairs)


def mean_embeddings(rows: pl.LazyFrame, augmentations: Sequence[str]) -> Values:
    """Mean embedding of each augmentation over images and draws, float64 `[A, D]`."""
    means: list[Values] = []
    for name in augmentations:
        part = rows.filter(pl.col("view") == name).select("embedding").collect()["embedding"]
        means.append(part.to_numpy().astype(np.float64).mean(axis=0))
    return np.stack(means)


def _mean(values: Values) -> Values:
    """Column means without NaN; NaN for a column that has nothing else."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, values, 0.0).sum(axis=0) / there.sum(axis=0))
