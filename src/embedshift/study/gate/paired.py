"""Differences from a reference study of the same images and views, paired by image."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, is_scale
from embedshift.statistics.intervals import mean_interval
from embedshift.statistics.sample import gather, of_values
from embedshift.statistics.tolerance import by_family
from embedshift.study import checks
from embedshift.study.gate.decision import Estimate
from embedshift.study.gate.estimates import by_degrees, linearised, mover, proportion_interval
from embedshift.study.gate.tables import RECALL, Strengths, number, strengths
from embedshift.study.study import Study
from embedshift.study.tolerances import baseline_over, tolerances

EQUAL = "kept by definition: both studies have equal weights and settings"
CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
_OWN, _REFERENCE = "own", "reference"


@dataclass(frozen=True, eq=False)
class Pair:
    """A study and its reference."""

    study: Study
    reference: Study
    ids: Sequence[str]
    equal: bool

    @property
    def seed(self) -> int:
        """The seed of the resamples."""
        return self.reference.reader().info.seed

    @property
    def both(self) -> tuple[Study, Study]:
        """The study, then the reference."""
        return self.study, self.reference

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics that both have on the same basis."""
        return checks.common_metrics([self.reference, self.study])

    @functools.cached_property
    def ranks(self) -> list[pl.DataFrame]:
        """The table `search_ranks` of both studies."""
        beside = [_beside(each) for each in self.both]
        if beside[0] != beside[1]:
            words = f"the gallery of {self.study.folder} has {beside[0]} images, that of {self.reference.folder}"
            raise UsageError(f"{words} {beside[1]}: search both again with the same gallery")
        return [each.search_ranks() for each in self.both]

    @functools.cached_property
    def tolerances(self) -> pl.DataFrame:
        """The tolerances of both studies, over the images that both measured."""
        return tolerances([each.reader() for each in self.both], [_OWN, _REFERENCE], self.ids)

    @functools.cached_property
    def baselines(self) -> Callable[[str], list[Baseline | None]]:
        """Function of a metric's name → its baseline in both studies, over the images that both measured."""
        return functools.cache(lambda metric: [baseline_over(each.reader(), self.ids, metric) for each in self.both])


def _beside(study: Study) -> int:
    """Returns how many images from outside the study are searched among."""
    sizes = study.table("gallery_sizes").filter(kind="measured")["images"].to_list()
    own = len(study.reader().image_ids())
    return max(sizes, default=own) - own


def paired_with(study: Study, reference: Study) -> Pair:
    """Makes a pair of a study and its reference."""
    both = [reference, study]
    checks.check_studies(both)
    checks.check_same_views(both)
    ids = checks.common_images(both)
    checks.check_hashes(both, ids)
    first, second = (each.reader().info for each in both)
    equal = first.encoder.weights_hash == second.encoder.weights_hash and first.identity == second.identity
    return Pair(study, reference, ids, equal)


def difference(pair: Pair, table: str, column: str, row: Mapping[str, Any]) -> Estimate:
    """Returns the study's number minus the reference's, with its 95 % interval."""
    if pair.equal:
        return Estimate(0.0, 0.0, 0.0, len(pair.ids), note=EQUAL)
    if table == "search":
        return of_search(pair, row["augmentation"], row["metric"])
    if table == "tolerance":
        return of_tolerance(pair, row["family"], row["criterion"])
    metric = row["metric"]
    if metric not in pair.metrics:
        raise UsageError(f"{metric} is measured differently in {pair.reference.folder}")
    return (of_relative_shift if column == "relative_shift" else of_mean)(pair, row["augmentation"], metric)


def of_search(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Returns the difference in recall, in mean reciprocal rank, or in the relative shift of kept neighbours."""
    recall = RECALL.fullmatch(metric)
    if recall is not None:
        value = (pl.col("rank") <= int(recall[1])).cast(pl.Float64)
    elif metric == "mrr":
        value = 1 / pl.col("rank")
    elif metric.startswith("knn_overlap"):
        value = pl.col("knn_overlap")
    else:
        raise UsageError(f"{metric} describes pairs of images and has no difference per image; use at_least or at_most")
    here, there = (_ranks(each, augmentation, value) for each in pair.ranks)
    sums, counts = _joined(here, there, pair.ids)
    apart = sums / counts
    return proportion_interval(apart) if recall is not None else by_degrees(apart, pair.seed)


def of_mean(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Returns the difference in a metric's mean: bootstrap-t over the images; Tango's interval if it is binary."""
    infos = [each.reader().info for each in pair.both]
    if METRICS[metric].unit == "encoder" and infos[0].encoder.weights_hash != infos[1].encoder.weights_hash:
        raise UsageError(
            f"{metric} has different units in different encoders; compare its relative shift: 'column: relative_shift'"
        )
    here, there = (_values(each, augmentation, metric) for each in pair.both)
    sums, counts = _joined(here, there, pair.ids)
    if METRICS[metric].binary:
        return proportion_interval(sums / counts)
    if not len(sums):
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = gather([(sums[:, None], counts[:, None])])
    low, high = mean_interval(sample, seed=pair.seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), len(sums))


