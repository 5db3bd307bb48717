"""Directions of embeddings: shifts, differences of two, those that a whitening map shrinks, FALCON's groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.questions.meaning import AUGMENTATIONS, Choices
from embedshift.statistics.meaning import ACTIVE, Directions, agreement_of, falcon_groups, halves_of, space_of
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import MOST_DIM, Whitening
from embedshift.store.reader import Reader

# Images whose vectors are held: the first, whose order the seed drew. Directions of a map.
MOST_IMAGES, OF_MAP = 200_000, 3
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors of originals `[n, D]`, the half of each, sums of shifts of each half, and the space of each half."""

    originals: Floats
    second: Mask
    # Augmentation → the sum of its shifts and their number, `[2, D]` and `[2]`.
    shifts: Mapping[str, tuple[Values, Values]]
    # Of d dᵀ over all shifts d, `[2, D, D]`; empty if it was not requested.
    products: Values
    spaces: tuple[Whitening, Whitening]

    def dual(self, of_halves: Values) -> Values:
        """Returns the vectors on which places along shifts `[2, F, D]` are read: Σ⁻¹ δ, of the same half."""
        return np.stack([each @ s.matrix @ s.matrix.T for each, s in zip(of_halves, self.spaces, strict=True)])


def read_vectors(reader: Reader, *, with_products: bool, halves: Mask | None = None) -> Vectors:
    """Reads a study's vectors; `halves` says which images are of the second half, None = drawn by the seed."""
    order, names = reader.image_rows.layout, reader.augmentations
    count = min(order.images, MOST_IMAGES)
    second = halves_of(count, reader.groups, reader.info.seed) if halves is None else halves[:count]
    dim = reader.info.encoder.dim
    if dim > MOST_DIM:
        raise UsageError(f"{reader.folder}: embeddings of {dim:,} numbers are too long to be explained")
    originals = np.empty((count, dim), np.float32)
    sums, counts = np.zeros((len(names), 2, dim)), np.zeros((len(names), 2))
    products = np.zeros((2, dim, dim)) if with_products else np.zeros((2, 0, 0))
    start = 0
    for block in reader.image_rows.head(count).vectors():
        vectors = normalised_float32(np.nan_to_num(block))
        base = originals[start : start + len(vectors)] = vectors[:, order.views.index(ORIGINAL)]
        of_block = second[start : start + len(vectors)]
        for place, name in enumerate(names):
            for position in order.positions(name):
                shifts = vectors[:, position] - base
                is_there = vectors[:, position].any(axis=1)
                for half in (0, 1):
                    chosen = shifts[is_there & (of_block == half)]
                    sums[place, half] += chosen.sum(axis=0, dtype=np.float64)
                    counts[place, half] += len(chosen)
                    if with_products:
                        products[half] += chosen.T @ chosen
        start += len(vectors)
    by_name = {name: (sums[place], counts[place]) for place, name in enumerate(names)}
    return Vectors(originals, second, by_name, products, (space_of(originals[~second]), space_of(originals[second])))


def pairs_of(choices: Choices) -> list[tuple[str, str]]:
    """Returns the pairs of augmentations whose difference is explained."""
    between = (choices.between,) if isinstance(choices.between, str) else choices.between
    pairs = [pair.split(",") if isinstance(pair, str) else [*pair] for pair in between]
    if odd := next((pair for pair in pairs if len(pair) != 2), None):
        raise UsageError(f"`between` {','.join(odd)}: give two names with a comma between them")
    if pairs and choices.features not in (None, AUGMENTATIONS):
        raise UsageError(f"`between` is of augmentations, not of `features` {choices.features}; leave it out")
    return [(first.strip(), other.strip()) for first, other in pairs]


