"""The table `geometry`: numbers of the whole set of originals, and of the views of each augmentation."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.augmentations import ORIGINAL
from embedshift.statistics.intervals import LEAST_IMAGES, jackknife_interval, mean_interval
from embedshift.statistics.layout import metric_parts
from embedshift.statistics.sample import OF_A_SET, estimates_from_values, gather, group_numbers
from embedshift.statistics.vectors import normalised
from embedshift.store.reader import Reader
from embedshift.store.table import Table

# Parts of the images, each left out once by the jackknife.
PARTS = 8


def uniformity(vectors: ArrayLike) -> float:
    """How evenly directions are spread over the sphere (Wang and Isola 2020), from all pairs."""
    directions = normalised(vectors)
    directions = directions[np.isfinite(directions).all(axis=-1)]
    if len(directions) < 2:
        return float("nan")
    first, second = np.triu_indices(len(directions), k=1)
    squares = 2 - 2 * np.clip(directions @ directions.T, -1.0, 1.0)[first, second]
    return float(np.log(np.exp(-2 * squares).mean()))


def effective_rank(vectors: ArrayLike) -> float:
    """How many directions a set of vectors fills (Roy and Vetterli 2007; RankMe, Garrido et al. 2023)."""
    values = np.asarray(vectors, np.float64)
    small = values.T @ values if values.shape[0] > values.shape[1] else values @ values.T
    squares = np.linalg.eigvalsh(small)
    # Squares below the rounding of the largest are singular values of 0.
    squares = squares[squares > len(squares) * np.finfo(np.float64).eps * squares.max(initial=0.0)]
    if not len(squares):
        return float("nan")
    fractions = np.sqrt(squares) / np.sqrt(squares).sum()
    return float(np.exp(-(fractions * np.log(fractions)).sum()))


def nearest_cosine(vectors: ArrayLike, groups: GroupNumbers | None = None) -> float:
    """Mean over vectors `[n, D]` of the cosine with the nearest vector of another group; NaN if there is none."""
    directions = normalised(vectors)
    present = np.isfinite(directions).all(axis=-1)
    directions, numbers = directions[present], _numbers(np.asarray(present), groups)
    if len(np.unique(numbers)) < 2:
        return float("nan")
    cosines = np.clip(directions @ directions.T, -1.0, 1.0)
    cosines[numbers[:, None] == numbers] = -np.inf
    return float(cosines.max(axis=1).mean())


def jackknife(
    statistic: Callable[[Values], float], vectors: Values, groups: GroupNumbers | None = None
) -> tuple[float, float]:
    """Returns a statistic's 95 % interval by the jackknife over `PARTS` parts, each of whole groups of images."""
    present = np.isfinite(normalised(vectors)).all(axis=-1)
    vectors, numbers = vectors[present], _numbers(np.asarray(present), groups)
    if len(np.unique(numbers)) < LEAST_IMAGES:
        return float("nan"), float("nan")
    is_kept = [numbers % PARTS != part for part in range(PARTS)]
    # A rank grows with the number of images, so that unequal parts must not count alike.
    ratios = np.array([kept.sum() / (~kept).sum() for kept in is_kept])
    without = (np.asarray(statistic(vectors[kept])) for kept in is_kept)
    low, high = jackknife_interval(np.asarray(statistic(vectors)), without, ratios=ratios)
    return float(low), float(high)


def _numbers(present: NDArray[np.bool_], groups: GroupNumbers | None) -> GroupNumbers:
    return group_numbers(None if groups is None else groups[: len(present)][present], int(present.sum()))


SCHEMA = pl.Schema({"views": str, "metric": str, "value": float, "ci_low": float, "ci_high": float})
# Views, metric, value and the ends of its interval.
Row = tuple[str, str, float, float, float]
# Statistics of a set, with their least and greatest values.
SPREAD = {"uniformity": (uniformity, -8.0, 0.0), "effective_rank": (effective_rank, 1.0, np.inf)}
NAN = float("nan")


def geometry(reader: Reader) -> pl.DataFrame:
    if not reader.image_rows.layout.images:
        return pl.DataFrame(schema=SCHEMA)
    rows = [*alignment(reader), *(_vector_rows(reader) if reader.info.has_vectors else ())]
    names = [ORIGINAL, *reader.augmentations]
    rows.sort(key=lambda row: names.index(row[0]))
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").fill_nan(None)


def alignment(reader: Reader) -> Iterator[Row]:
    names, study = reader.augmentations, reader.image_rows
    parts = metric_parts(study, names, ["cosine_similarity"])
    squares = ((2 * counts - 2 * sums, counts) for sums, counts in parts)
    sample = gather(squares, together=False, groups=study.groups)
    interval = mean_interval(sample, seed=reader.info.seed, low=0.0, high=4.0)
    yield from _rows(names, "alignment", sample.mean, *interval)


def _vector_rows(reader: Reader) -> Iterator[Row]:
    rows = reader.image_rows.head(OF_A_SET).frame.filter(draw=0).select("view", "embedding").collect()
    sets = {name: rows.filter(view=name)["embedding"].to_numpy() for name in (ORIGINAL, *reader.augmentations)}
    originals = sets[ORIGINAL].astype(np.float64)
    norms = np.linalg.norm(originals, axis=-1)
    groups = reader.first_groups(len(originals))
    ratios: list[Values] = []
    for name, vectors in sets.items():
        values = vectors.astype(np.float64)
        is_present = ~np.isnan(values).any(axis=-1)  # a view may be missing
        present, own_groups = values[is_present], None if groups is None else groups[is_present]
        for metric, (statistic, least, most) in SPREAD.items():
            value = statistic(present)
            ends = jackknife(statistic, present, own_groups) if np.isfinite(value) else (NAN, NAN)
            low, high = np.clip(np.array(ends), least, min(most, *present.shape)).tolist()
            yield name, metric, value, low, high
        if name == ORIGINAL:
            yield name, "nearest_cosine", nearest_cosine(values, groups), NAN, NAN
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                ratios.append(np.where(norms > 0, np.linalg.norm(values, axis=-1) / norms, np.nan))
    sample = estimates_from_values(np.stack(ratios, axis=-1), groups)
    interval = mean_interval(sample, seed=reader.info.seed, low=0.0)
    yield from _rows(reader.augmentations, "norm_ratio", sample.mean, *interval)


def _rows(names: Sequence[str], metric: str, value: Values, low: Values, high: Values) -> Iterator[Row]:
    for name, *numbers in zip(names, value.tolist(), low.tolist(), high.tolist(), strict=True):
        yield (name, metric, *numbers)


DOC = "The set of embeddings as a whole, original and by augmentation: alignment, uniformity, rank and norms."

TABLES = (Table("geometry", geometry, doc=DOC),)
