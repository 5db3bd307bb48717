"""What fell or rose against a reference study of the same images and views: differences paired by image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.floors import Floor, is_scale
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, of_means
from embedshift.statistics.paired_shares import difference_of_shares
from embedshift.statistics.sample import gather, of_values
from embedshift.study import checks
from embedshift.study.gate.decision import Estimate
from embedshift.study.gate.tables import RECALL, Strengths, number, read_table, strengths
from embedshift.study.study import Study
from embedshift.study.tolerances import floor_over, tolerances

EQUAL = "kept by definition: equal weights and settings give equal numbers"
CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
_OWN, _REFERENCE = "own", "reference"


@dataclass(frozen=True)
class Pair:
    """A study and its reference.

    Args:
        study: That which is checked.
        reference: That which it is compared with.
        ids: Images that both measured, sorted.
        equal: Whether weights and everything else that can change a number are equal.
    """

    study: Study
    reference: Study
    ids: Sequence[str]
    equal: bool

    @property
    def seed(self) -> int:
        """Decides the resamples."""
        return self.reference.reader().info.seed


def paired_with(study: Study, reference: Study) -> Pair:
    """A study and its reference.

    Raises:
        EmbedshiftError: (exit code 2) one line, where they are not of the same images and views, as for `compare`.
    """
    both = [reference, study]
    checks.check_studies(both)
    checks.check_same_views(both)
    ids = checks.common_images(both)
    checks.check_hashes(both, ids)
    first, second = (each.reader().info for each in both)
    equal = first.encoder.weights_hash == second.encoder.weights_hash and first.identity == second.identity
    return Pair(study, reference, ids, equal)


def difference(pair: Pair, table: str, column: str, row: Mapping[str, Any]) -> Estimate:
    """The study's number less the reference's, with its 95 % interval.

    Args:
        pair: The studies.
        table: One with paired columns.
        column: One of them.
        row: Of the study's table.

    Raises:
        UsageError: where the number cannot be compared.
    """
    if pair.equal:
        return Estimate(0.0, 0.0, 0.0, len(pair.ids), note=EQUAL)
    if table == "search":
        return of_search(pair, row["augmentation"], row["metric"])
    if table == "tolerance":
        return of_tolerance(pair, row["family"])
    metric = row["metric"]
    if metric not in checks.common_metrics([pair.reference, pair.study]):
        raise UsageError(f"{metric} is not measured alike in {pair.reference.folder}")
    return (of_share if column == "share" else of_mean)(pair, row["augmentation"], metric)


def of_search(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Of recall, of the mean reciprocal rank, or of the share of neighbours that a view keeps.

    Every image has a number from 0 to 1, the mean over its draws. Recall is a share: Tango's score interval, which has
    a width where no image differs. The others vary by degrees: bootstrap-t of the differences, and at least as wide as
    a change by 1 of images that are so few that none was met among these (Clopper and Pearson 1934).
    """
    recall = RECALL.fullmatch(metric)
    if recall is not None:
        value = (pl.col("rank") <= int(recall[1])).cast(pl.Float64)
    elif metric == "mrr":
        value = 1 / pl.col("rank")
    elif metric.startswith("knn_overlap"):
        value = pl.col("knn_overlap")
    else:
        raise UsageError(f"{metric} is of pairs of images and has no difference by image; give at_least or at_most")
    here, there = (_ranks(each, augmentation, value) for each in (pair.study, pair.reference))
    sums, counts = _joined(here, there, pair.ids)
    apart = sums / counts
    return of_shares(apart) if recall is not None else _by_degrees(apart, pair.seed)


def of_shares(apart: Values) -> Estimate:
    """The difference of two shares, by Tango's score interval.

    Args:
        apart: What each image gained, from -1 to 1 `[n]`.

    Example:
        >>> found = of_shares(np.array([1.0, -1.0] + [0.0] * 198))
        >>> round(found.value, 3), round(found.low, 3)
        (0.0, -0.023)
    """
    images = len(apart)
    if not images:
        return Estimate(math.nan, math.nan, math.nan, 0)
    gained, lost = float(np.maximum(apart, 0.0).mean()), float(np.maximum(-apart, 0.0).mean())

    def at(number: int) -> tuple[float, float]:
        return difference_of_shares(gained * number, lost * number, number)

    low, high = at(images) if images >= LEAST_IMAGES else (math.nan, math.nan)
    return Estimate(gained - lost, low, high, images, at)


