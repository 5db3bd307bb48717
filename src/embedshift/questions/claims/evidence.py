"""The data for testing claims: means over images, and standard deviations as means of their pseudo-values."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.augmentations.paper import PAPER
from embedshift.statistics import sample
from embedshift.statistics.baselines import Baseline
from embedshift.statistics.layout import BLOCK, ImageRows, Layout, blocks, pair_distances, sums_and_counts
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
    """A sample of images, and the meaning of each of its numbers."""

    sample: Estimates
    columns: Mapping[Key, int]
    baseline: Baseline | None = None

    def having(self, keys: Iterable[Key]) -> int:
        """Returns how many images have a value of each of the keys; 0 if a key is missing."""
        return min(int(self.sample.having[self.columns[key]]) if key in self.columns else 0 for key in keys)

    def measures(self, metric: str) -> bool:
        return any(self.sample.having[column] for key, column in self.columns.items() if key[0] == metric)

    def means(self, keys: Iterable[Key]) -> Values:
        """Returns the means of existing keys, `[len(keys)]`."""
        return self.sample.mean[[self.columns[key] for key in keys]]


# Of a study without images, or without any of the paper's augmentations.
NO_EVIDENCE = Evidence(estimates_from_values(np.empty((1, 0))), {})


def gather(rows: ImageRows, read: Callable[[ImageRows], Iterator[Block]], baseline: Baseline | None = None) -> Evidence:
    """Collects the evidence of a study, with sums over the chunks of images by which its baseline is resampled."""
    first = next(read(rows.head(BLOCK)), None)
    if first is None:
        return NO_EVIDENCE
    layout = BlockLayout.from_block(first)
    pairs = None if baseline is None else baseline.pairs
    sizes = None if pairs is None else [int(count) for count in pairs.images]
    numbers = sample.gather(map(layout.sums_and_counts, read(rows)), chunks=sizes, groups=rows.groups)
    return dataclasses.replace(layout.evidence(numbers), baseline=baseline)


@dataclass(frozen=True)
class BlockLayout:
    """How the values of some images become numbers of a sample."""

    columns: Mapping[Key, int]
    centres: Mapping[Key, float]

    @classmethod
    def from_block(cls, first: Block) -> "BlockLayout":
        """Derives the layout from the first images; their means are the centres."""
        centres = {}
        for key, values in first.items():
            if key[0] in SD_METRICS:
                measured = values[~np.isnan(values)]
                centres[key] = float(measured.mean()) if len(measured) else 0.0
        keys = [*first, *(("sd", *key) for key in centres)]
        return cls({key: column for column, key in enumerate(keys)}, centres)

    def sums_and_counts(self, block: Block) -> tuple[Values, Values]:
        """Returns sums and counts over the draws of each image, `[b, K]`."""
        squares = {("sd", *key): (block[key] - centre) ** 2 for key, centre in self.centres.items()}
        return sums_and_counts(np.stack(list({**block, **squares}.values()), axis=2))

    def evidence(self, numbers: Estimates) -> Evidence:
        return Evidence(_with_standard_deviations(numbers, self.columns, self.centres), self.columns)


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
    """Yields the values that the claims need; augmentations that are not the paper's are left out."""
    order, names = rows.order, [name for name in augmentations if name in PAPER]
    if not names or not order.images:
        return
    pairs, positions = _pairs(augmentations) if "pairwise" in rows.columns else ([], [])
    values = rows.blocks(*(name for name in MEAN_METRICS if name in rows.columns))
    pair_values = pair_distances(rows.frame, math.comb(len(augmentations), 2)) if positions else iter(())
    for block, distances, entropy_rises in itertools.zip_longest(values, pair_values, _entropy_rises(rows, names)):
        block_values: dict[Key, Values] = {}
        numbers = order.numbers(block, MEAN_METRICS)
        for name in names:
            views = numbers[:, order.positions(name)]
            block_values |= {(metric, name): views[:, :, index] for index, metric in enumerate(MEAN_METRICS)}
        block_values |= {pair: distances[:, :, index] for pair, index in zip(pairs, positions, strict=True)}
        yield {**block_values, **(entropy_rises or {})}


def _pairs(augmentations: Sequence[str]) -> tuple[list[Key], list[int]]:
    pairs = list(itertools.combinations(augmentations, 2))
    positions = [index for index, pair in enumerate(pairs) if set(pair) <= set(PAPER)]
    return [distance(*pairs[index]) for index in positions], positions


def _entropy_rises(rows: ImageRows, names: Sequence[str]) -> Iterator[Block]:
    wanted, order = [name for name in ENTROPY_AUGMENTATIONS if name in names], rows.order
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
