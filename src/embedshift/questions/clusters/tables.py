"""The tables `pairwise` and `clusters`: distances between augmentations, and groups of close ones."""

import functools
import logging
from collections.abc import Sequence

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.questions.clusters import Tree
from embedshift.statistics.clusters import FEW, clusters_of, distances_of_means
from embedshift.statistics.layout import ImageRows, metric_parts, pair_distances
from embedshift.statistics.summary import COSINE
from embedshift.store.reader import Reader
from embedshift.store.table import Table

log = logging.getLogger(__name__)


def height_label(tree: Tree) -> str:
    distance = "mean cosine distance" if tree.on == "images" else f"{tree.metric} distance of mean embeddings"
    return f"height of the merge ({tree.linkage} linkage on {distance})"


def leaves(reader: Reader) -> list[str]:
    return [ORIGINAL, *reader.augmentations] if reader.choice(Tree).include_original else reader.augmentations


@functools.lru_cache(maxsize=4)
def distances(reader: Reader) -> Values:
    tree = reader.choice(Tree)
    if tree.on == "images":
        return pairwise(reader).drop("augmentation").to_numpy()
    if not reader.info.has_vectors:
        words = "was run with `store` metrics; clusters on means need `store` all, which keeps the embeddings"
        raise UsageError(f"{reader.folder} {words}")
    return distances_of_means(mean_embeddings(reader.rows(), leaves(reader)), tree.metric)


@functools.lru_cache(maxsize=4)
def pairwise(reader: Reader) -> pl.DataFrame:
    with_original = reader.choice(Tree).include_original
    return distances_of_images(reader.image_rows, reader.augmentations, include_original=with_original)


def distances_of_images(
    study: ImageRows, augmentations: Sequence[str], *, include_original: bool = False
) -> pl.DataFrame:
    """Returns the mean over images and draws of `1 - cos` between the views of the same image and draw."""
    size = len(augmentations)
    matrix = np.zeros((size, size))
    first, second = np.triu_indices(size, k=1)
    if len(first):
        matrix[first, second] = matrix[second, first] = _mean_distances(study, len(first))
    names = list(augmentations)
    if include_original:
        # Added in the order of the images, as no engine that takes rows side by side does.
        parts = [[part.sum(axis=0) for part in block] for block in metric_parts(study, names, [COSINE])]
        sums, counts = np.sum(parts, axis=0)
        with np.errstate(invalid="ignore"):
            to_original = 1.0 - sums / counts
        matrix = np.block([[np.zeros((1, 1)), to_original[None]], [to_original[:, None], matrix]])
        names = [ORIGINAL, *names]
    return pl.DataFrame({"augmentation": names} | dict(zip(names, matrix, strict=True)))


def _mean_distances(study: ImageRows, pairs: int) -> Values:
    """Returns means over images and draws without NaN; NaN for a pair without values."""
    sums, counts = np.zeros(pairs), np.zeros(pairs)
    for values in pair_distances(study.frame, pairs):
        is_number = ~np.isnan(values)
        sums += np.where(is_number, values, 0.0).sum(axis=(0, 1))
        counts += is_number.sum(axis=(0, 1))
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def mean_embeddings(rows: pl.LazyFrame, augmentations: Sequence[str]) -> Values:
    parts = (rows.filter(view=name).select("embedding").drop_nulls().collect()["embedding"] for name in augmentations)
    return np.stack([part.to_numpy().astype(np.float64).mean(axis=0) for part in parts])


@functools.lru_cache(maxsize=4)
def clusters(reader: Reader) -> pl.DataFrame:
    matrix, names = distances(reader), leaves(reader)
    if np.isnan(matrix).any():
        log.warning("no tree of augmentations: an embedding is zero, so a distance is undefined")
        no_clusters = {"cluster": pl.lit(None, pl.Int64), "leaf": pl.lit(None, pl.Int64)}
        return pl.DataFrame({"augmentation": names}).with_columns(**no_clusters)
    return clusters_of(matrix, names, reader.choice(Tree).linkage)


TABLES: tuple[Table[Reader], ...] = (
    Table(
        "pairwise",
        pairwise,
        is_available=lambda reader: reader.compares_all,
        requires=FEW,
        doc="Mean cosine distance between the views of one image, for each pair of augmentations.",
        choices=Tree(),
    ),
    Table(
        "clusters",
        clusters,
        is_available=lambda reader: reader.compares_all,
        requires=FEW,
        doc="The cluster and the dendrogram leaf of each augmentation; null if a distance is NaN, so there is no tree.",
    ),
)
