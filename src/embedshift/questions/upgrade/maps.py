"""Linear maps from the vectors of a new encoder to those of an old one: how they are fitted, chosen, and held out.

A map is fitted to moments of pairs of vectors, which can be added and subtracted, so that no image or change that a
map is tried on is in its fit. Source: Procrustes, Schönemann 1966; reduced rank, Izenman 1975.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import scipy
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.statistics.judged import FOLDS, Split
from embedshift.statistics.linear_map import LinearMap, LinearSums
from embedshift.statistics.vectors import finds_original, normalised_float32

IDENTITY, ORTHOGONAL, LOW_RANK, RIDGE, RIDGE_VIEWS = "identity", "orthogonal", "low-rank", "ridge", "ridge-views"
# The part of the mean variance that is added to that of every direction; of the numbers of a vector, the rank.
PARTS, RANKS = (1.0, 0.1, 0.01, 0.001), (0.125, 0.25, 0.5)
# Inner folds that choose a map, images of each, and images of a fold that are judged.
INNER, TRIED, JUDGED = 2, 256, 400
# The part of the margin that the simplest map may lose; of the largest singular value, what is rounding; how far from 1
# the length of a unit vector may be.
HARDLY, ROUNDING, UNIT = 0.1, 1e-9, 1e-3


@dataclass(frozen=True, eq=False)
class Both:
    """Vectors of the same views of the same images by two encoders; the first view of an image is its original.

    Args:
        old: `[n, V, D]`; a view that is missing is NaN or 0.
        new: `[n, V, E]`.
        names: The augmentation of each view after the first, draw by draw, `[V - 1]`.
        families: Augmentation → the family that is left out with it.
        groups: The group of each image from 0 on, `[n]`.
        is_grouped: Whether groups were given.
        gallery: Unit vectors of other images in the old index, `[g, D]`.
    """

    old: Floats
    new: Floats
    names: Sequence[str]
    families: Mapping[str, str]
    groups: NDArray[np.intp]
    is_grouped: bool = False
    gallery: Floats = field(default_factory=lambda: np.zeros((0, 1), np.float32))

    @functools.cached_property
    def there(self) -> NDArray[np.bool_]:
        """Whether both encoders have a vector of a view, `[n, V]`."""
        old, new = (np.asarray(np.isfinite(side).all(axis=2) & side.any(axis=2)) for side in (self.old, self.new))
        both = old & new
        return np.asarray(both & both[:, :1])

    @functools.cached_property
    def split(self) -> Split:
        return Split.of(self.groups, self.families)

    @functools.cached_property
    def judged(self) -> list[NDArray[np.intp]]:
        """The images of each fold that are judged: all, or the first; their order is drawn."""
        most = min(JUDGED, int((2**26 / FOLDS / len(self.there[0])) ** 0.5))
        there = self.there[:, 0]
        return [np.flatnonzero(fold & there)[:most] for fold in self.split.judged()]

    @functools.cached_property
    def centres(self) -> tuple[Values, Values]:
        """The mean original of the new encoder and of the old one, near which sums are precise."""
        there = self.there[:, 0]
        new, old = (side[there, 0].mean(axis=0, dtype=np.float64) for side in (self.new, self.old))
        return new, old

    @functools.cached_property
    def is_unit(self) -> tuple[bool, bool]:
        lengths = [np.linalg.norm(side[self.there[:, 0], 0], axis=1) for side in (self.new, self.old)]
        new, old = (bool((np.abs(each - 1) < UNIT).all()) for each in lengths)
        return new, old

    def columns(self, names: Sequence[str]) -> list[int]:
        return [place for place, name in enumerate(self.names, start=1) if name in names]


@dataclass(frozen=True, eq=False)
class PairMoments(LinearSums):
    """Sums over pairs of a new vector x and an old vector y, each around the centre of its encoder."""

    count: float
    x: Values
    y: Values
    xx: Values
    xy: Values


def moments_of(both: Both, images: NDArray[np.bool_], columns: Sequence[int]) -> PairMoments:
    new, old = both.centres
    total = PairMoments(0, 0 * new, 0 * old, np.zeros((len(new), len(new))), np.zeros((len(new), len(old))))
    for column in columns:
        chosen = images & both.there[:, column]
        x, y = both.new[chosen, column] - new, both.old[chosen, column] - old
        total += PairMoments(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y)
    return total


@dataclass(frozen=True)
class MapKind:
    """A way to fit a map: its name, the part of the mean variance that is added, and the part of dimensions kept."""

    name: str
    part: float = 0.0
    rank: float = 1.0

    @property
    def uses_views(self) -> bool:
        return self.name in (LOW_RANK, RIDGE_VIEWS)


def kinds(both: Both) -> Iterator[MapKind]:
    """Yields what is tried, the simplest first; maps fitted to views only where other changes can be left out."""
    if both.old.shape[2] == both.new.shape[2]:
        yield MapKind(IDENTITY)
    yield MapKind(ORTHOGONAL)
    has_others = len({*both.families.values()}) > 1
    if has_others:
        yield from (MapKind(LOW_RANK, 0.01, rank) for rank in RANKS)
    yield from (MapKind(RIDGE, part) for part in PARTS)
    if has_others:
        yield from (MapKind(RIDGE_VIEWS, part) for part in PARTS)


def fit(kind: MapKind, moments: PairMoments, both: Both) -> LinearMap:
    """Fits a map to centred pairs, at the lengths that the vectors have."""
    return next(iter(fitted([kind], moments, both)))


def fitted(tried: Sequence[MapKind], moments: PairMoments, both: Both) -> Iterator[LinearMap]:
    """Yields the map of each kind; kinds that add the same part to the variance solve one system."""
    new, old = both.centres
    x, y = moments.x / moments.count, moments.y / moments.count
    xx, xy = moments.xx / moments.count - np.outer(x, x), moments.xy / moments.count - np.outer(x, y)
    variance = float(np.trace(xx))
    ends = (new + x).astype(np.float32), (old + y).astype(np.float32)

    @functools.cache
    def ridge(part: float) -> Values:
        more = part * variance / len(xx) * np.eye(len(xx))
        return np.asarray(scipy.linalg.solve(xx + more, xy, assume_a="pos"))

    for kind in tried:
        if kind.name == IDENTITY:
            none = np.zeros(len(new), np.float32)
            yield LinearMap(none, np.eye(len(new), dtype=np.float32), IDENTITY, offset=none, is_unit=both.is_unit)
            continue
        if kind.name == ORTHOGONAL:
            left, sizes, right = np.linalg.svd(xy, full_matrices=False)
            kept = sizes > ROUNDING * sizes[0]  # what no image shows has no direction
            matrix = left[:, kept] @ right[kept] * (sizes.sum() / variance)
        else:
            matrix = ridge(kind.part)
        if kind.rank < 1:
            most, size = max(1, int(kind.rank * min(len(new), len(old)))), len(old)
            best = scipy.linalg.eigh(matrix.T @ xy, subset_by_index=(size - most, size - 1))[1]
            matrix = matrix @ best @ best.T
        yield LinearMap(ends[0], matrix.astype(np.float32), kind.name, offset=ends[1], is_unit=both.is_unit)


class Fits:
    """Moments of both encoders, fold by fold, of the images that are used.

    Args:
        both: The vectors.
        used: Which images maps may be fitted to, bool `[n]`.
    """

    def __init__(self, both: Both, used: NDArray[np.bool_]) -> None:
        self.both = both
        self.folds = [used & fold for fold in both.split.judged()]
        self.originals = [moments_of(both, fold, [0]) for fold in self.folds]
        families = list(dict.fromkeys(both.families.values()))
        halves = [[name for name, own in both.families.items() if own in families[half::2]] for half in (0, 1)]
        # Changes that choose maps that are fitted to the other half.
        self.halves = [both.columns(names) for names in halves if names]
        self.views = [[moments_of(both, fold, half) for fold in self.folds] for half in self.halves]

    def without(self, folds: Sequence[int], halves: Sequence[int], *, views: bool) -> PairMoments:
        """Returns the moments of originals, and of views in some halves of the changes, of all folds but some."""
        kept = [fold for fold in range(len(self.folds)) if fold not in folds]
        parts = [self.originals, *(self.views[half] for half in (halves if views else ()))]
        return functools.reduce(PairMoments.__add__, (part[fold] for part in parts for fold in kept))

    def choose(self, folds: Sequence[int], margin: float) -> tuple[MapKind, MapKind]:
        """Returns the kind that inner folds choose by recall@1, and the best that is fitted; of equals the simplest.

        It is the simplest that hardly loses against old queries, else the best.
        """
        out = [fold for fold in range(len(self.folds)) if fold not in folds]
        tried, found, old = list(kinds(self.both)), dict[MapKind, float](), 0.0
        sides = [[kind for kind in tried if kind.uses_views == views] for views in (False, True)]
        for inner in folds[:INNER]:
            of_originals = [*fitted(sides[0], self.without([*out, inner], [], views=False), self.both)]
            for half, columns in enumerate(self.halves):
                others = [other for other in range(len(self.halves)) if other != half]
                of_views = fitted(sides[1], self.without([*out, inner], others, views=True), self.both)
                old += self._recall(None, inner, columns)
                for kind, made in zip(chain(*sides), chain(of_originals, of_views), strict=True):
                    found[kind] = found.get(kind, 0.0) + self._recall(made, inner, columns)
        least = old - len(folds[:INNER]) * len(self.halves) * HARDLY * margin
        best, of_fitted = (
            max(each, key=found.__getitem__) for each in (tried, [k for k in tried if k.name != IDENTITY])
        )
        return next((kind for kind in tried if found[kind] >= least), best), of_fitted

    def _recall(self, made: LinearMap | None, fold: int, columns: Sequence[int]) -> float:
        both = self.both
        images = both.judged[fold][:TRIED]
        asked = (both.old if made is None else both.new)[images[:, None], columns]
        flat = np.nan_to_num(asked.reshape(-1, asked.shape[2]))
        queries = normalised_float32(flat if made is None else made(flat)).reshape(len(images), len(columns), -1)
        gallery = normalised_float32(both.old[images, 0])
        found = finds_original(gallery, queries, both.groups[images])
        there = both.there[images[:, None], columns]
        return float((found & there).sum() / max(1, there.sum()))

    def mapped(self, chosen: Sequence[MapKind]) -> list[Floats]:
        """Returns the judged vectors of each fold, `[m, V, D]`, through maps that no image or change of theirs is in.

        `chosen` is the kind of each fold.
        """
        both, count = self.both, len(self.folds)
        halves = range(len(self.halves))
        whole = [self.without([fold], halves, views=kind.uses_views) for fold, kind in enumerate(chosen)]
        mapped = [
            _through(fit(kind, moments, both), both.new[images])
            for kind, moments, images in zip(chosen, whole, both.judged, strict=True)
        ]
        changes = both.split.changes() if any(kind.uses_views for kind in chosen) else ()
        for members, _ in changes:
            columns = both.columns(members)
            own = [moments_of(both, fold, columns) for fold in self.folds]
            for fold, kind in enumerate(chosen):
                if kind.uses_views:
                    others = functools.reduce(PairMoments.__add__, (own[each] for each in range(count) if each != fold))
                    asked = both.new[both.judged[fold][:, None], columns]
                    mapped[fold][:, columns] = _through(fit(kind, whole[fold] - others, both), asked)
        return mapped


def _through(made: LinearMap, vectors: Floats) -> Floats:
    flat = made(np.nan_to_num(vectors.reshape(-1, vectors.shape[2])))
    return flat.reshape(*vectors.shape[:2], -1)
