"""The tables `summary`, `ranking` and `differences`, for all metrics of a study, and densities of a metric's values.

In `differences`, distances between embeddings are compared by their ratio, the geometric mean over images. An image
that does not move has no logarithm: pairs with an augmentation that leaves an image unmoved are compared by their
difference.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.registry import METRICS
from embedshift.statistics import intervals
from embedshift.statistics.baselines import Baseline, relative_shifts, relative_shifts_of_binary
from embedshift.statistics.layout import ImageRows, metric_parts
from embedshift.statistics.sample import Estimates, estimates_from_values, gather
from embedshift.statistics.vectors import STILL

# The paper's order, which tables and figures keep.
PAPER_METRICS = (
    "cosine_similarity",
    "l2_distance",
    "attention_similarity",
    "patch_similarity",
    "edge_preservation",
    "detail_preservation",
)
# Whose relative shift is the headline; from FAR on views may have left the region where images lie.
COSINE, L2, FAR = "cosine_similarity", "l2_distance", 0.5
QUANTILES = {"q05": 0.05, "median": 0.5, "q95": 0.95}
# Values whose quantiles are found at once: two gigabytes, so that ten million images are read three times.
VALUES = 2**28
# Points of a density; widths of its kernel that a curve goes on beyond the outermost value, and beyond which a kernel
# counts nothing; values whose kernels are in memory at once.
POINTS, _TAIL, _REACH, _AT_ONCE = 400, 3.0, 8.0, 4_096
# More values are counted in bins, so many a bandwidth: the curve differs by ten-thousandths of its height.
_BINNED_FROM, _BINS = 10_000, 100
# Means that differ by less are equal but for rounding.
ROUNDING = 1e-12
# Those of which the paper takes the mean: its similarities.
RADAR_METRICS = tuple(name for name in PAPER_METRICS if name != L2)

SUMMARY_SCHEMA = pl.Schema(
    {"augmentation": str, "metric": str, "n": int}
    | dict.fromkeys(("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"), float)
    | dict.fromkeys(("baseline", "relative_shift", "relative_shift_low", "relative_shift_high"), float)
    | {"images": int, "groups": int}
)
PERFORMANCE_SCHEMA = pl.Schema({"augmentation": str, "ci_low": float, "ci_high": float, "baseline": float})


@dataclass(frozen=True)
class Measured:
    augmentations: tuple[str, ...]
    metrics: tuple[str, ...]
    sample: Estimates
    distances: tuple[str, ...] = ()

    def for_metric(self, metric: str, augmentations: Sequence[str] | None = None) -> Estimates:
        """Returns one metric under every augmentation, or under some: a sample of A numbers."""
        positions = self._positions(self.metrics.index(metric), len(self.metrics))
        names = self.augmentations if augmentations is None else augmentations
        return self.sample.columns([positions[self.augmentations.index(name)] for name in names])

    def with_logarithms(self, distance: str) -> Estimates:
        """Returns one of `distances` under every augmentation, then its logarithms: a sample of 2 x A numbers."""
        values = self._positions(self.metrics.index(distance), len(self.metrics))
        first = len(self.augmentations) * len(self.metrics) + self.distances.index(distance)
        return self.sample.columns([*values, *self._positions(first, len(self.distances))])

    def _positions(self, first: int, step: int) -> list[int]:
        return [first + step * augmentation for augmentation in range(len(self.augmentations))]


def measured(
    study: ImageRows,
    augmentations: Sequence[str],
    metrics: Sequence[str],
    sizes: Sequence[int] | None = None,
    distances: Mapping[str, tuple[float, float]] | None = None,
) -> Measured:
    """Reads the metrics of a study's rows once, as a stream; without images, the sample has no values."""
    distances = distances or {}
    if not study.layout.images or not augmentations or not metrics:
        nothing = estimates_from_values(np.full((1, len(augmentations) * (len(metrics) + len(distances))), np.nan))
        return Measured(tuple(augmentations), tuple(metrics), nothing, tuple(distances))
    sample = gather(metric_parts(study, augmentations, metrics, distances), chunks=sizes, groups=study.groups)
    return Measured(tuple(augmentations), tuple(metrics), sample, tuple(distances))


def moving(metrics: Sequence[str], baselines: Mapping[str, Baseline]) -> dict[str, tuple[float, float]]:
    """Returns the metrics that are distances between embeddings → no change, and the distance that is rounding."""
    far = baselines[L2].value if L2 in baselines else 0.0
    still = {COSINE: (1.0, STILL / 2), L2: (0.0, float(np.sqrt(STILL)) * far)}
    return {name: still[name] for name in metrics if name in still}