def of_relative_shift(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Returns the difference in the relative shift of a metric; each study has its own baseline."""
    parts = [
        _added(each, baseline, augmentation, metric, pair.ids)
        for each, baseline in zip(pair.both, pair.baselines(metric), strict=True)
    ]
    if any(part is None for part in parts):
        return _of_two_relative_shifts(pair, augmentation, metric)
    own, other = (part for part in parts if part is not None)
    there = ~np.isnan(own) & ~np.isnan(other)
    if not there.any():
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = of_values((own - other)[there, None])
    low, high = mean_interval(sample, seed=pair.seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), int(there.sum()))


def _added(
    study: Study, baseline: Baseline | None, augmentation: str, metric: str, ids: Sequence[str]
) -> Values | None:
    """Returns each image's contribution to a relative shift, `[n]`, with the relative shift as mean; None if vectors are missing."""
    if baseline is None or baseline.pairs is None or len(baseline.pairs.images) != len(ids):
        return None
    order = _order(study, ids)
    if not is_scale(baseline, METRICS[metric].no_change):
        return np.full(len(ids), np.nan)
    values = _values(study, augmentation, metric).group_by("image_id").agg(pl.col("value").mean())
    own = order.join(values, on="image_id", how="left", maintain_order="left")["value"].fill_null(np.nan).to_numpy()
    return linearised(own, baseline, METRICS[metric].no_change)[np.argsort(order["image_id"].to_numpy())]


def _of_two_relative_shifts(pair: Pair, augmentation: str, metric: str) -> Estimate:
    wanted = (pl.col("augmentation") == augmentation) & (pl.col("metric") == metric)
    rows = [each.summary().filter(wanted).to_dicts()[0] for each in pair.both]
    ends = [
        [number(row[name]) for name in ("relative_shift", "relative_shift_low", "relative_shift_high")] for row in rows
    ]
    return mover(ends[0], ends[1], min(row["images"] for row in rows))


def of_tolerance(pair: Pair, family: str, criterion: str) -> Estimate:
    """Returns the difference in a family's tolerance; a tolerance above the strongest level counts as that level."""
    rows = by_family(pair.tolerances, criterion)
    if family not in rows:
        raise UsageError(f"{pair.reference.folder}: no tolerance for criterion {criterion}")
    row = rows[family]
    known = [strengths(each, family, criterion) for each in pair.both]
    (own, own_capped), (other, other_capped) = (
        _capped(row, name, each) for name, each in zip((_OWN, _REFERENCE), known, strict=True)
    )
    found = mover(own, other, min(len(pair.ids), *(each.images for each in known)))
    note = CAPPED if own_capped or other_capped else ""
    return Estimate(found.value, found.low, found.high, found.images, note=note)


def _capped(row: Mapping[str, Any], name: str, known: Strengths) -> tuple[list[float], bool]:
    value, low, high = row[name], row[f"{name} low"], row[f"{name} high"]
    if not known.has_interval:
        return [known.strongest if value is None else value, math.nan, math.nan], value is None
    capped = [known.strongest if each is None else each for each in (value, low, high)]
    return capped, value is None


def _ranks(table: pl.DataFrame, augmentation: str, value: pl.Expr) -> pl.DataFrame:
    rows = table.filter(pl.col("view") == augmentation)
    return rows.select("image_id", pl.col("draw").cast(pl.Int64), value.alias("value"))


def _values(study: Study, augmentation: str, metric: str) -> pl.DataFrame:
    """Returns `image_id, draw, value` of one metric under one augmentation."""
    rows = study.rows().filter(pl.col("view") == augmentation)
    value = pl.col(metric).cast(pl.Float64).fill_nan(None).alias("value")
    return rows.select("image_id", pl.col("draw").cast(pl.Int64), value).collect()


def _order(study: Study, ids: Sequence[str]) -> pl.DataFrame:
    """Returns some images in the study's order."""
    rows = study.rows().filter(pl.col("view") == ORIGINAL).select("image_id").collect()
    return rows.filter(pl.col("image_id").is_in(list(ids)))


def _joined(own: pl.DataFrame, other: pl.DataFrame, ids: Sequence[str]) -> tuple[Values, Values]:
    """Returns each image's sum of differences and number of views, `[n]` each, over views in both studies."""
    both = own.drop_nulls("value").join(other.drop_nulls("value"), on=["image_id", "draw"], suffix="_other")
    apart = (pl.col("value") - pl.col("value_other")).alias("apart")
    kept = both.filter(pl.col("image_id").is_in(list(ids))).select("image_id", apart)
    found = kept.group_by("image_id").agg(pl.col("apart").sum(), pl.len().alias("count")).sort("image_id")
    return found["apart"].to_numpy(), found["count"].cast(pl.Float64).to_numpy()
