"""The evidence for claims: means and standard deviations over images, their contrasts, ward trees, and p values.

Standard deviations are means of their pseudo-values. All p values are from the same resamples of the images.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.augmentations.paper import PAPER
from embedshift.statistics import intervals
from embedshift.statistics import sample as samples
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.clusters import threshold
from embedshift.statistics.intervals import LEAST_IMAGES
from embedshift.statistics.layout import ImageRows, Layout, blocks, pair_distances, sums_and_counts
from embedshift.statistics.maps import attention_entropy
from embedshift.statistics.sample import Estimates, estimates_from_values
from embedshift.statistics.summary import PAPER_METRICS

# The key of a number: `(metric, augmentation)` = a mean, `("sd", metric, augmentation)`, `("distance", augmentation,
# augmentation)` in alphabetical order, `("entropy_rise", augmentation)`.
Key = tuple[str, ...]
# Values of some images: by key, `[images, draws]`.
Block = Mapping[Key, Values]

# Metrics whose standard deviation a claim is about.
SD_METRICS = ("cosine_similarity", "l2_distance")


def distance(first: str, second: str) -> Key:
    return ("distance", *sorted((first, second)))


@dataclass(frozen=True)
class Evidence:
    sample: Estimates
    columns: Mapping[Key, int]
    baseline: Baseline | None = None

    def having(self, keys: Iterable[Key]) -> int:
        """Returns how many images have a value of each of the keys; 0 if a key is missing."""
        return min(self._having.get(key, 0) for key in keys)

    @functools.cached_property
    def _having(self) -> dict[Key, int]:
        return {key: int(self.sample.having[column]) for key, column in self.columns.items()}

    def measures(self, metric: str) -> bool:
        return any(self.sample.having[column] for key, column in self.columns.items() if key[0] == metric)

    def means(self, keys: Iterable[Key]) -> Values:
        return self.sample.mean[[self.columns[key] for key in keys]]


def gather(blocks: Iterable[Block], baseline: Baseline | None = None, groups: GroupNumbers | None = None) -> Evidence:
    all_blocks = iter(blocks)
    first = next(all_blocks, None)
    if first is None:  # of a study without images, or without any of the paper's augmentations
        return Evidence(estimates_from_values(np.empty((1, 0))), {})
    # Squares are of deviations from the means of the first images, since those of large numbers would be rounding.
    centres: dict[Key, float] = {}
    for key, values in first.items():
        if key[0] in SD_METRICS:
            measured = values[~np.isnan(values)]
            centres[key] = float(measured.mean()) if len(measured) else 0.0
    columns = {key: column for column, key in enumerate([*first, *(("sd", *key) for key in centres)])}

    def of_images(block: Block) -> tuple[Values, Values]:
        squares = {("sd", *key): (block[key] - centre) ** 2 for key, centre in centres.items()}
        return sums_and_counts(np.stack(list({**block, **squares}.values()), axis=2))

    sizes = None if baseline is None else baseline.chunk_sizes
    numbers = samples.gather(map(of_images, itertools.chain([first], all_blocks)), chunks=sizes, groups=groups)
    return Evidence(_with_standard_deviations(numbers, columns, centres), columns, baseline)


def _with_standard_deviations(
    numbers: Estimates, columns: Mapping[Key, int], centres: Mapping[Key, float]
) -> Estimates:
    gradients, means = np.eye(len(columns)), numbers.mean.copy()
    for key, centre in centres.items():
        mean_column, sd_column = columns[key], columns["sd", *key]
        offset, count = numbers.mean[mean_column] - centre, numbers.counts[mean_column]
        with np.errstate(invalid="ignore", divide="ignore"):
            sd = np.sqrt(np.maximum((numbers.mean[sd_column] - offset**2) * count / (count - 1), 0.0))
        varies = sd > 1e-12 * max(1.0, abs(numbers.mean[mean_column]))
        means[sd_column] = sd if varies or np.isnan(sd) else 0.0
        gradients[sd_column, sd_column] = 1 / (2 * sd) if varies else 0.0
        gradients[mean_column, sd_column] = -offset / sd if varies else 0.0
    linear = numbers.combine(gradients).with_means(means)
    return dataclasses.replace(linear, having=numbers.having, counts=numbers.counts)


# Detail preservation after moving the original as the view was moved; measured on request.
ALIGNED_DETAIL = "aligned_detail_preservation"
MEAN_METRICS = (*PAPER_METRICS, ALIGNED_DETAIL)
ENTROPY_RISE = "attention_entropy_rise"
# The augmentations under which attention spreads according to the paper; only their attention is read.
ENTROPY_AUGMENTATIONS = ("blur", "shift_scale_rotate", "perspective")


def read(rows: ImageRows, augmentations: Sequence[str]) -> Iterator[Block]:
    order, names = rows.layout, [name for name in augmentations if name in PAPER]
    if not names or not order.images:
        return
    pairs = enumerate(itertools.combinations(augmentations, 2) if "pairwise" in rows.columns else ())
    positions = {distance(*pair): index for index, pair in pairs if set(pair) <= set(PAPER)}
    values = rows.blocks(*(name for name in MEAN_METRICS if name in rows.columns))
    pair_values = pair_distances(rows.frame, math.comb(len(augmentations), 2)) if positions else iter(())
    for block, distances, entropy_rises in itertools.zip_longest(values, pair_values, _entropy_rises(rows, names)):
        block_values: dict[Key, Values] = {}
        numbers = order.numbers(block, MEAN_METRICS)
        for name in names:
            views = numbers[:, order.positions(name)]
            block_values |= {(metric, name): views[:, :, index] for index, metric in enumerate(MEAN_METRICS)}
        block_values |= {pair: distances[:, :, index] for pair, index in positions.items()}
        yield {**block_values, **(entropy_rises or {})}


def _entropy_rises(rows: ImageRows, names: Sequence[str]) -> Iterator[Block]:
    wanted, order = [name for name in ENTROPY_AUGMENTATIONS if name in names], rows.layout
    if ENTROPY_RISE in rows.columns and wanted:
        for block in rows.blocks(ENTROPY_RISE):
            values = order.numbers(block, [ENTROPY_RISE])[:, :, 0]
            yield {("entropy_rise", name): values[:, order.positions(name)] for name in wanted}
    elif wanted and isinstance(rows.columns["attention"], pl.Array):
        views = [ORIGINAL, *wanted]
        selected = Layout(order.images, tuple(view for view in order.views if view in views))
        for block in blocks(rows.frame.filter(pl.col("view").is_in(views)).select("attention"), len(selected.views)):
            maps = block["attention"]
            # With `store` metrics few rows have a map, and most blocks none.
            has_maps = maps.null_count() < len(maps)
            entropies = attention_entropy(maps.to_numpy()[:, None]) if has_maps else np.full(len(maps), np.nan)
            by_view = entropies.reshape(-1, len(selected.views))
            rises: Values = np.asarray(by_view - by_view[:, selected.positions(ORIGINAL)])
            yield {("entropy_rise", name): rises[:, selected.positions(name)] for name in wanted}


# A linear combination of numbers: their weights and keys.
Contrast = tuple[tuple[float, Key], ...]


@dataclass(frozen=True)
class Contrasts:
    estimate: Values
    error: Values
    drawn: Values

    @property
    def t(self) -> Values:
        """The contrasts in standard errors, `[J]`; 0 if a contrast is 0 in every image."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.estimate == 0, 0.0, self.estimate / self.error)

    def all_above(self) -> float:
        """Returns the p of "not all are above 0": the largest one-sided p of one contrast (intersection-union)."""
        return float(fraction(self.drawn >= self.t[:, None]).max())

    def one_below(self) -> float:
        """Returns the p of "none is below 0": that of the lowest contrast, among all (max-T)."""
        return most_outlying(-self.drawn, -self.t)

    def one_differs(self) -> float:
        """Returns the p of "all are 0", in both directions at once (max-T)."""
        return most_outlying(np.abs(self.drawn), np.abs(self.t))

    def number_above(self) -> tuple[float, float, float]:
        """Returns how many are above 0, and its 95 % interval: what simultaneous intervals show, and leave open."""
        shown = [
            sign * self.t > np.quantile(self._furthest(sign), (1 + intervals.CONFIDENCE) / 2, method="higher")
            for sign in (1, -1)
        ]
        above, below = (int((self._is_bounded & side).sum()) for side in shown)
        return float((self.estimate > 0).sum()), float(above), float(len(self.t) - below)

    def at_least_above(self, least: int) -> tuple[float, float]:
        """Returns the p of "fewer than `least` are above 0" and of "so many are" (partial conjunction, max-T)."""
        sides = ((1, least), (-1, len(self.t) - least + 1))
        last = [np.sort(np.where(self._is_bounded, sign * self.t, -np.inf))[-number] for sign, number in sides]
        above, below = (float(fraction(self._furthest(s) >= t)) for (s, _), t in zip(sides, last, strict=True))
        return above, below

    @functools.cached_property
    def _is_bounded(self) -> NDArray[np.bool_]:
        return intervals.bounded(self.drawn.T)

    def _furthest(self, sign: int) -> Values:
        return np.asarray((sign * self.drawn[self._is_bounded]).max(axis=0, initial=-np.inf))

    def smallest(self) -> tuple[float, float, float]:
        """Returns the smallest contrast and its 95 % interval: the least pointwise lower and simultaneous upper end."""
        tail = (1 - intervals.CONFIDENCE) / 2
        below = np.quantile(self.drawn, 1 - tail, axis=1, method="higher")
        above = np.where(self._is_bounded, np.quantile(self._furthest(-1), 1 - tail, method="higher"), np.inf)
        with np.errstate(invalid="ignore"):
            low = np.where(self.error > 0, self.estimate - below * self.error, self.estimate).min()
            high = np.where(self.error > 0, self.estimate + above * self.error, self.estimate).min()
        ends = (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else (np.nan, np.nan)
        return float(self.estimate.min()), *ends


def most_outlying(drawn: Values, observed: Values) -> float:
    """Returns the p of the most outlying of the numbers that can be significant (max-T); 1 if none can."""
    is_bounded = intervals.bounded(drawn.T)
    return float(fraction(drawn[is_bounded].max(axis=0) >= observed[is_bounded].max())) if is_bounded.any() else 1.0


def fraction(exceeding: NDArray[np.bool_]) -> Values:
    """Returns a p value by resamples: (1 + those that exceed) / (1 + all), over the last axis."""
    return np.asarray((1 + exceeding.sum(axis=-1)) / (1 + exceeding.shape[-1]))


def difference(metric: str, higher: str, lower: str, sign: float = 1.0) -> Contrast:
    return between(((metric, higher),), ((metric, lower),), sign)


def between(higher: Sequence[Key], lower: Sequence[Key], sign: float = 1.0) -> Contrast:
    return (*((sign / len(higher), key) for key in higher), *((-sign / len(lower), key) for key in lower))


Flags = NDArray[np.bool_]

NAMES = tuple(PAPER)
TREES = 1_000
DISTANCES = tuple(distance(*pair) for pair in itertools.combinations(NAMES, 2))


@dataclass(frozen=True)
class Trees:
    """Trees of the nine augmentations, in the paper's order: heights at which two join, `[R, 9, 9]`, and of the cut."""

    heights: Values
    cuts: Values


def grow(distances: Values) -> Trees:
    linkages = np.stack([scipy.cluster.hierarchy.linkage(row, method="ward") for row in distances])
    return Trees(_joining_heights(linkages), np.array([threshold(linkage) for linkage in linkages]))


def _joining_heights(trees: Values) -> Values:
    """Converts linkage matrices `[R, A - 1, 4]` to heights at which two leaves join, `[R, A, A]`, diagonal infinite."""
    count, leaves = len(trees), trees.shape[1] + 1
    heights = np.where(np.eye(leaves, dtype=bool), np.inf, np.zeros((count, 1, 1)))
    inside = np.zeros((count, 2 * leaves - 1, leaves), bool)  # the leaves of every cluster
    inside[:, :leaves] = np.eye(leaves, dtype=bool)
    for step in range(leaves - 1):
        left, right = (inside[np.arange(count), trees[:, step, side].astype(int)] for side in (0, 1))
        joined = left[:, :, None] & right[:, None, :]
        heights += (joined | joined.swapaxes(1, 2)) * trees[:, step, 2, None, None]
        inside[:, leaves + step] = left | right
    return heights


# A contrast below this multiple of its numbers is rounding.
_ROUNDING = 1e-12


class Bootstrap:
    def __init__(self, evidence: Evidence, contrasts: Iterable[Contrast], *, seed: int, resamples: int) -> None:
        self.evidence, self.seed, self.resamples = evidence, seed, resamples
        testable = [contrast for contrast in dict.fromkeys(contrasts) if evidence.having(key for _, key in contrast)]
        self._columns = {contrast: column for column, contrast in enumerate(testable)}

    def having(self, contrasts: Iterable[Contrast]) -> int:
        return self.evidence.having(key for contrast in contrasts for _, key in contrast)

    def testable(self, selected: Sequence[Contrast]) -> Contrasts | None:
        """Returns the contrasts, or None if one lacks a number or none differs from 0."""
        if not self.having(selected):
            return None
        columns, contrasts = [self._columns[contrast] for contrast in selected], self._all
        part = Contrasts(contrasts.estimate[columns], contrasts.error[columns], contrasts.drawn[columns])
        return part if part.estimate.any() or np.nan_to_num(part.error).any() else None

    def means(self, keys: Sequence[Key], *, resamples: int) -> Values:
        sample = self.evidence.sample.columns([self.evidence.columns[key] for key in keys])
        return sample.resampled(seed=self.seed, resamples=resamples)[0]

    @functools.cached_property
    def trees(self) -> Trees:
        return grow(self.means(DISTANCES, resamples=TREES))

    @functools.cached_property
    def _all(self) -> Contrasts:
        sample, columns = self.evidence.sample, self.evidence.columns
        weights = np.zeros((len(columns), len(self._columns)))
        for contrast, column in self._columns.items():
            for weight, key in contrast:
                weights[columns[key], column] += weight
        combined = sample.combine(weights)
        return self.drawn(combined, _ROUNDING * (np.abs(weights).T @ np.abs(np.nan_to_num(sample.mean))))

    def drawn(self, sample: Estimates, rounding: Values | float = 0.0) -> Contrasts:
        estimate, error = (np.where(np.abs(values) <= rounding, 0.0, values) for values in (sample.mean, sample.error))
        few = sample.group_count < LEAST_IMAGES
        drawn = sample.studentised(seed=self.seed, resamples=1 if few else self.resamples)
        # Where no image differs from another, resamples deviate by rounding alone.
        drawn[:, error == 0] = 0.0
        return Contrasts(estimate, error, np.ascontiguousarray(drawn.T))
