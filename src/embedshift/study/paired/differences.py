"""How a study differs from its reference: how many times as far views move, neighbours, and one number of a table."""

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import stdtr

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics import agreement as statistics
from embedshift.statistics import shift_ratios
from embedshift.statistics.baselines import CHUNKS, Baseline, is_scale
from embedshift.statistics.equivalence import RECALL, RELATIVE_SHIFT, Equivalence, Margins, of_ratio, of_recall
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.judged import Judged, Outcomes, judge, p_of_mean
from embedshift.statistics.layout import image_means, sums_and_counts
from embedshift.statistics.paired import discordance_growth
from embedshift.statistics.power import images_for_mean
from embedshift.statistics.sample import IN_MEMORY, Estimates, gather, group_numbers
from embedshift.statistics.shift_ratios import Shifts
from embedshift.statistics.summary import COSINE
from embedshift.store.plans import ALL, other_images
from embedshift.store.reader import Reader
from embedshift.study.paired.estimate import (
    NO_ESTIMATE,
    Estimate,
    fraction_difference,
    judged_estimate,
    mean_estimate,
    mean_of_fractions,
    mover,
    proportion_difference,
)
from embedshift.study.paired.studies import PairedStudies, capped, measured_range

# A metric that only a comparison has.
TAIL = "tail"
AGREEMENT_SCHEMA = pl.Schema(
    {"study": str, "reference": str, "metric": str, "value": float, "ci_low": float, "ci_high": float}
)
CAPPED = "a tolerance beyond the strongest level counts as the strongest level"
RECALL_AT = re.compile(r"recall@(\d+)")


@dataclass(frozen=True)
class ShiftComparison:
    reference: Shifts
    study: Shifts
    groups: GroupNumbers | None
    included: NDArray[np.bool_]  # in the row `all`, `[A]`

    @functools.cached_property
    def log_ratios(self) -> Estimates:
        return shift_ratios.log_ratios(self.reference, self.study, self.groups)

    @functools.cached_property
    def differences(self) -> Estimates:
        return shift_ratios.shift_differences(self.reference, self.study, self.groups)

    @functools.cached_property
    def tails(self) -> Estimates:
        return shift_ratios.tail_differences(self.reference, self.study, self.groups)

    @functools.cached_property
    def means(self) -> tuple[Values, Values]:
        return shift_ratios.relative_shift_means(self.reference, self.study)

    @functools.cached_property
    def much_farther(self) -> tuple[Values, Values]:
        """Whether each view moves twice as far in the reference, and in the study, `[n, A, draws]`; NaN for none."""
        logs = shift_ratios.view_log_ratios(self.reference, self.study)
        lacking, least = np.isnan(logs), math.log(shift_ratios.MUCH)
        return np.where(lacking, np.nan, logs < -least), np.where(lacking, np.nan, logs > least)


@functools.lru_cache(maxsize=8)
def compare_shifts(paired: PairedStudies, study: int = 1) -> ShiftComparison | None:
    chosen = [paired.baselines[s].get(COSINE) for s in (0, study)]
    baselines = [baseline for baseline in chosen if baseline is not None and is_scale(baseline, 1.0)]
    if len(baselines) < 2 or COSINE not in paired.metrics:
        return None
    groups, deviations = _deviations(paired, study, baselines)
    values = paired.values(COSINE)
    first, second = (
        shift_ratios.shifts(1 - values[s], baseline, off)
        for s, baseline, off in zip((0, study), baselines, deviations, strict=True)
    )
    return ShiftComparison(first, second, groups, np.isin(paired.augmentations, unsaturated(paired)))


def ratio_estimate(paired: PairedStudies, augmentation: str, value: float, low: float, high: float) -> Estimate:
    """Returns a ratio of the comparison; it is tested on the scale of logarithms, by Student's t."""
    shifts, groups = compare_shifts(paired), paired.group_count
    if shifts is None or math.isnan(low):
        return Estimate(value, low, high, groups)
    column = [ALL, *paired.augmentations].index(augmentation)
    sample = shift_ratios.with_overall(shifts.log_ratios, shifts.included).columns([column])
    error = sample.error.item()
    level = 2 * float(stdtr(groups - 1, -math.log(high / value) / error)) if error else 1 - CONFIDENCE

    def plan(at: float) -> int | None:
        return images_for_mean(math.log(value / at), error * math.sqrt(groups), level)

    return Estimate(value, low, high, groups, p=p_of_mean(sample).item(), plan=plan)


