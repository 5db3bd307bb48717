"""Studies of the same images and views, their values in the same order, and their tolerances over some images."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.registry import METRICS
from embedshift.statistics.baselines import Baseline, relative_shifts, sums_of
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.layout import image_rows
from embedshift.statistics.strengths import (
    MISSED_CRITERION,
    TOLERANCE_SCHEMA,
    missed_tolerances,
    relative_shift_tolerances,
)
from embedshift.statistics.summary import COSINE, measured
from embedshift.store.baselines import baselines, chunk_sizes
from embedshift.store.groups import NEAR, NONE, Choice
from embedshift.store.plans import other_images
from embedshift.store.reader import Reader
from embedshift.study.paired import checks
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
    strongest: float
    rises: bool
    has_interval: bool
    images: int


def measured_range(study: Study, family_name: str, criterion: str) -> MeasuredRange:
    info = study.reader().info
    family = next(family for family in study.reader().families if family.name == family_name)
    rises, strongest = family.strengths[-1] > family.strengths[0], family.parameters[-1]
    if criterion == MISSED_CRITERION:
        images = info.groups.count if info.groups else study.search_ranks()["image_id"].n_unique()
        return MeasuredRange(strongest, rises, images >= LEAST_IMAGES, images)
    in_family = pl.col("augmentation").is_in(family.views)
    table = study.summary().filter(pl.col("metric") == COSINE, pl.col("relative_shift").is_not_null(), in_family)
    known = set(table["augmentation"])
    levels = [level for level, view in zip(family.parameters, family.views, strict=True) if view in known]
    strongest, images = levels[-1] if levels else math.nan, info.group_count
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


@dataclass(frozen=True, eq=False)
class PairedStudies:
    studies: Sequence[Study]
    ids: list[str]
    same_pixels: Sequence[bool]

    @functools.cached_property
    def readers(self) -> list[Reader]:
        return [study.reader() for study in self.studies]

    @property
    def reference(self) -> Reader:
        return self.readers[0]

    @property
    def seed(self) -> int:
        return self.reference.info.seed

    @property
    def augmentations(self) -> list[str]:
        return self.reference.augmentations

    @functools.cached_property
    def metrics(self) -> list[str]:
        return checks.common_metrics(self.readers)

    @functools.cached_property
    def names(self) -> list[str]:
        return checks.study_names(self.readers)

    @functools.cached_property
    def same_weights(self) -> list[bool]:
        weights = [reader.weights for reader in self.readers]
        return [study_weights == weights[0] for study_weights in weights]

    @functools.cached_property
    def same_rows(self) -> list[bool]:
        """For each study, whether its rows hold the reference's metrics and embeddings, whatever the encoders are."""
        return [study == 0 or self._equals_reference(study) for study in range(len(self.readers))]

    def _equals_reference(self, study: int) -> bool:
        for metric in self.metrics:
            first, own = (self._values(each, metric, self.augmentations) for each in (0, study))
            if not np.array_equal(first, own, equal_nan=True):
                return False
        if not all(self.readers[each].info.has_vectors for each in (0, study)):
            return True
        both = [self.rows()[each].select("view", "embedding") for each in (0, study)]
        views = ([rows.filter(view=view).collect() for rows in both] for view in (ORIGINAL, *self.augmentations))
        return all(first.equals(own) for first, own in views)

    def same_unit(self, metric: str) -> NDArray[np.bool_]:
        return np.array(self.same_weights) | (METRICS[metric].unit != "encoder" or self.same_rows)

    @functools.cached_property
    def groups(self) -> GroupNumbers | None:
        return None if self.reference.groups is None else self.reference.groups[self.positions[0]]

    @property
    def group_count(self) -> int:
        return len(self.ids) if self.groups is None else len(np.unique(self.groups))

    def rows(self) -> list[pl.LazyFrame]:
        common = pl.col("image_id").is_in(self.ids)
        return [reader.rows().filter(common).sort("image_id", "draw", maintain_order=True) for reader in self.readers]

    def values(self, metric: str, augmentations: Sequence[str] | None = None) -> Values:
        names = self.augmentations if augmentations is None else augmentations
        return np.stack([self._values(study, metric, names) for study in range(len(self.readers))])

    def _values(self, study: int, metric: str, augmentations: Sequence[str]) -> Values:
        rows = self.readers[study].image_rows
        views = [rows.layout.positions(name) for name in augmentations]
        parts = [rows.layout.numbers(block, [metric])[:, views, 0] for block in rows.blocks(metric)]
        return np.asarray(np.concatenate(parts)[self.positions[study]])

    @functools.cached_property
    def positions(self) -> list[NDArray[np.intp]]:
        """Each common image's position among all images of each study, `[n]`."""
        ids = pl.DataFrame({"image_id": self.ids})
        tables = [
            pl.DataFrame({"image_id": reader.ordered_ids()}).with_row_index("position") for reader in self.readers
        ]
        joined = [ids.join(table, on="image_id", how="left", maintain_order="left") for table in tables]
        return [table["position"].to_numpy() for table in joined]

    @functools.cached_property
    def search_ranks(self) -> list[pl.DataFrame]:
        sizes = [other_images(reader) for reader in self.readers]
        for study, size in zip(self.studies, sizes, strict=True):
            if size != sizes[0]:
                words = f"the gallery of {study.folder} has {size} images, that of {self.reference.folder} {sizes[0]}"
                raise UsageError(f"{words}: search both again with the same gallery")
        return [study.search_ranks() for study in self.studies]

    @functools.cached_property
    def is_searched(self) -> bool:
        """Whether all studies have a search, of the same gallery."""
        try:
            return all("search_ranks" in reader.table_names for reader in self.readers) and bool(self.search_ranks)
        except UsageError:
            return False

    @functools.cached_property
    def tolerances(self) -> list[pl.DataFrame]:
        if not any(family.has_strength for family in self.reference.families):
            return [pl.DataFrame(schema=TOLERANCE_SCHEMA) for _ in self.studies]
        cosines = [baselines_of_study.get(COSINE) for baselines_of_study in self.baselines]
        groups = [groups_in_order(*pair) for pair in zip(self.readers, self.positions, strict=True)]
        parts = zip(self.studies, cosines, groups, strict=True)
        return [
            study_tolerances(study, self.ids, cosine, own, searched=self.is_searched) for study, cosine, own in parts
        ]

    @functools.cached_property
    def baselines(self) -> list[dict[str, Baseline]]:
        return [_baselines_over(*pair) for pair in zip(self.readers, self.positions, strict=True)]


