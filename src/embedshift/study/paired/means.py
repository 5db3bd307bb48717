"""The table `comparison`: every number of every study beside the reference's, by augmentation and over all."""

import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics import intervals
from embedshift.statistics.equivalence import RELATIVE_SHIFT
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import Estimates, gather
from embedshift.statistics.shift_ratios import over_augmentations, t_interval, with_overall
from embedshift.store.plans import ALL
from embedshift.study.paired import checks
from embedshift.study.paired.differences import (
    TAIL,
    compare_shifts,
    search_difference,
    search_values,
    tail_difference,
    unsaturated,
)
from embedshift.study.paired.estimate import Estimate
from embedshift.study.paired.studies import PairedStudies

COMPARISON_SCHEMA = pl.Schema(
    {"augmentation": str, "metric": str, "study": str, "reference": str, "n": int}
    | dict.fromkeys(("mean", "reference_mean", "difference", "ci_low", "ci_high"), float)
    | {"ratio": float, "ratio_low": float, "ratio_high": float, "significant": bool}
)
MEANS_SCHEMA = pl.Schema({"augmentation": str, "metric": str, "study": str, "mean": float})
# Column → values over all augmentations, then by augmentation, `[1 + A]`.
Columns = dict[str, NDArray[Any]]
log = logging.getLogger(__name__)