@functools.lru_cache(maxsize=4)
def unsaturated(paired: PairedStudies) -> list[str]:
    """Returns the augmentations under which the reference's relative shift is below 0.9, or unknown."""
    baseline = paired.baselines[0].get(COSINE)
    if baseline is None or not is_scale(baseline, 1.0) or COSINE not in paired.metrics:
        return paired.augmentations
    values = paired.values(COSINE)[0]
    with np.errstate(invalid="ignore"):
        means = np.nansum(values, axis=(0, 2)) / (~np.isnan(values)).sum(axis=(0, 2))
    saturated = (1 - means) / (1 - baseline.value) >= shift_ratios.SATURATED
    return [name for name, is_saturated in zip(paired.augmentations, saturated, strict=True) if not is_saturated]


def _deviations(
    paired: PairedStudies, study: int, baselines: list[Baseline]
) -> tuple[GroupNumbers | None, tuple[Values, Values]]:
    places = [_places(paired, s, baseline) for s, baseline in zip((0, study), baselines, strict=True)]
    first, second = places
    if first is not None and second is not None:
        numbers, at = np.unique(first, return_index=True)
        if len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(numbers) == len(np.unique(second)):
            off = [shift_ratios.jackknife_deviations(baseline) for baseline in baselines]
            groups = None if paired.groups is None and len(numbers) == len(first) else first
            return groups, (off[0][numbers], off[1][second[at]])
    groups = paired.groups
    if groups is not None or len(paired.ids) > IN_MEMORY:
        groups = group_numbers(groups, len(paired.ids))
        groups = groups if groups.max() < IN_MEMORY else groups % CHUNKS
    count = len(paired.ids) if groups is None else len(np.unique(groups))
    drawn = [shift_ratios.normal_deviations(each, count, (paired.seed, s)) for s, each in enumerate(baselines)]
    return groups, (drawn[0], drawn[1])


def _places(paired: PairedStudies, study: int, baseline: Baseline) -> GroupNumbers | None:
    """Returns which part of a baseline's pairs each common image is in, `[n]`; None if they are of other images."""
    if baseline.pairs is None:
        return None
    order, groups = np.argsort(np.argsort(paired.positions[study])), paired.readers[study].groups
    if groups is not None:
        places = np.unique(groups[paired.positions[study]], return_inverse=True)[1]
        return places if len(baseline.pairs.images) == places.max() + 1 else None
    sizes = baseline.pairs.images.astype(np.intp)
    return np.repeat(np.arange(len(sizes)), sizes)[order] if sizes.sum() == len(order) else None


def tail_difference(
    paired: PairedStudies, study: int, shifts: ShiftComparison, augmentations: NDArray[np.bool_]
) -> Estimate:
    """Returns the fraction of views of some augmentations that move twice as far in a study, less the reference's."""
    reference, own = (far[:, augmentations].reshape(len(paired.ids), -1) for far in shifts.much_farther)
    some = ~np.isnan(own).all(axis=1)
    groups = None if paired.groups is None else paired.groups[some]
    differences = np.nanmean((own - reference)[some], axis=1)
    sample = shift_ratios.over_augmentations(shifts.tails, augmentations)
    return same_numbers(paired, study, differences) or mean_of_fractions(differences, paired.seed, groups, sample)


def same_numbers(paired: PairedStudies, study: int, differences: Values) -> Estimate | None:
    """Returns no difference where all are 0 and the stored rows are equal, else None."""
    is_same = not np.nan_to_num(differences).any() and paired.same_rows[study]
    return Estimate(0.0, 0.0, 0.0, paired.group_count) if is_same else None


def agreements(paired: PairedStudies) -> pl.DataFrame:
    if not all(reader.info.has_vectors for reader in paired.readers):
        return pl.DataFrame(schema=AGREEMENT_SCHEMA)
    images, groups = _compared(paired)
    reference, *others = (_originals(reader, np.array(paired.ids)[images].tolist()) for reader in paired.readers)
    rows = [
        (name, paired.names[0], metric, *statistics.agreement(metric, reference, own, groups))
        for name, own in zip(paired.names[1:], others, strict=True)
        for metric in statistics.METRICS
    ]
    return pl.DataFrame(rows, AGREEMENT_SCHEMA, orient="row").fill_nan(None)


def neighbours_by_chance(paired: PairedStudies) -> float:
    images, groups = _compared(paired)
    return statistics.neighbours_by_chance(len(images), groups)


def _compared(paired: PairedStudies) -> tuple[NDArray[np.intp], GroupNumbers | None]:
    images = np.argsort(paired.positions[0])[: statistics.COMPARED]
    return images, None if paired.groups is None else paired.groups[images]


def _originals(reader: Reader, image_ids: list[str]) -> Values:
    ids = pl.DataFrame({"image_id": image_ids})
    rows = reader.rows().filter(pl.col("view") == ORIGINAL, pl.col("image_id").is_in(image_ids))
    embeddings = rows.select("image_id", "embedding").collect()
    table = ids.join(embeddings, on="image_id", how="left", maintain_order="left")
    return table["embedding"].to_numpy().astype(np.float64)