def _by_degrees(apart: Values, seed: int) -> Estimate:
    images = len(apart)
    whole = of_shares(apart)
    if images < LEAST_IMAGES:
        return whole
    low, high = (end.item() for end in of_means(of_values(apart[:, None]), seed=seed, low=-1.0, high=1.0))
    if math.isnan(low):  # so few images differ that resamples say nothing
        return whole
    value = float(apart.mean())
    found = Estimate(value, low, high, images)

    def at(number: int) -> tuple[float, float]:
        unseen = -math.expm1(math.log((1 - LEVEL) / 2) / number)
        below, above = found.ends(number)
        return max(-1.0, min(below, value - unseen)), min(1.0, max(above, value + unseen))

    return Estimate(value, *at(images), images, at)


def of_mean(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Of the mean of a metric: bootstrap-t of the differences of the images; Tango's interval for one of 0 and 1."""
    infos = [each.reader().info for each in (pair.study, pair.reference)]
    if METRICS[metric].unit == "encoder" and infos[0].encoder.weights_hash != infos[1].encoder.weights_hash:
        raise UsageError(f"{metric} is in each encoder's own units; compare its share: 'column: share'")
    here, there = (_values(each, augmentation, metric) for each in (pair.study, pair.reference))
    sums, counts = _joined(here, there, pair.ids)
    if METRICS[metric].binary:
        return of_shares(sums / counts)
    if not len(sums):
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = gather([(sums[:, None], counts[:, None])])
    low, high = of_means(sample, seed=pair.seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), len(sums))


def of_share(pair: Pair, augmentation: str, metric: str) -> Estimate:
    """Of the share of the way to an unrelated image, of which each study has its own floor.

    Of up to 1,024 images whose vectors are kept, the share (1 - m) / (1 - f) is linear in its images but for terms of
    the second order: image i adds to it (m - m_i + share · f_i) / (1 - f), where f_i is what the image adds to the
    floor (Efron and Tibshirani 1993, chapter 22). The differences of these numbers have a bootstrap-t interval.
    Otherwise the interval is made of those of the two shares, as `mover` does.
    """
    parts = [_added(each, augmentation, metric, pair.ids) for each in (pair.study, pair.reference)]
    if any(part is None for part in parts):
        return _of_two_shares(pair, augmentation, metric)
    own, other = (part for part in parts if part is not None)
    there = ~np.isnan(own) & ~np.isnan(other)
    if not there.any():
        return Estimate(math.nan, math.nan, math.nan, 0)
    sample = of_values((own - other)[there, None])
    low, high = of_means(sample, seed=pair.seed)
    return Estimate(sample.mean.item(), low.item(), high.item(), int(there.sum()))


def _added(study: Study, augmentation: str, metric: str, ids: Sequence[str]) -> Values | None:
    """What each image adds to a share `[n]`, with the share as their mean; None where its vectors are not all kept."""
    floor = floor_over(study.reader(), ids, metric)
    if floor is None or floor.pairs is None or len(floor.pairs.images) != len(ids):
        return None
    order = _order(study, ids)
    if not is_scale(floor, METRICS[metric].no_change):
        return np.full(len(ids), np.nan)
    values = _values(study, augmentation, metric).group_by("image_id").agg(pl.col("value").mean())
    own = order.join(values, on="image_id", how="left", maintain_order="left")["value"].fill_null(np.nan).to_numpy()
    return linearised(own, floor, METRICS[metric].no_change)[np.argsort(order["image_id"].to_numpy())]


def linearised(values: Values, floor: Floor, no_change: float) -> Values:
    """The share of every image, with what it adds to the floor `[n]`; their mean is the share.

    Args:
        values: Of a metric, one an image, in the order of the floor's groups; NaN where there is none.
        floor: Exact, of groups of one image.
        no_change: The metric's value for an unchanged view.
    """
    assert floor.pairs is not None
    mean, scale = np.nanmean(values), no_change - floor.value
    share = (no_change - mean) / scale
    slope = floor.pairs.means(np.ones((1, len(values))))[1][0]
    # The slopes of all images add up to 0; those of images without a value go to the others.
    added = share * len(values) * slope / scale
    added = added - np.mean(added[~np.isnan(values)])
    return np.asarray(share + (mean - values) / scale + added)