def _baselines_over(reader: Reader, images: NDArray[np.intp]) -> dict[str, Baseline]:
    all_images, count = baselines(reader), len(reader.ordered_ids())
    if len(images) == count:
        return all_images
    parts = [part["vectors"] for part in reader.shard_sums("vectors")]
    vectors = np.concatenate(parts) if parts else np.zeros((0, 1))
    sums = sums_of(vectors[np.sort(images)], groups_in_order(reader, images)) if len(vectors) == count else None
    common: dict[str, Baseline | None] = {}
    for metric, baseline in all_images.items():
        exact = METRICS[metric].baseline
        if exact is None or sums is None:
            common[metric] = Baseline(baseline.value, baseline.error)
        else:
            common[metric] = exact(sums, len(images))
    return {metric: baseline for metric, baseline in common.items() if baseline is not None}


def groups_in_order(reader: Reader, images: NDArray[np.intp]) -> GroupNumbers | None:
    """Returns the group of each of some images of a study, in its order; None if images are independent."""
    return None if reader.groups is None else reader.groups[np.sort(images)]


def pair_studies(studies: Sequence[Study], groups: Choice | None = None, *, may_repeat: bool = False) -> PairedStudies:
    """Pairs studies of the same images and views; one study may be given twice where it `may_repeat`."""
    checks.check_finished(studies, may_repeat=may_repeat)
    readers = [study.reader() for study in studies]
    same_pixels = checks.check_same_views(readers)
    ids = checks.common_images(readers)
    checks.check_hashes(readers, ids)
    first, *others = studies
    first.regroup(groups)
    for study in others:
        study.regroup(_same_groups(first, study) if groups == NEAR else groups)
    paired = PairedStudies(studies, ids, same_pixels)
    checks.check_groups(paired.readers, paired.positions)
    return paired


def _same_groups(first: Study, study: Study) -> Choice:
    """Returns the groups of one study for the images of another; an image that only one has is a group of its own."""
    groups = first.reader().groups
    numbers = {} if groups is None else dict(zip(first.reader().ordered_ids(), groups.tolist(), strict=True))
    return {image_id: numbers.get(image_id) for image_id in study.reader().ordered_ids()} if numbers else NONE