def search_difference(paired: PairedStudies, row: Mapping[str, Any], study: int = 1) -> Estimate:
    """Returns the difference in recall, mean reciprocal rank or kept neighbours; `all`: over what is not saturated."""
    metric, is_all = row["metric"], row["augmentation"] == ALL
    chosen = np.isin(paired.augmentations, unsaturated(paired) if is_all else row["augmentation"])
    reference, own = (search_values(paired, s, metric)[:, chosen] for s in (0, study))
    differences = image_means((own - reference).transpose(0, 2, 1))
    if same := same_numbers(paired, study, differences):
        return same
    if RECALL_AT.fullmatch(metric):
        judged, column = judged_search(paired, study, metric), -1 if is_all else int(chosen.argmax())
        if metric != RECALL:
            return judged_estimate(judged, column)
        ranks = (1 / search_values(paired, s, "mrr")[:, chosen] for s in (0, study))
        others = other_images(paired.readers[0]) * paired.group_count / len(paired.ids)
        return judged_estimate(judged, column, discordance_growth(*ranks), others)
    has_any = ~np.isnan(differences).all(axis=1)
    means, groups = np.nanmean(differences[has_any], axis=1), None if paired.groups is None else paired.groups[has_any]
    return (mean_of_fractions if is_all else fraction_difference)(means, paired.seed, groups)


@functools.lru_cache(maxsize=8)
def judged_search(paired: PairedStudies, study: int, metric: str) -> Judged:
    """Returns what a study finds beside the reference, by augmentation and over those that are not saturated."""
    reference, own = (Outcomes(search_values(paired, s, metric).transpose(0, 2, 1)) for s in (0, study))
    included = np.isin(paired.augmentations, unsaturated(paired))
    return judge(reference, own, paired.groups, seed=paired.seed, included=included)


def equivalences(paired: PairedStudies, study: int, margins: Margins) -> dict[str, Equivalence]:
    """Returns by metric what is asked and can be said of one study beside the reference, over all augmentations."""
    found: dict[str, Equivalence] = {}
    shifts = compare_shifts(paired, study)
    if margins.shift is not None and shifts is not None:
        sample = shift_ratios.over_augmentations(shifts.log_ratios, shifts.included)
        unit = "images" if paired.groups is None else "groups"
        found[RELATIVE_SHIFT] = of_ratio(sample, margins, seed=paired.seed, unit=unit)
    if margins.recall is not None and all("search_ranks" in reader.table_names for reader in paired.readers):
        judged = judged_search(paired, study, RECALL).only(-1)
        is_same = same_numbers(paired, study, judged.gained + judged.lost) is not None
        found[RECALL] = of_recall(judged, margins, is_same=is_same)
    return found


def augmentations_apart(paired: PairedStudies, study: int) -> list[str]:
    """Returns the augmentations whose ratio is not that over all; none where all ratios may be equal."""
    shifts = compare_shifts(paired, study)
    found = [] if shifts is None else shift_ratios.apart(shifts.log_ratios, shifts.included, seed=paired.seed)
    return [paired.augmentations[column] for column in found]


def metric_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in a metric's mean: bootstrap-t over the images; Tango's interval if it is binary."""
    metric = row["metric"]
    _check_metric(paired, metric)
    if not paired.same_unit(metric).all():
        raise UsageError(
            f"{metric} has different units in different encoders; compare its relative shift: 'column: relative_shift'"
        )
    reference, study = paired.values(metric, [row["augmentation"]])[:, :, 0]
    sums, counts = sums_and_counts((study - reference)[..., None])
    some = counts[:, 0] > 0  # images with any draw
    groups = None if paired.groups is None else paired.groups[some]
    if not some.any():
        return NO_ESTIMATE
    if METRICS[metric].binary:
        return proportion_difference(sums[some, 0] / counts[some, 0], groups, paired.seed)
    return mean_estimate(gather([(sums[some], counts[some])], groups=groups), paired.seed)


def shift_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    """Returns the difference in the relative shift of a metric: of cosines by bootstrap-t, else from both intervals."""
    _check_metric(paired, row["metric"])
    shifts = compare_shifts(paired) if row["metric"] == COSINE else None
    if shifts is None:
        return _difference_of_intervals(paired, row)
    sample = shifts.differences.columns([paired.augmentations.index(row["augmentation"])])
    return mean_estimate(sample, paired.seed)


def _difference_of_intervals(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
    ends, images = [], []
    for study in paired.studies:
        own = study.summary().filter(augmentation=row["augmentation"], metric=row["metric"]).row(0, named=True)
        shift = (own[f"relative_shift{end}"] for end in ("", "_low", "_high"))
        ends.append([np.nan if number is None else number for number in shift])
        images.append(own["groups"] or own["images"])
    return mover(ends[1], ends[0], min(images))


def tolerance_difference(paired: PairedStudies, row: Mapping[str, Any]) -> Estimate:
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
    recall = RECALL_AT.fullmatch(metric)
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
