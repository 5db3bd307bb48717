"""What the claims are tested on: means, spreads, distances and entropies, of the images and of their resamples."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from scipy.stats import entropy

from embedshift.augmentations import ORIGINAL, PAPER
from embedshift.clusters import linkage_matrix, threshold
from embedshift.tables import RESAMPLES, image_numbers, pair_distances, per_image, resampled_sums

Values = NDArray[np.float64]
Key = tuple[str, ...]

SPREAD_OF = ("cosine_similarity", "l2_distance")
MEANS_OF = (*SPREAD_OF, "attention_similarity", "edge_preservation", "detail_preservation")
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
        for index in np.flatnonzero(np.isfinite(distances).all(axis=1)):
            tree = linkage_matrix(squareform(distances[index]))
            heights[index] = squareform(hierarchy.cophenet(tree))
            np.fill_diagonal(heights[index], np.inf)
            cuts[index] = threshold(tree)
        return heights, cuts


def gather(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> Evidence:
    """The evidence in a study's records; augmentations that are not the paper's are left out.

    Args:
        rows: Records of a study; `embedding` is not read, `attention` only of three augmentations and the original.
        augmentations: Names, in suite order.
        seed: The study's seed; images are resampled as for `summary`, each with all its draws.
        resamples: R, how many.
    """
    names = [name for name in augmentations if name in PAPER]
    blocks = [*_metrics(rows, names), *_distances(rows, augmentations), *_entropy_rises(rows, names)]
    if not blocks:
        return Evidence(0, {})
    keys = [key for block in blocks for key in block[0]]
    per_image_values = np.hstack([block[1] for block in blocks] + [block[2] for block in blocks])
    resampled = resampled_sums(per_image_values, seed=seed, resamples=resamples)
    totals = np.vstack([per_image_values.sum(axis=0), resampled])
    sums, counts = totals[:, : len(keys)], totals[:, len(keys) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = dict(zip(keys, (sums / counts).T, strict=True))
        for index, key in enumerate(keys):
            if key[0] == "sd":
                columns[key] = _sd(columns[key], columns[key[1:]], counts[:, index])
    return Evidence(len(per_image_values), columns)


# Keys, then per image and key the sums and the counts, as `per_image` gives them.
Block = tuple[list[Key], Values, Values]


def _metrics(rows: pl.LazyFrame, names: Sequence[str]) -> Iterator[Block]:
    """Metrics, and what `_sd` needs: squares around the mean, since squares of the values would cancel."""
    for name in names:
        part = rows.filter(pl.col("view") == name).select("image_id", *MEANS_OF).collect()
        image = image_numbers(part["image_id"])
        values = part.select(MEANS_OF).cast(pl.Float64).fill_null(np.nan).to_numpy()
        sums, counts = per_image(values, image)
        yield [(metric, name) for metric in MEANS_OF], sums, counts
        with np.errstate(invalid="ignore", divide="ignore"):
            centre = (sums.sum(axis=0) / counts.sum(axis=0))[: len(SPREAD_OF)]
        squares = (values[:, : len(SPREAD_OF)] - centre) ** 2
        yield [("sd", metric, name) for metric in SPREAD_OF], *per_image(squares, image)


def _sd(squares: Values, means: Values, counts: Values) -> Values:
    """Standard deviations (ddof = 1) from mean squares around the first of the means, all `[1 + R]`."""
    variance = (squares - (means - means[0]) ** 2) * counts / (counts - 1)
    return np.asarray(np.sqrt(np.maximum(variance, 0.0)))


def _distances(rows: pl.LazyFrame, augmentations: Sequence[str]) -> Iterator[Block]:
    names = list(augmentations)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    chosen = [index for index, pair in enumerate(pairs) if set(pair) <= set(PAPER)]
    if chosen:
        values, image = pair_distances(rows, len(pairs))
        yield [("distance", *sorted(pairs[i])) for i in chosen], *per_image(values[:, chosen], image)


def _entropy_rises(rows: pl.LazyFrame, names: Sequence[str]) -> Iterator[Block]:
    """Entropy of each view's attention map less that of its original, in nats."""
    wanted = [name for name in ENTROPY_OF if name in names]
    if not wanted or not isinstance(rows.collect_schema()["attention"], pl.Array):
        return
    # As a stream: the maps of a large study would not fit into memory.
    spread = pl.col("attention").map_batches(_entropy, return_dtype=pl.Float64, is_elementwise=True)
    views = rows.filter(pl.col("view").is_in([ORIGINAL, *wanted])).select("image_id", "view", spread.alias("entropy"))
    table = views.collect(engine="streaming")
    original = table.filter(pl.col("view") == ORIGINAL)["entropy"].to_numpy()
    for name in wanted:
        part = table.filter(pl.col("view") == name)
        image = image_numbers(part["image_id"])
        rises = part["entropy"].to_numpy() - original[image]
        yield [("entropy_rise", name)], *per_image(rises[:, None], image)


def _entropy(attention: pl.Series) -> pl.Series:
    with np.errstate(invalid="ignore"):
        return pl.Series(entropy(attention.to_numpy().astype(np.float64), axis=-1))
