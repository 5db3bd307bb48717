"""How many times as far a study's views move as the reference's, and whether both see the same neighbours."""

import functools
import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics import agreement as statistics
from embedshift.statistics import shift_ratios
from embedshift.statistics.baselines import CHUNKS, Baseline, is_scale
from embedshift.statistics.sample import IN_MEMORY, Estimates
from embedshift.statistics.shift_ratios import Shifts
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.study.paired.estimate import Estimate, mean_of_fractions
from embedshift.study.paired.studies import PairedStudies

# The row over all augmentations but the saturated ones; and the metrics that only a comparison has.
ALL, RELATIVE_SHIFT, TAIL = "all", "relative_shift", "tail"
AGREEMENT_SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("study", "reference", "metric"), pl.String),
    **dict.fromkeys(("value", "ci_low", "ci_high"), pl.Float64),
}


@dataclass(frozen=True)
class ShiftComparison:
    """The shifts of a study beside those of its reference.

    Args:
        reference: The reference's shifts.
        study: Those of the study.
        groups: The group of each image, `[n]`, which is left out at once; None = every image is.
        included: Whether an augmentation counts in the row `all`, bool `[A]`.
    """

    reference: Shifts
    study: Shifts
    groups: GroupNumbers | None
    included: NDArray[np.bool_]

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
        """The relative shifts of the reference and of the study, `[A]` each."""
        return shift_ratios.relative_shift_means(self.reference, self.study)

    @functools.cached_property
    def much_farther(self) -> tuple[Values, Values]:
        """Whether each view moves twice as far in the reference, and in the study, `[n, A, draws]`; NaN for none."""
        logs = shift_ratios.view_log_ratios(self.reference, self.study)
        lacking, least = np.isnan(logs), math.log(shift_ratios.MUCH)
        return np.where(lacking, np.nan, logs < -least), np.where(lacking, np.nan, logs > least)


@functools.lru_cache(maxsize=8)
def compare_shifts(paired: PairedStudies, study: int = 1) -> ShiftComparison | None:
    """Returns the shifts of a study beside the reference's; None if a baseline is no scale."""
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
        groups = np.unique(np.arange(len(paired.ids)) if groups is None else groups, return_inverse=True)[1]
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
    """Returns the table `agreement`: how alike the originals are in both; empty if a study stores no embeddings."""
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
    """Returns the fraction of neighbours that unrelated encoders of these images would share."""
    images, groups = _compared(paired)
    return statistics.neighbours_by_chance(len(images), groups)


def _compared(paired: PairedStudies) -> tuple[NDArray[np.intp], GroupNumbers | None]:
    images = np.argsort(paired.positions[0])[: statistics.COMPARED]
    return images, None if paired.groups is None else paired.groups[images]


def _originals(reader: Reader, image_ids: list[str]) -> Values:
    """Returns the embeddings of the originals of some images, `[n, D]`."""
    ids = pl.DataFrame({"image_id": image_ids})
    rows = reader.rows().filter(pl.col("view") == ORIGINAL, pl.col("image_id").is_in(image_ids))
    embeddings = rows.select("image_id", "embedding").collect()
    table = ids.join(embeddings, on="image_id", how="left", maintain_order="left")
    return table["embedding"].to_numpy().astype(np.float64)
