"""The table `whitening`: what a search finds before and after each map, for images and changes not fitted."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
import scipy

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.questions.whitening import Choices
from embedshift.questions.whitening.held_out import AS_IS, CLASS, RECALL, Found, Images, results
from embedshift.statistics.intervals import LEAST_IMAGES, LEVEL, difference_of_proportions, mean_interval
from embedshift.statistics.layout import sums_and_counts
from embedshift.statistics.sample import Estimates, gather
from embedshift.statistics.whitening import MOST_DIM
from embedshift.store.reader import Reader
from embedshift.store.table import Table, table_path

# Images at most, and numbers of their vectors: 1 GiB.
IMAGES, NUMBERS = 2_000, 2**28
ALL, HUB = "all", "hub"
SCHEMA: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("map", "augmentation", "metric"), pl.String),
    "gallery": pl.Int64,
    **dict.fromkeys(("before", "after", "difference", "ci_low", "ci_high"), pl.Float64),
    "recommended": pl.Boolean,
}
# Metric → numbers and pseudovalues, `[2, n, draws, A]`.
Numbers = dict[str, Values]
# Augmentation, metric, before, after, difference and the ends of its interval.
Row = tuple[str, str, float, float, float, float, float]
# Metrics that are proportions of views.
PROPORTIONS = ("recall", "matched", CLASS)


def whitening(reader: Reader) -> pl.DataFrame:
    return table_of(images_of(reader), reader.info.seed)


def images_of(reader: Reader) -> Images:
    order, dim = reader.image_rows.order, reader.info.encoder.dim
    count = min(order.images, IMAGES, max(1, NUMBERS // (len(order.views) * dim)))
    rows = reader.image_rows.head(count).frame.select("embedding").collect()
    vectors = np.nan_to_num(rows["embedding"].to_numpy()).reshape(count, len(order.views), dim)
    family_of = {view: family.name for family in reader.families for view in family.views}
    return Images(
        vectors[:, order.views.index(ORIGINAL)],
        {name: vectors[:, order.positions(name)] for name in reader.augmentations},
        {name: family_of.get(name, name) for name in reader.augmentations},
        None if reader.groups is None else reader.groups[:count],
    )


def table_of(images: Images, seed: int) -> pl.DataFrame:
    names, groups = list(images.views), images.grouped
    if not images.folds.any():  # fewer than four images, or groups
        return pl.DataFrame(schema=SCHEMA)
    parts: dict[str, dict[str, Found]] = {}
    for name, augmentation, found in results(images):
        parts.setdefault(name, {})[augmentation] = found
    by_map: dict[str, Numbers] = {}
    for name, by_view in parts.items():
        columns = [by_view[each][0] for each in names]
        by_map[name] = {metric: np.stack([each[metric] for each in columns], axis=-1) for metric in columns[0]}
    hubs = {name: [by_view[each][1] for each in names] for name, by_view in parts.items()}
    chosen = recommended(by_map, groups, seed)
    rows: list[tuple[object, ...]] = []
    for name in [*by_map][1:]:
        part = [*_rows(by_map[AS_IS], by_map[name], names, groups, seed), *_hubs(hubs[AS_IS], hubs[name], names)]
        for augmentation, metric, *numbers in sorted(part, key=lambda row: [*names, ALL].index(row[0])):
            rows.append((name, augmentation, metric, images.searched(metric), *numbers, name == chosen))
    return pl.DataFrame(rows, SCHEMA, orient="row").fill_nan(None)


def recommended(by_map: Mapping[str, Numbers], groups: GroupNumbers | None, seed: int) -> str:
    """Returns the simplest map whose recall is above that as it is, and not below the best, by paired intervals."""
    means = {name: means_of(numbers[RECALL][0], groups).mean[-1] for name, numbers in by_map.items()}
    best = max(means, key=lambda name: means[name])

    def is_worse(name: str, other: str) -> bool:
        gain = by_map[name][RECALL] - by_map[other][RECALL]
        return bool(intervals(gain, groups, RECALL, seed)[1][-1] < 0)

    for name in by_map:
        if name == best or (not is_worse(name, best) and (name == AS_IS or is_worse(AS_IS, name))):
            return name
    return best


def _rows(
    before: Numbers, after: Numbers, names: Sequence[str], groups: GroupNumbers | None, seed: int
) -> Iterator[Row]:
    for metric in before:
        gain = after[metric] - before[metric]
        columns = [means_of(each[0], groups).mean for each in (before[metric], after[metric], gain)]
        for name, *row in zip([*names, ALL], *columns, *intervals(gain, groups, metric, seed), strict=True):
            yield (name, metric, *map(float, row))


def _hubs(before: Sequence[float], after: Sequence[float], names: Sequence[str]) -> Iterator[Row]:
    """Yields rows without an interval: the largest of many numbers has none over images."""
    numbers = [(float(np.mean(side)), *side) for side in (before, after)]
    for name, old, new in zip([ALL, *names], *numbers, strict=True):
        yield name, HUB, old, new, new - old, np.nan, np.nan


def means_of(values: Values, groups: GroupNumbers | None) -> Estimates:
    """Returns the sample of `[n, draws, A]`, and of the mean over the augmentations."""
    sample, count = gather([sums_and_counts(values)], groups=groups), values.shape[-1]
    return sample.combine(np.hstack([np.eye(count), np.full((count, 1), 1 / count)]))


def intervals(gain: Values, groups: GroupNumbers | None, metric: str, seed: int) -> tuple[Values, Values]:
    """Returns 95 % intervals of paired differences of numbers from 0 to 1, `[2, n, draws, A]`, and of their mean.

    Differences of proportions, and those without a bootstrap-t, have Tango's interval at the effective number of views.
    """
    values, sample = gain[0], means_of(gain[1], groups)
    low, high = mean_interval(sample, seed=seed, low=-1.0, high=1.0)
    if sample.images < LEAST_IMAGES:
        return low, high
    filled = np.nan_to_num(values)
    gained, lost = ((side * filled).clip(0).sum(axis=(0, 1)) for side in (1, -1))
    counts = np.maximum((~np.isnan(values)).sum(axis=(0, 1)), 1)
    gained, lost = (np.append(part / counts, (part / counts).mean()) for part in (gained, lost))
    spread, most = gained + lost - (gained - lost) ** 2, np.append(counts, counts.sum())
    has_spread = (spread > 0) & (sample.variance > 0)
    effective = np.where(has_spread, spread * sample.images / np.where(has_spread, sample.variance, 1), sample.images)
    # Tango's interval is of many views: its normal quantile becomes Student's.
    quantiles = scipy.special.ndtri((1 + LEVEL) / 2), scipy.special.stdtrit(sample.images - 1, (1 + LEVEL) / 2)
    effective = np.minimum(effective, most) * (quantiles[0] / quantiles[1]) ** 2
    is_proportion = metric.startswith(PROPORTIONS)
    for column in np.flatnonzero(~np.isnan(sample.mean)):
        if is_proportion or np.isnan(low[column]) or not sample.variance[column] > 0:
            number = effective[column]
            ends = difference_of_proportions(gained[column] * number, lost[column] * number, number)
            low[column], high[column] = ends
    return low, high


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices).measured or table_path(reader.folder, "whitening").is_file()
    is_fitted = reader.info.has_vectors and reader.info.encoder.dim <= MOST_DIM
    return is_asked and is_fitted and bool(reader.augmentations)


TABLES = (
    Table(
        "whitening",
        whitening,
        is_available=_is_available,
        requires="stored embeddings and views: run it with `store` all",
        settings=lambda reader: {"version": "3", "groups": reader.info.groups_digest},
        doc="What a search finds before and after each map, among images that it was not fitted to, for other changes.",
        choices=Choices(measured=True),
    ),
)
