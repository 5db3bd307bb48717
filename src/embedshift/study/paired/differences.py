"""The difference of one number between a study and its reference, paired by image.

Each function takes a reference and one study, and the row of a table that holds the number.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Units, Values
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.baselines import is_scale
from embedshift.statistics.layout import sums_and_counts
from embedshift.study.paired.estimate import (
    Estimate,
    fraction_difference,
    mean_difference,
    mover,
    proportion_difference,
    shift_contributions,
)
from embedshift.study.paired.studies import PairedStudies, units_in_order
from embedshift.study.paired.tolerances import capped, measured_range

CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
RECALL = re.compile(r"recall@(\d+)")


def search_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in recall, in mean reciprocal rank, or in the fraction of kept neighbours."""
    augmentation, metric = row["augmentation"], row["metric"]
    recall = RECALL.fullmatch(metric)
    if recall is not None:
        number = (pl.col("rank") <= int(recall[1])).cast(pl.Float64)
    elif metric == "mrr":
        number = 1 / pl.col("rank")
    elif metric.startswith("knn_overlap"):
        number = pl.col("knn_overlap")
    else:
        raise UsageError(f"{metric} describes pairs of images and has no difference per image; use at_least or at_most")
    reference, study = (_search_values(paired, s, augmentation, number) for s in (0, 1))
    sums, counts, units = _image_differences(reference, study, paired.units)
    differences = sums / counts
    if recall:
        return proportion_difference(differences, units)
    return fraction_difference(differences, paired.seed, units)


def metric_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in a metric's mean: bootstrap-t over the images; Tango's interval if it is binary."""
    metric = row["metric"]
    _check_metric(paired, metric)
    if not paired.same_unit(metric).all():
        raise UsageError(
            f"{metric} has different units in different encoders; compare its relative shift: 'column: relative_shift'"
        )
    reference, study = paired.values(metric, [row["augmentation"]])[:, :, 0]
    sums, counts, units = _image_differences(reference, study, paired.units)
    if METRICS[metric].binary:
        return proportion_difference(sums / counts, units)
    return mean_difference(sums, counts, paired.seed, units)


def shift_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in the relative shift of a metric; each study has its own baseline."""
    metric = row["metric"]
    _check_metric(paired, metric)
    values = paired.values(metric, [row["augmentation"]])[:, :, 0]
    reference, study = (_contributions(paired, s, metric, values[s]) for s in (0, 1))
    if reference is None or study is None:
        return _difference_of_intervals(paired, row)
    has_both = ~np.isnan(study) & ~np.isnan(reference)
    units = None if paired.units is None else paired.units[has_both]
    return mean_difference((study - reference)[has_both], np.ones(has_both.sum()), paired.seed, units)


def _contributions(paired: PairedStudies, study: int, metric: str, values: Values) -> Values | None:
    """Returns what each image adds to a study's relative shift, `[n]`, from `[n, draws]`; None without vectors."""
    baseline, images = paired.baselines[study].get(metric), len(paired.ids)
    units = units_in_order(paired.readers[study], paired.positions[study])
    if baseline is None or baseline.pairs is None:
        return None
    if len(baseline.pairs.images) != (images if units is None else len(np.unique(units))):
        return None
    contributions = np.full(images, np.nan)
    if is_scale(baseline, METRICS[metric].no_change):
        sums, counts = sums_and_counts(values[..., None])
        with np.errstate(invalid="ignore"):
            means = (sums / counts)[:, 0]
        in_study_order = np.argsort(paired.positions[study])
        contributions[in_study_order] = shift_contributions(
            means[in_study_order], baseline, METRICS[metric].no_change, units
        )
    return contributions


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
    units = len(paired.ids) if paired.units is None else len(np.unique(paired.units))
    images = min(units, *(levels.images for levels in ranges))
    return mover(study, reference, images, CAPPED if is_capped else "")


def _check_metric(paired: PairedStudies, metric: str) -> None:
    if metric not in paired.metrics:
        raise UsageError(f"{metric} is measured differently in {paired.reference.folder}")


def _search_values(paired: PairedStudies, study: int, augmentation: str, number: pl.Expr) -> Values:
    """Returns a number of the table `search_ranks`, `[n, draws]`; NaN for views that were not searched with."""
    draws = paired.reference.info.draws
    ids = pl.DataFrame({"image_id": paired.ids}, schema={"image_id": pl.String})
    views = ids.join(pl.DataFrame({"draw": range(draws)}, schema={"draw": pl.Int64}), how="cross")
    ranks = paired.search_ranks[study].filter(pl.col("view") == augmentation)
    ranked = ranks.select("image_id", pl.col("draw").cast(pl.Int64), number.cast(pl.Float64).alias("number"))
    numbers = views.join(ranked, on=["image_id", "draw"], how="left", maintain_order="left")["number"]
    return numbers.fill_null(np.nan).to_numpy().reshape(-1, draws)


def _image_differences(reference: Values, study: Values, units: Units | None) -> tuple[Values, Values, Units | None]:
    """Returns sums and numbers of differences over the draws, and groups, `[m]`, of the images that have any."""
    sums, counts = sums_and_counts((study - reference)[..., None])
    some = counts[:, 0] > 0
    return sums[some, 0], counts[some, 0], None if units is None else units[some]
