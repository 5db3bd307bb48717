"""The difference of one number between a study and its reference, paired by image.

Each function takes a reference and one study, and the row of a table that holds the number.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers, Values
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.summary import COSINE
from embedshift.study.paired.estimate import (
    Estimate,
    fraction_difference,
    mean_difference,
    mean_of_fractions,
    mover,
    proportion_difference,
)
from embedshift.study.paired.ratios import ALL, compare_shifts, same_numbers, unsaturated
from embedshift.study.paired.studies import PairedStudies, capped, measured_range

CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
RECALL = re.compile(r"recall@(\d+)")


def search_difference(paired: PairedStudies, row: Mapping[str, Any], study: int = 1) -> Estimate:
    """Returns the difference in recall, in mean reciprocal rank, or in the fraction of kept neighbours.

    The row `all` is the mean over the augmentations that are not saturated. Its recall counts the augmentations of an
    image as images of one group.
    """
    metric, is_all = row["metric"], row["augmentation"] == ALL
    chosen = np.isin(paired.augmentations, unsaturated(paired) if is_all else row["augmentation"])
    reference, own = (search_values(paired, s, metric)[:, chosen] for s in (0, study))
    sums, counts = sums_and_counts((own - reference).transpose(0, 2, 1))
    with np.errstate(invalid="ignore"):
        differences = sums / counts
    if same := same_numbers(paired, study, differences):
        return same
    is_recall, some = RECALL.fullmatch(metric), ~np.isnan(differences)
    if is_recall and is_all:
        groups = np.arange(len(paired.ids)) if paired.groups is None else paired.groups
        views = np.repeat(groups, differences.shape[1])[some.ravel()]
        return proportion_difference(differences[some], views, per_equal=differences.shape[1])
    has_any = some.any(axis=1)
    means, groups_of = (
        np.nanmean(differences[has_any], axis=1),
        None if paired.groups is None else paired.groups[has_any],
    )
    if is_recall:
        return proportion_difference(means, groups_of)
    return (mean_of_fractions if is_all else fraction_difference)(means, paired.seed, groups_of)


def metric_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in a metric's mean: bootstrap-t over the images; Tango's interval if it is binary."""
    metric = row["metric"]
    _check_metric(paired, metric)
    if not paired.same_unit(metric).all():
        raise UsageError(
            f"{metric} has different units in different encoders; compare its relative shift: 'column: relative_shift'"
        )
    reference, study = paired.values(metric, [row["augmentation"]])[:, :, 0]
    sums, counts, groups = _image_differences(reference, study, paired.groups)
    if METRICS[metric].binary:
        return proportion_difference(sums / counts, groups)
    return mean_difference(sums, counts, paired.seed, groups)


def shift_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in the relative shift of a metric: of cosines by bootstrap-t, else from both intervals."""
    _check_metric(paired, row["metric"])
    shifts = compare_shifts(paired) if row["metric"] == COSINE else None
    if shifts is None:
        return _difference_of_intervals(paired, row)
    sample = shifts.differences.columns([paired.augmentations.index(row["augmentation"])])
    low, high = mean_interval(sample, seed=paired.seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), sample.images)


def _difference_of_intervals(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    ends, images = [], []
    for study in paired.studies:
        study_row = study.summary().filter(augmentation=row["augmentation"], metric=row["metric"]).row(0, named=True)
        ends.append(
            [
                np.nan if study_row[name] is None else study_row[name]
                for name in ("relative_shift", "relative_shift_low", "relative_shift_high")
            ]
        )
        images.append(study_row["groups"] or study_row["images"])
    return mover(ends[1], ends[0], min(images))


def tolerance_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in a family's tolerance; one above the strongest level counts as that level."""
    family, criterion = row["family"], row["criterion"]
    tables = [table.filter(family=family, criterion=criterion) for table in paired.tolerances]
    if any(table.is_empty() for table in tables):
        raise UsageError(f"{paired.reference.folder}: no tolerance for criterion {criterion}")
    ranges = [measured_range(study, family, criterion) for study in paired.studies]
    reference, study = (capped(table.row(0, named=True), levels) for table, levels in zip(tables, ranges, strict=True))
    is_capped = any(table["value"][0] is None for table in tables)
    images = min(paired.group_count, *(levels.images for levels in ranges))
    return mover(study, reference, images, CAPPED if is_capped else "")


def _check_metric(paired: PairedStudies, metric: str) -> None:
    if metric not in paired.metrics:
        raise UsageError(f"{metric} is measured differently in {paired.reference.folder}")


@functools.lru_cache(maxsize=8)
def search_values(paired: PairedStudies, study: int, metric: str) -> Values:
    """Returns a number of the search for every view, `[n, A, draws]`; NaN for views that were not searched with."""
    recall = RECALL.fullmatch(metric)
    if recall is not None:
        number = (pl.col("rank") <= int(recall[1])).cast(pl.Float64)
    elif metric == "mrr":
        number = 1 / pl.col("rank")
    elif metric.startswith("knn_overlap"):
        number = pl.col("knn_overlap")
    else:
        raise UsageError(f"{metric} describes pairs of images and has no difference per image; use at_least or at_most")
    values = np.full((len(paired.ids), len(paired.augmentations), paired.reference.info.draws), np.nan)
    places = [
        pl.DataFrame({"image_id": paired.ids}).with_row_index("image"),
        pl.DataFrame({"view": paired.augmentations}).with_row_index("augmentation"),
    ]
    ranks = paired.search_ranks[study].select("image_id", "view", "draw", number.cast(pl.Float64).alias("number"))
    ranks = ranks.join(places[0], on="image_id").join(places[1], on="view")
    index = tuple(ranks[name].to_numpy() for name in ("image", "augmentation", "draw"))
    values[index] = ranks["number"].fill_null(np.nan).to_numpy()
    return values


def _image_differences(
    reference: Values, study: Values, groups: GroupNumbers | None
) -> tuple[Values, Values, GroupNumbers | None]:
    """Returns sums and numbers of differences over the draws, and groups, `[m]`, of the images that have any."""
    sums, counts = sums_and_counts((study - reference)[..., None])
    some = counts[:, 0] > 0
    return sums[some, 0], counts[some, 0], None if groups is None else groups[some]