def of_shifts(reader: Reader, vectors: Vectors, between: Sequence[tuple[str, str]]) -> Directions:
    """Returns the mean shift of each augmentation, of a family over its levels, and differences of two."""
    members: dict[str, list[str]] = {}
    for name, family in reader.family_of.items():
        members.setdefault(family, []).append(name)
    means: dict[str, Values] = {}
    for name, views in members.items():
        total, count = (sum(vectors.shifts[view][part] for view in views) for part in (0, 1))
        if np.all(np.asarray(count) > 0) and np.any(total):
            means[name] = np.asarray(total) / np.asarray(count)[:, None]
    for first, other in between:
        if unknown := [name for name in (first, other) if name not in means]:
            raise UsageError(f"`between`: no direction {unknown[0]!r}; there are {', '.join(means) or 'none'}")
        if first == other or (name := f"{first} - {other}") in members:
            raise UsageError(f"`between` {first},{other}: give two other augmentations")
        means[name] = means[first] - means[other]
    dim = vectors.originals.shape[1]
    stacked = np.stack([*means.values()], axis=1) if means else np.zeros((2, 0, dim))
    return Directions(tuple(means), vectors.dual(stacked))


def of_map(vectors: Vectors) -> Directions:
    """Returns the directions that the map of shifts shrinks most: in the whitened space, those of the largest shifts.

    The mean shift goes forward along each. Those of the second half are in the order and of the sign of those of the
    first, to which they are most alike.
    """
    if not all(np.any(products) for products in vectors.products):
        return Directions((), np.zeros((2, 0, vectors.originals.shape[1])))
    found = []
    for half, (space, products) in enumerate(zip(vectors.spaces, vectors.products, strict=True)):
        inside = space.matrix.T @ products @ space.matrix
        size = len(inside)
        _, leading = scipy.linalg.eigh(inside, subset_by_index=[max(0, size - (1 + half) * OF_MAP), size - 1])
        away = sum(sums[half] for sums, _ in vectors.shifts.values()) @ space.matrix
        leading = leading[:, ::-1] * np.where(away @ leading[:, ::-1] < 0, -1, 1)
        found.append((space.matrix @ leading).T)
    alike = _alike(vectors.originals, found[0], found[1])
    order = scipy.optimize.linear_sum_assignment(-np.abs(alike))[1]
    signs = np.sign(alike[np.arange(len(order)), order])
    names = tuple(f"map {number}" for number in range(1, len(order) + 1))
    return Directions(names, np.stack([found[0], found[1][order] * signs[:, None]]))


def _alike(originals: Floats, first: Values, second: Values) -> Values:
    pairs = [agreement_of(originals, np.stack([np.tile(row, (len(second), 1)), second])) for row in first]
    return np.nan_to_num(np.stack(pairs))


def of_groups(vectors: Vectors) -> Directions:
    """Returns FALCON's groups of dimensions, found on all images; a place is the sum of their standard scores.

    They agree in the dimensions that are active in most of the group's images of each half.
    """
    mean, sd = (vectors.originals.mean(axis=0), vectors.originals.std(axis=0))
    weights, active = 1 / np.maximum(sd, 1e-12), vectors.originals > mean + ACTIVE * sd
    groups = [*falcon_groups(active)]
    whole, of_halves = np.zeros((len(groups), len(mean))), np.zeros((2, len(groups), len(mean)))
    for place, (dimensions, images) in enumerate(groups):
        whole[place, list(dimensions)] = weights[list(dimensions)]
        for half in (0, 1):
            inside = images[vectors.second[images] == half]
            chosen = [d for d in dimensions if len(inside) and active[inside, d].mean() > 0.5]
            of_halves[half, place, chosen] = weights[chosen]
    names = tuple("dimensions " + ", ".join(map(str, dimensions)) for dimensions, _ in groups)
    return Directions(names, np.stack([whole, whole]), of_halves)


def ids_of(reader: Reader, count: int) -> list[str]:
    first = reader.image_rows.head(count).frame.filter(pl.col("view") == ORIGINAL)
    return first.select("image_id").collect()["image_id"].to_list()