def summary(
    rows: ImageRows, study: Measured, *, seed: int, baselines: Mapping[str, Baseline] | None = None
) -> pl.DataFrame:
    columns = {
        metric: _metric_columns(study.for_metric(metric), metric, seed, (baselines or {}).get(metric))
        for metric in study.metrics
    }
    described: list[dict[str, object]] = []
    spreads = spreads_of_views(rows, study.augmentations, study.metrics)
    for position, name in enumerate(study.augmentations):
        for metric in study.metrics:
            row = {column: array[position] for column, array in columns[metric].items()}
            described.append({"augmentation": name, "metric": metric, **row, **spreads[metric, name]})
    return pl.DataFrame(described, schema=SUMMARY_SCHEMA).fill_nan(None)


def spreads_of_views(
    study: ImageRows, augmentations: Sequence[str], metrics: Sequence[str]
) -> dict[tuple[str, str], dict[str, object]]:
    """Returns `n, sd, median, q05, q95` of single views by metric and augmentation, without NaN and null."""
    order = study.layout
    # Metric by metric, so that each pass over many images reads few columns.
    keys = [(metric, name) for metric in metrics for name in augmentations]
    step = max(1, VALUES // max(1, order.images * len(order.views) // max(1, len(augmentations))))
    found: dict[tuple[str, str], dict[str, object]] = {}
    for start in range(0, len(keys), step):
        chosen = keys[start : start + step]
        read = list(dict.fromkeys(metric for metric, _ in chosen))
        columns = [np.empty((order.images, len(order.positions(name)))) for _, name in chosen]
        end = 0
        for block in study.blocks(*read) if order.images else ():
            numbers = order.numbers(block, read)
            for column, (metric, name) in zip(columns, chosen, strict=True):
                column[end : end + len(numbers)] = numbers[:, order.positions(name), read.index(metric)]
            end += len(numbers)
        found |= zip(chosen, map(spread, columns), strict=True)
    return found


def spread(values: Values) -> dict[str, object]:
    # Sorted, since sums in another order differ by rounding.
    used = np.sort(values[~np.isnan(values)])
    if not len(used):
        return {"n": 0}
    quantiles = np.quantile(used, [*QUANTILES.values()])
    sd = float(used.std(ddof=1)) if len(used) > 1 else None
    return {"n": len(used), "sd": sd, **dict(zip(QUANTILES, quantiles.tolist(), strict=True))}


def _metric_columns(sample: Estimates, metric: str, seed: int, baseline: Baseline | None) -> dict[str, Values]:
    definition = METRICS.get(metric)
    if definition is not None and definition.binary:
        low, high = intervals.proportion_interval(sample)
    else:
        bounds = {} if definition is None else {"low": definition.low, "high": definition.high}
        low, high = intervals.mean_interval(sample, seed=seed, **bounds)
    columns = {"mean": sample.mean, "ci_low": low, "ci_high": high, "images": sample.images_having}
    columns |= {} if sample.groups is None else {"groups": sample.having}
    if definition is None or baseline is None:
        return columns
    if definition.binary:
        relative_shift = relative_shifts_of_binary(sample, baseline, low, high)
    else:
        limits = (definition.low, definition.high) if np.isfinite((definition.low, definition.high)).all() else None
        relative_shift = relative_shifts(sample, baseline, definition.no_change, seed=seed, limits=limits)
    shifts = {"": relative_shift.value, "_low": relative_shift.low, "_high": relative_shift.high}
    value = np.full(len(low), baseline.value)
    return columns | {"baseline": value} | {f"relative_shift{end}": values for end, values in shifts.items()}


def ranking(summary: pl.DataFrame) -> pl.DataFrame:
    performance = pl.col("mean").mean().alias("mean_performance")
    kept = summary.with_columns(pl.col("mean").fill_nan(None)).filter(pl.col("metric").is_in(ranked_metrics(summary)))
    means = kept.group_by("augmentation", maintain_order=True).agg(performance)
    names = summary.select(pl.col("augmentation").unique(maintain_order=True))
    return ranked(names.join(means, on="augmentation", how="left", maintain_order="left"))


def ranked(performance: pl.DataFrame) -> pl.DataFrame:
    # Sums of equal numbers in another order differ by rounding.
    rank = pl.col("mean_performance").round(12).rank("min", descending=True).cast(pl.Int64)
    return performance.with_columns(rank.alias("rank"))


def ranked_metrics(summary: pl.DataFrame) -> list[str]:
    present = summary.filter(pl.col("metric").is_in(RADAR_METRICS) & pl.col("mean").fill_nan(None).is_not_null())
    count = summary["augmentation"].n_unique()
    augmentations_with_mean = dict(present.group_by("metric").agg(pl.col("augmentation").n_unique()).iter_rows())
    return [metric for metric in RADAR_METRICS if augmentations_with_mean.get(metric) == count]


def performance(
    study: Measured, metrics: Sequence[str], *, seed: int, baselines: Mapping[str, Baseline]
) -> pl.DataFrame:
    count = len(study.augmentations)
    low = high = baseline = np.full(count, np.nan)
    if metrics:
        metric_columns = [study.metrics.index(metric) for metric in metrics]
        # Only these metrics: others that a study measured must not change a bit.
        starts = [len(study.metrics) * augmentation for augmentation in range(count)]
        chosen = study.sample.columns([start + column for start in starts for column in metric_columns])
        weights = np.kron(np.eye(count), np.full((len(metric_columns), 1), 1 / len(metric_columns)))
        low, high = intervals.mean_interval(chosen.combine(weights), seed=seed)
        values = [baselines[metric].value if metric in baselines else np.nan for metric in metrics]
        baseline = np.full(count, float(np.mean(values)))
    columns = {"augmentation": study.augmentations, "ci_low": low, "ci_high": high, "baseline": baseline}
    return pl.DataFrame(columns, schema=PERFORMANCE_SCHEMA).fill_nan(None)


def density(values: Values, low: float = -np.inf, high: float = np.inf) -> tuple[Values, Values] | None:
    if len(values) < 2 or np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return None
    width = float(values.std(ddof=1)) * len(values) ** -0.2
    start, end = float(values.min()), float(values.max())
    x = np.linspace(max(start - _TAIL * width, low), min(end + _TAIL * width, high), POINTS)
    near, counts = (start - _REACH * width, end + _REACH * width), np.ones(len(values))
    if len(values) > _BINNED_FROM:
        counts, edges = np.histogram(values, min(len(values), math.ceil((end - start) / width * _BINS)))
        values, counts = ((edges[:-1] + edges[1:]) / 2)[counts > 0], counts[counts > 0].astype(np.float64)
    return x, sum((_within(values, counts, width, image, near) for image in _mirrored(x, low, high)), np.zeros(POINTS))


def _mirrored(x: Values, low: float, high: float) -> list[Values]:
    """Returns the points and their mirror images at the bounds; with two bounds also at the mirrored bounds."""
    if not np.isfinite([low, high]).all():
        return [x, *(2 * bound - x for bound in (low, high) if np.isfinite(bound))]
    return [image + 2 * turn * (high - low) for turn in (-1, 0, 1) for image in (x, 2 * low - x)]


def _within(values: Values, counts: Values, width: float, x: Values, near: tuple[float, float]) -> Values:
    """Returns the density of values, each there so many times, at points near them; 0 elsewhere, to save time."""
    densities, present = np.zeros(len(x)), (x > near[0]) & (x < near[1])
    if present.any():
        # SciPy's version would import all of its statistics, and solve a system of one equation each time.
        for start in range(0, len(values), _AT_ONCE):
            away = (x[present, None] - values[start : start + _AT_ONCE]) / width
            densities[present] += np.exp(-(away**2) / 2) @ counts[start : start + _AT_ONCE]
        densities /= counts.sum() * width * np.sqrt(2 * np.pi)
    return densities


DIFFERENCES_SCHEMA = pl.Schema(
    {"augmentation": str, "other": str, "metric": str}
    | dict.fromkeys(("difference", "low", "high", "effect", "ratio", "ratio_low", "ratio_high"), float)
    | {"significant": bool}
)


def differences(study: Measured, *, seed: int) -> pl.DataFrame:
    first, second = np.triu_indices(len(study.augmentations), k=1)
    names = np.array(study.augmentations, dtype=object)
    tables = []
    for metric in study.metrics if len(first) else ():
        paired = study.for_metric(metric).paired(contrasts(len(names)))
        columns = _by_difference(paired, seed)
        if metric in study.distances:
            columns = _by_ratio(study.with_logarithms(metric), columns, seed)
        pairs = {"augmentation": names[first], "other": names[second], "metric": [metric] * len(first)}
        tables.append(pl.DataFrame(pairs | columns, schema=DIFFERENCES_SCHEMA))
    return pl.concat(tables).fill_nan(None) if tables else pl.DataFrame(schema=DIFFERENCES_SCHEMA)


def _by_difference(paired: Estimates, seed: int) -> dict[str, Any]:
    """Returns the columns of a metric, `[pairs]` each, without ratios."""
    corrected = intervals.simultaneous_intervals(paired, seed=seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        effect = np.where(paired.variance > 0, paired.mean / paired.sd, np.nan)
    none = dict.fromkeys(("ratio", "ratio_low", "ratio_high"), np.full(len(effect), np.nan))
    ends = {"low": corrected.low, "high": corrected.high, "significant": corrected.significant}
    return {"difference": paired.mean, "effect": effect} | none | ends


def paired_logarithms(both: Estimates) -> tuple[NDArray[np.bool_], Estimates]:
    """Returns which pairs have a ratio, and their logarithms, in place of which the others have their difference."""
    count = len(both.mean) // 2
    # As many views have a logarithm as have a value.
    has_logarithm = (both.counts[count:] == both.counts[:count]) & (both.counts[:count] > 0)
    first, second = np.triu_indices(count, k=1)
    has_ratio = has_logarithm[first] & has_logarithm[second]
    weights = contrasts(count)
    return has_ratio, both.paired(np.vstack([np.where(has_ratio, 0.0, weights), np.where(has_ratio, weights, 0.0)]))


def _by_ratio(both: Estimates, columns: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns the columns of a distance: its pairs are compared at once, each by its ratio if it has one."""
    has_ratio, paired = paired_logarithms(both)
    corrected = intervals.simultaneous_intervals(paired, seed=seed)
    numbers = {"": paired.mean, "_low": corrected.low, "_high": corrected.high}
    ratios = {f"ratio{end}": np.exp(np.where(has_ratio, number, np.nan)) for end, number in numbers.items()}
    # So that a pair is significant if its interval leaves out no difference, on either scale.
    ends = {f"{end[1:]}": np.where(has_ratio, columns[end[1:]], numbers[end]) for end in ("_low", "_high")}
    return columns | ratios | ends | {"significant": corrected.significant}


def contrasts(count: int) -> Values:
    first, second = np.triu_indices(count, k=1)
    weights = np.zeros((count, len(first)))
    weights[first, np.arange(len(first))] = 1.0
    weights[second, np.arange(len(first))] = -1.0
    return weights


@dataclass(frozen=True)
class Order:
    """Augmentations by how much they change one metric, and their pairs, each in both orders."""

    names: list[str]
    # That no other changes it significantly more than, and less than: with 95 % probability the true ends are here.
    most: list[str]
    least: list[str]
    significant: set[tuple[str, str]]
    # Of distances, with their intervals; NaN = no interval.
    ratios: dict[tuple[str, str], tuple[float, float, float]]


def ordered(table: pl.DataFrame, metric: str, names: Sequence[str]) -> Order:
    rises = metric in METRICS and not METRICS[metric].higher_is_better
    more: list[tuple[str, str]] = []
    significant: set[tuple[str, str]] = set()
    ratios: dict[tuple[str, str], tuple[float, float, float]] = {}
    rows = table.filter(pl.col("metric") == metric, pl.col("difference").is_not_null())
    for row in rows.filter(pl.col("augmentation").is_in(names), pl.col("other").is_in(names)).iter_rows(named=True):
        pair = row["augmentation"], row["other"]
        change = row["difference"] if rises else -row["difference"]
        if row.get("ratio") is not None:
            change = row["ratio"] - 1
            low, high = row["ratio_low"] or np.nan, row["ratio_high"] or np.nan
            ratios |= {pair: (row["ratio"], low, high), pair[::-1]: (1 / row["ratio"], 1 / high, 1 / low)}
        if change:
            more.append(pair if change > 0 else pair[::-1])
        if row["significant"]:
            significant |= {pair, pair[::-1]}
    ahead = Counter(first for first, _ in more)
    before, behind = ({pair[end] for pair in more if pair in significant} for end in (0, 1))
    return Order(
        sorted(names, key=lambda name: -ahead[name]),
        most=[name for name in names if name not in behind],
        least=[name for name in names if name not in before],
        significant=significant,
        ratios=ratios,
    )
