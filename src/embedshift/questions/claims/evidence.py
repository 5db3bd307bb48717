"""What the claims are tested on: means, spreads, distances and entropies, of the images and of their resamples."""

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.spatial.distance import squareform

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.augmentations.paper import PAPER
from embedshift.statistics.bootstrap import (
    BLOCK,
    RESAMPLES,
    Layout,
    blocks,
    layout,
    pair_distances,
    resampled_sums,
    sums_and_counts,
)
from embedshift.statistics.clusters import linkage_matrix, threshold
from embedshift.statistics.maps import attention_entropy

Key = tuple[str, ...]

SPREAD_OF = ("cosine_similarity", "l2_distance")
MEANS_OF = (*SPREAD_OF, "attention_similarity", "edge_preservation", "detail_preservation")
ENTROPY_RISE = "attention_entropy_rise"
# The augmentations whose attention the paper says to spread: attention is read for these alone.
ENTROPY_OF = ("blur", "shift_scale_rotate", "perspective")


@dataclass(frozen=True)
class Evidence:
    """Columns of numbers `[1 + R]`: the first of the images as they are, the others of R bootstrap resamples.

    All columns come from the same resamples, so differences between them are paired.

    Args:
        images: Number of images.
        columns: By key: `(metric, augmentation)` = a mean, `("sd", metric, augmentation)`, `("distance", augmentation,
            augmentation)` in alphabetical order, `("entropy_rise", augmentation)`. What a study does not have is
            missing here and NaN in every result.
    """

    images: int
    columns: Mapping[Key, Values]

    def get(self, quantity: Key, augmentations: Sequence[str]) -> Values:
        """The columns `(*quantity, augmentation)` side by side, float64 `[1 + R, len(augmentations)]`.

        Example:
            >>> Evidence(9, {("l2_distance", "blur"): np.ones(3)}).get(("l2_distance",), ["blur", "noise"]).tolist()
            [[1.0, nan], [1.0, nan], [1.0, nan]]
        """
        return np.stack([self._column((*quantity, name)) for name in augmentations], axis=1)

    def _column(self, key: Key) -> Values:
        if key in self.columns:
            return self.columns[key]
        return np.full(max((len(column) for column in self.columns.values()), default=1), np.nan)

    @functools.cached_property
    def trees(self) -> tuple[Values, Values]:
        """The ward tree of the paper's nine augmentations, once for the images and once for each resample.

        Returns:
            Heights at which two augmentations join (cophenetic distances) `[1 + R, 9, 9]`, in the paper's order with
            an infinite diagonal, and where each tree is cut `[1 + R]`; NaN where a distance is missing.
        """
        names = list(PAPER)
        pairs = [tuple(sorted((a, b))) for i, a in enumerate(names) for b in names[i + 1 :]]
        distances = np.stack([self._column(("distance", *pair)) for pair in pairs], axis=1)
        heights = np.full((len(distances), len(names), len(names)), np.nan)
        cuts = np.full(len(distances), np.nan)
        there = np.isfinite(distances).all(axis=1)
        if there.any():
            trees = np.stack([linkage_matrix(squareform(row)) for row in distances[there]])
            heights[there], cuts[there] = _joining_heights(trees), [threshold(tree) for tree in trees]
        return heights, cuts


def _joining_heights(trees: Values) -> Values:
    """Linkage matrices `[R, A - 1, 4]` → the heights at which two leaves join `[R, A, A]`, infinite on the diagonal.

    What `scipy.cluster.hierarchy.cophenet` gives for one tree; for thousands its checks take most of the time.
    """
    count, leaves = len(trees), trees.shape[1] + 1
    heights = np.where(np.eye(leaves, dtype=bool), np.inf, np.zeros((count, 1, 1)))
    inside = np.zeros((count, 2 * leaves - 1, leaves), bool)  # of every cluster, the leaves
    inside[:, :leaves] = np.eye(leaves, dtype=bool)
    for step in range(leaves - 1):
        one, other = (inside[np.arange(count), trees[:, step, side].astype(int)] for side in (0, 1))
        joined = one[:, :, None] & other[:, None, :]
        heights += (joined | joined.swapaxes(1, 2)) * trees[:, step, 2, None, None]
        inside[:, leaves + step] = one | other
    return heights