def compare_means(paired: PairedStudies) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the table `comparison`, and `augmentation, metric, study, mean`; one metric at a time is in memory."""
    means: list[Values] = []
    rows: list[Json] = [row for s in range(1, len(paired.names)) for row in _shift_rows(paired, s)]
    rows += _search_rows(paired)
    for metric in paired.metrics:
        values = paired.values(metric)
        if metric == "patch_similarity":
            checks.check_pixels(paired.readers, values, paired.ids, paired.same_pixels)
        mean, metric_rows = metric_differences(paired, metric, values)
        means.append(mean)
        rows += metric_rows
    table = pl.DataFrame(rows, COMPARISON_SCHEMA).fill_nan(None)
    order = {name: place for place, name in enumerate((ALL, *paired.augmentations))}
    metrics = {name: place for place, name in enumerate(dict.fromkeys(table["metric"]))}
    places = (
        pl.col(name).replace_strict(numbers, return_dtype=pl.Int64)
        for name, numbers in (("augmentation", order), ("metric", metrics))
    )
    side_by_side = [
        {"augmentation": augmentation, "metric": metric, "study": name, "mean": none_if_nan(mean[s, a])}
        for a, augmentation in enumerate(paired.augmentations)
        for metric, mean in zip(paired.metrics, means, strict=True)
        for s, name in enumerate(paired.names)
    ]
    return table.sort(*places, maintain_order=True), pl.DataFrame(side_by_side, MEANS_SCHEMA)


def metric_differences(paired: PairedStudies, metric: str, values: Values) -> tuple[Values, list[Json]]:
    has_value = ~np.isnan(values)
    has_metric = has_value.any(axis=(1, 3), keepdims=True)
    used = np.where((has_value | ~has_metric).all(axis=0), values, np.nan)
    counts = (~np.isnan(used)).sum(axis=(1, 3))
    with np.errstate(invalid="ignore"):
        means = np.nansum(used, axis=(1, 3)) / counts
    rows: list[Json] = []
    for s, is_comparable in list(enumerate(paired.same_unit(metric)))[1:]:
        sample = gather([sums_and_counts((used[s] - used[0]).transpose(0, 2, 1))], groups=paired.groups)
        columns = _differences(paired, sample) if is_comparable else {}
        n = np.minimum(counts[0], counts[s])
        rows += _rows(paired, s, metric, n, (means[0], means[s]), columns)
    return means, rows


def _rows(
    paired: PairedStudies, s: int, metric: str, n: Values, means: tuple[Values, Values], columns: Columns
) -> Iterator[Json]:
    included = np.isin(paired.augmentations, unsaturated(paired)) & (n > 0)
    counts = [n[included].sum(), *n]
    reference, study = ([mean[included].mean() if included.any() else np.nan, *mean] for mean in means)
    for a, augmentation in enumerate((ALL, *paired.augmentations)):
        row: Json = {"augmentation": augmentation, "metric": metric, "study": paired.names[s]}
        row |= {"reference": paired.names[0], "n": int(counts[a]), "significant": False}
        row |= {"mean": study[a], "reference_mean": reference[a]}
        yield row | ({name: column[a].item() for name, column in columns.items()} if counts[a] else {})


def _differences(paired: PairedStudies, sample: Estimates) -> Columns:
    overall = over_augmentations(sample, np.isin(paired.augmentations, unsaturated(paired)))
    ends = [intervals.mean_interval(part, seed=paired.seed) for part in (overall, sample)]
    low, high = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    difference, significant = np.concatenate([overall.mean, sample.mean]), _at_once(paired, sample).significant
    return {"difference": difference, "ci_low": low, "ci_high": high, "significant": significant}


def _at_once(paired: PairedStudies, sample: Estimates) -> intervals.SimultaneousIntervals:
    """Returns the intervals of a family: of all augmentations together and of each, which hold at once."""
    family = with_overall(sample, np.isin(paired.augmentations, unsaturated(paired)))
    return intervals.simultaneous_intervals(family, seed=paired.seed)


def _shift_rows(paired: PairedStudies, s: int) -> Iterator[Json]:
    shifts = compare_shifts(paired, s)
    if shifts is None:
        return
    views = (~np.isnan(shifts.much_farther[0])).sum(axis=(0, 2))
    columns = _differences(paired, shifts.differences)
    overall, together = over_augmentations(shifts.log_ratios, shifts.included), _at_once(paired, shifts.log_ratios)
    ends = zip(t_interval(overall), (together.low[1:], together.high[1:]), strict=True)
    ratios = np.append(overall.mean, shifts.log_ratios.mean), *(np.append(*parts) for parts in ends)
    columns |= {f"ratio{end}": np.exp(number) for end, number in zip(("", "_low", "_high"), ratios, strict=True)}
    columns["significant"] = together.significant
    yield from _rows(paired, s, RELATIVE_SHIFT, views, shifts.means, columns)
    chosen = [shifts.included, *np.eye(len(paired.augmentations), dtype=bool)]
    estimates = [tail_difference(paired, s, shifts, augmentations) for augmentations in chosen]
    with np.errstate(invalid="ignore"):
        reference, study = (np.nansum(far, axis=(0, 2)) / views for far in shifts.much_farther)
    yield from _rows(paired, s, TAIL, views, (reference, study), _estimated(paired, estimates, shifts.tails))


def _search_rows(paired: PairedStudies) -> Iterator[Json]:
    if not all("search_ranks" in reader.table_names for reader in paired.readers):
        return
    try:
        paired.search_ranks  # noqa: B018
    except UsageError as error:
        log.warning("skipping the search: %s", error)
        return
    for metric in paired.studies[0].table("search")["metric"].unique(maintain_order=True):
        if metric == "auc":  # of pairs of images
            continue
        values = [search_values(paired, s, metric) for s in range(len(paired.studies))]
        for s in range(1, len(values)):
            both = ~np.isnan(values[s] - values[0])
            n = both.sum(axis=(0, 2))
            with np.errstate(invalid="ignore"):
                means = [np.where(both, values[each], 0.0).sum(axis=(0, 2)) / n for each in (0, s)]
            names = (ALL, *paired.augmentations)
            estimates = [search_difference(paired, {"metric": metric, "augmentation": name}, s) for name in names]
            differences = sums_and_counts((values[s] - values[0]).transpose(0, 2, 1))
            columns = _estimated(paired, estimates, gather([differences], groups=paired.groups))
            yield from _rows(paired, s, metric, n, (means[0], means[1]), columns)


def _estimated(paired: PairedStudies, estimates: list[Estimate], sample: Estimates) -> Columns:
    value, low, high = np.array([(each.value, each.low, each.high) for each in estimates]).T
    significant = _at_once(paired, sample).significant & ((low > 0) | (high < 0))
    return {"difference": value, "ci_low": low, "ci_high": high, "significant": significant}


def none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