def _of_two_shares(pair: Pair, augmentation: str, metric: str) -> Estimate:
    wanted = (pl.col("augmentation") == augmentation) & (pl.col("metric") == metric)
    rows = [each.summary().filter(wanted).to_dicts()[0] for each in (pair.study, pair.reference)]
    ends = [[number(row[name]) for name in ("share", "share_low", "share_high")] for row in rows]
    return mover(ends[0], ends[1], min(row["images"] for row in rows))


def of_tolerance(pair: Pair, family: str) -> Estimate:
    """Of the strength that a family is tolerated up to; one beyond the strongest level counts as that level."""
    readers = [each.reader() for each in (pair.study, pair.reference)]
    row = tolerances(readers, [_OWN, _REFERENCE], pair.ids).row(by_predicate=pl.col("family") == family, named=True)
    known = [strengths(each, family) for each in (pair.study, pair.reference)]
    (own, own_capped), (other, other_capped) = (
        _capped(row, name, each) for name, each in zip((_OWN, _REFERENCE), known, strict=True)
    )
    found = mover(own, other, len(pair.ids))
    note = CAPPED if own_capped or other_capped else ""
    return Estimate(found.value, found.low, found.high, found.images, note=note)


def _capped(row: Mapping[str, Any], name: str, known: Strengths) -> tuple[list[float], bool]:
    value, low, high = row[name], row[f"{name} low"], row[f"{name} high"]
    if not known.has_interval:
        return [known.strongest if value is None else value, math.nan, math.nan], value is None
    capped = [known.strongest if each is None else each for each in (value, low, high)]
    return capped, value is None


def mover(own: Sequence[float], other: Sequence[float], images: int) -> Estimate:
    """The difference of two numbers, from their intervals (Zou and Donner 2008, Statistics in Medicine 27: 1693-1702).

    As if the two were of other images: an image that is hard for both moves both, so that the interval is wider than a
    paired one.

    Args:
        own: Value and ends of its interval.
        other: The same of the number that is taken away.
        images: How many images they are of.

    Example:
        >>> found = mover([5.0, 2.0, 8.0], [4.0, 0.0, 8.0], 50)
        >>> found.value, found.low, found.high
        (1.0, -4.0, 6.0)
    """
    (v1, l1, u1), (v0, l0, u0) = own, other
    value = v1 - v0
    return Estimate(value, value - math.hypot(v1 - l1, u0 - v0), value + math.hypot(u1 - v1, v0 - l0), images)


def _ranks(study: Study, augmentation: str, value: pl.Expr) -> pl.DataFrame:
    rows = read_table(study, "search_ranks").filter(pl.col("view") == augmentation)
    return rows.select("image_id", pl.col("draw").cast(pl.Int64), value.alias("value"))


def _values(study: Study, augmentation: str, metric: str) -> pl.DataFrame:
    """`image_id, draw, value` of one metric under one augmentation."""
    rows = study.rows().filter(pl.col("view") == augmentation)
    value = pl.col(metric).cast(pl.Float64).fill_nan(None).alias("value")
    return rows.select("image_id", pl.col("draw").cast(pl.Int64), value).collect()


def _order(study: Study, ids: Sequence[str]) -> pl.DataFrame:
    """Some images in the study's order."""
    rows = study.rows().filter(pl.col("view") == ORIGINAL).select("image_id").collect()
    return rows.filter(pl.col("image_id").is_in(list(ids)))


def _joined(own: pl.DataFrame, other: pl.DataFrame, ids: Sequence[str]) -> tuple[Values, Values]:
    """Differences of the views that both have: per image their sum and how many they are, `[n]` each."""
    both = own.drop_nulls("value").join(other.drop_nulls("value"), on=["image_id", "draw"], suffix="_other")
    apart = (pl.col("value") - pl.col("value_other")).alias("apart")
    kept = both.filter(pl.col("image_id").is_in(list(ids))).select("image_id", apart)
    found = kept.group_by("image_id").agg(pl.col("apart").sum(), pl.len().alias("count")).sort("image_id")
    return found["apart"].to_numpy(), found["count"].cast(pl.Float64).to_numpy()
