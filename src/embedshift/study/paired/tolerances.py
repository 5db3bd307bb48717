"""A study's tolerances over some of its images, and what is known of a tolerance beyond the strongest level."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import GroupNumbers
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, relative_shifts
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import COSINE, measured
from embedshift.statistics.tolerance import MISSED_CRITERION, missed_tolerances, relative_shift_tolerances
from embedshift.store.baselines import chunk_sizes
from embedshift.study.paired.estimate import Estimate
from embedshift.study.study import Study


def study_tolerances(
    study: Study, ids: Sequence[str], baseline: Baseline | None, groups: GroupNumbers | None, *, searched: bool
) -> pl.DataFrame:
    """Returns a study's table `tolerance` over some of its images, which have these `groups` in its order."""
    reader = study.reader()
    families = [family for family in reader.families if family.has_strength]
    chosen = pl.col("image_id").is_in(list(ids))
    views = [view for family in families for view in family.views]
    value = low = high = np.full(len(views), np.nan)
    if baseline is not None:
        rows = replace(image_rows(reader.rows().filter(chosen)), groups=groups)
        sample = measured(rows, views, [COSINE], chunk_sizes({COSINE: baseline})).sample
        cosine = relative_shifts(sample, baseline, METRICS[COSINE].no_change, seed=reader.info.seed, limits=(-1.0, 1.0))
        value, low, high = cosine.value, cosine.low, cosine.high
    summary = pl.DataFrame(
        {"augmentation": views, "relative_shift": value, "relative_shift_low": low, "relative_shift_high": high}
    )
    table = relative_shift_tolerances(families, summary.with_columns(metric=pl.lit(COSINE)))
    if not searched:
        return table
    ranks = study.search_ranks().filter(chosen)
    return pl.concat([table, missed_tolerances(families, ranks, reader.info.draws, groups)])


@dataclass(frozen=True)
class MeasuredRange:
    """The range of strengths within which a tolerance could be measured."""

    strongest: float
    rises: bool
    has_interval: bool
    images: int


def measured_range(study: Study, family_name: str, criterion: str) -> MeasuredRange:
    """Returns a family's range by one criterion; relative shifts count all images, search counts the queries."""
    info = study.reader().info
    family = next(family for family in study.reader().families if family.name == family_name)
    rises, strongest = family.strengths[-1] > family.strengths[0], family.parameters[-1]
    if criterion == MISSED_CRITERION:
        images = info.groups.count if info.groups else study.search_ranks()["image_id"].n_unique()
        return MeasuredRange(strongest, rises, images >= LEAST_IMAGES, images)
    in_family = pl.col("augmentation").is_in(family.views)
    table = study.summary().filter(pl.col("metric") == COSINE, pl.col("relative_shift").is_not_null(), in_family)
    with_relative_shift = set(table["augmentation"])
    levels = [
        parameter
        for parameter, view in zip(family.parameters, family.views, strict=True)
        if view in with_relative_shift
    ]
    strongest, images = levels[-1] if levels else math.nan, info.units
    has_interval = images >= LEAST_IMAGES and not table["relative_shift_low"].is_null().all()
    return MeasuredRange(strongest, rises, has_interval, images)


def tolerance_estimate(study: Study, row: Mapping[str, Any]) -> Estimate:
    """Returns a row of the table `tolerance` as an estimate; what is not reached lies beyond the strongest level."""
    levels = measured_range(study, row["family"], row["criterion"])
    strongest, beyond = levels.strongest, math.inf if levels.rises else -math.inf
    if math.isnan(strongest):
        return Estimate(math.nan, math.nan, math.nan, levels.images)
    value = beyond if row["value"] is None else row["value"]
    if not levels.has_interval:
        return Estimate(value, math.nan, math.nan, levels.images, edge=strongest)
    # The weak end of the interval lies at or before the strongest level, the strong end may lie anywhere beyond.
    if_null = (strongest, beyond) if levels.rises else (beyond, strongest)
    low, high = (end if row[name] is None else row[name] for name, end in zip(("low", "high"), if_null, strict=True))
    return Estimate(value, low, high, levels.images, edge=strongest)


def capped(row: Mapping[str, Any], levels: MeasuredRange) -> list[float]:
    value, low, high = (levels.strongest if row[name] is None else row[name] for name in ("value", "low", "high"))
    return [value, low, high] if levels.has_interval else [value, math.nan, math.nan]