def gather(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> Evidence:
    """The evidence in a study's records; augmentations that are not the paper's are left out.

    Args:
        rows: Records of a study; `embedding` is not read, `attention` only of three augmentations and the original,
            and not at all where the study has `attention_entropy_rise`.
        augmentations: Names, in suite order.
        seed: The study's seed; images are resampled as for `summary`, each with all its draws.
        resamples: R, how many.
    """
    order = layout(rows)
    names = [name for name in augmentations if name in PAPER]
    if not names or not order.images:
        return Evidence(0, {})
    metrics, there = _Metrics(order, names), rows.collect_schema().names()
    pairs, chosen = _pairs(augmentations) if "pairwise" in there else ([], [])
    observed: list[Values] = []

    def parts() -> Iterator[Values]:
        """Per image, for one block after another: sums of all keys, then counts of all keys."""
        values = blocks(rows.select(name for name in MEANS_OF if name in there), len(order.views))
        between = pair_distances(rows, math.comb(len(augmentations), 2)) if chosen else iter(())
        rises = _entropy_rises(rows, order, names)
        for block, distances, risen in itertools.zip_longest(values, between, rises):
            found = [metrics.of(block)]
            if chosen:
                found.append(sums_and_counts(distances[:, :, chosen]))
            found.append(sums_and_counts(risen))
            part = np.hstack([sums for sums, _ in found] + [counts for _, counts in found])
            observed.append(part.sum(axis=0))
            yield part

    resampled = resampled_sums(parts(), order.images, seed=seed, resamples=resamples)
    totals = np.vstack([np.sum(observed, axis=0), resampled])
    keys = [*metrics.keys, *pairs, *(("entropy_rise", name) for name in ENTROPY_OF if name in names)]
    sums, counts = totals[:, : len(keys)], totals[:, len(keys) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = dict(zip(keys, (sums / counts).T, strict=True))
        for index, key in enumerate(keys):
            if key[0] == "sd":
                centre = metrics.centres[key[1:]]
                columns[key] = _sd(columns[key], columns[key[1:]] - centre, counts[:, index])
    return Evidence(order.images, columns)


class _Metrics:
    """Sums and counts of the metrics, and of squares around a fixed centre, since plain squares would cancel."""

    def __init__(self, order: Layout, names: Sequence[str]) -> None:
        self.order, self.names = order, names
        self.centres: dict[Key, float] = {}
        self.keys: list[Key] = []
        for name in names:
            self.keys += [(metric, name) for metric in MEANS_OF]
            self.keys += [("sd", metric, name) for metric in SPREAD_OF]

    def of(self, block: pl.DataFrame) -> tuple[Values, Values]:
        """Of one block, in the order of `keys`; the first block's means become the centres."""
        found: list[tuple[Values, Values]] = []
        for name in self.names:
            values = self.order.values(block, name, MEANS_OF)
            spread = values[:, :, : len(SPREAD_OF)]
            for column, metric in enumerate(SPREAD_OF):
                there = spread[:, :, column][~np.isnan(spread[:, :, column])]
                self.centres.setdefault((metric, name), float(there.mean()) if len(there) else 0.0)
            centre = np.array([self.centres[metric, name] for metric in SPREAD_OF])
            found += [sums_and_counts(values), sums_and_counts((spread - centre) ** 2)]
        return np.hstack([sums for sums, _ in found]), np.hstack([counts for _, counts in found])


def _sd(squares: Values, offsets: Values, counts: Values) -> Values:
    """Standard deviations (ddof = 1) from mean squares around a centre and the means' offsets from it, `[1 + R]`."""
    variance = (squares - offsets**2) * counts / (counts - 1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _pairs(augmentations: Sequence[str]) -> tuple[list[Key], list[int]]:
    """Keys of the distances between augmentations of the paper, and their places among all distances of a row."""
    pairs = list(itertools.combinations(augmentations, 2))
    chosen = [index for index, pair in enumerate(pairs) if set(pair) <= set(PAPER)]
    return [("distance", *sorted(pairs[index])) for index in chosen], chosen


def _entropy_rises(rows: pl.LazyFrame, order: Layout, names: Sequence[str]) -> Iterator[Values]:
    """Entropy of each view's attention map less that of its original, in nats, block by block.

    Of the metric where the study has it, else of the maps.

    Yields:
        `[b, draws, K]`, K of `ENTROPY_OF`; NaN where there are no maps.
    """
    wanted = [name for name in ENTROPY_OF if name in names]
    columns = rows.collect_schema()
    if ENTROPY_RISE in columns and wanted:
        for block in blocks(rows.select(ENTROPY_RISE), len(order.views)):
            yield np.concatenate([order.values(block, name, [ENTROPY_RISE]) for name in wanted], axis=2)
    elif wanted and isinstance(columns["attention"], pl.Array):
        read = [ORIGINAL, *wanted]
        few = Layout(order.images, tuple(view for view in order.views if view in read))
        for block in blocks(rows.filter(pl.col("view").is_in(read)).select("attention"), len(few.views)):
            spread = attention_entropy(block["attention"].to_numpy()[:, None]).reshape(-1, len(few.views))
            rises = spread - spread[:, few.positions(ORIGINAL)]
            yield np.stack([rises[:, few.positions(name)] for name in wanted], axis=2)
    else:
        draws = len(order.positions(names[0]))
        for start in range(0, order.images, BLOCK):
            yield np.full((min(BLOCK, order.images - start), draws, len(wanted)), np.nan)
