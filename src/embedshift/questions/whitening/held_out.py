"""Maps fitted to some images and changes, and tried on others: what a search finds with them, view by view."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Units, Values
from embedshift.statistics.retrieval import Gallery, Positions, search
from embedshift.statistics.whitening import unit
from embedshift.store.shift_moments import ShiftMoments, moments_of

AS_IS, CENTRED, ORIGINALS, SHIFTS = "as it is", "centred", "originals", "shifts"
FOLDS, NEIGHBOURS = 5, 10
# False-match rates, and the least number of false pairs for which one is defined.
RATES, LEAST_PAIRS = (0.01, 0.001), 10
RECALL, CLASS = "recall@1", "class_agreement"
# Fold → map.
Fit = Callable[[int], Callable[[Floats], Floats]]
# Metric → one number per image and draw, `[n, draws]`, NaN without a vector; who comes first, -1 for none.
Results = tuple[dict[str, Values], Positions]


@dataclass(frozen=True, eq=False)
class Images:
    """Embeddings of images, and what belongs together.

    Args:
        originals: `[n, D]`.
        views: Augmentation → `[n, draws, D]`.
        families: Augmentation → the family that is left out with it.
        units: The number of each image's group, `[n]`; None if images are independent.
    """

    originals: Floats
    views: Mapping[str, Floats]
    families: Mapping[str, str]
    units: Units | None = None

    @functools.cached_property
    def folds(self) -> NDArray[np.intp]:
        """The fold of each image; images of a group are in one fold."""
        units = np.arange(len(self.originals)) if self.units is None else self.units
        return np.unique(units, return_inverse=True)[1] % FOLDS

    def moments(self, names: Sequence[str]) -> list[ShiftMoments]:
        """Returns the moments of each fold, with the shifts of some augmentations."""
        return [self._moments(self.folds == fold, names) for fold in range(int(self.folds.max()) + 1)]

    def _moments(self, inside: NDArray[np.bool_], names: Sequence[str]) -> ShiftMoments:
        views = (draw for name in names for draw in self.views[name][inside].swapaxes(0, 1))
        return moments_of(self.originals[inside], views)


def results(images: Images) -> Iterator[tuple[str, str, Results]]:
    """Yields the name of a map, an augmentation, and its results, from the simplest map to the least simple."""
    names, by_fold = list(images.views), images.moments(list(images.views))
    rest = [functools.reduce(ShiftMoments.__add__, by_fold) - part for part in by_fold]
    maps: dict[str, Fit] = {
        AS_IS: lambda fold: unit,
        CENTRED: lambda fold: rest[fold].centred(),
        ORIGINALS: lambda fold: rest[fold].by_originals(),
    }
    for name, fit in maps.items():
        yield from ((name, view, found) for view, found in _tried(images, fit, names))
    for family in dict.fromkeys(images.families.values()):
        others = [name for name in names if images.families[name] != family]
        if others:
            members = [name for name in names if name not in others]
            kept = images.moments(others)
            fitted = [(functools.reduce(ShiftMoments.__add__, kept) - part).by_shifts() for part in kept]
            yield from ((SHIFTS, view, found) for view, found in _tried(images, fitted.__getitem__, members))


def _tried(images: Images, fit: Fit, names: Sequence[str]) -> Iterator[tuple[str, Results]]:
    """Yields the results of some augmentations, each image with the map of its fold."""
    count, draws = images.views[names[0]].shape[:2]
    pairs = np.full((count, count), np.nan, np.float32)
    metrics = [RECALL, "mrr", "cosine", "neighbours@10", *([] if images.units is None else [CLASS])]
    numbers = {name: np.full((len(metrics), count, draws), np.nan) for name in names}
    firsts = {name: np.full((count, draws), -1) for name in names}
    for fold in range(int(images.folds.max()) + 1):
        inside, mapped = np.flatnonzero(images.folds == fold), fit(fold)
        vectors = mapped(images.originals)
        pairs[inside] = _other_cosines(vectors, inside, images.units)
        gallery = Gallery.of(vectors, images.units)
        near = search(vectors[inside], inside, gallery, count=NEIGHBOURS).positions
        for name in names:
            for draw in range(draws):
                views = mapped(images.views[name][inside, draw])
                numbers[name][:, inside, draw], firsts[name][inside, draw] = _found(views, inside, gallery, near)
    thresholds = _thresholds(pairs[~np.isnan(pairs)])
    for name in names:
        by_metric = dict(zip(metrics, numbers[name], strict=True))
        cosine = by_metric.pop("cosine")
        for rate, least in thresholds.items():
            by_metric[f"matched@{rate:g}"] = np.where(np.isnan(cosine), np.nan, cosine >= least)
        yield name, (by_metric, firsts[name])


def _found(views: Floats, own: NDArray[np.intp], gallery: Gallery, near: Positions) -> tuple[Values, Positions]:
    """Returns the numbers of one view of some images, and who comes first."""
    ranked = search(views, own, gallery, count=NEIGHBOURS)
    missing, others, there = ranked.rank == 0, ranked.positions, near >= 0
    kept = ((near[:, :, None] == others[:, None, :]) & there[:, :, None]).any(axis=2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        numbers = [ranked.rank == 1, 1 / ranked.rank, ranked.cosine, kept / there.sum(axis=1)]
    if gallery.groups is not None:
        nearest = search(views, own, Gallery.of(gallery.vectors), count=1).positions[:, 0]
        alone = np.bincount(gallery.groups)[gallery.groups[own]] < 2
        numbers.append(np.where(alone, np.nan, gallery.groups[nearest] == gallery.groups[own]))
    first = np.where(ranked.rank == 1, own, others[:, 0]) if others.shape[1] else own
    return np.where(missing, np.nan, np.stack(numbers)), np.where(missing, -1, first)


def _other_cosines(vectors: Floats, inside: NDArray[np.intp], units: Units | None) -> Floats:
    """Returns the cosines of some originals with all of other groups; NaN for the rest."""
    groups, lost = np.arange(len(vectors)) if units is None else units, np.asarray(~vectors.any(axis=1))
    none = (groups[inside, None] == groups) | lost | lost[inside, None]
    return np.where(none, np.nan, vectors[inside] @ vectors.T)


def _thresholds(cosines: Floats) -> dict[float, float]:
    """Returns the rates that ten pairs allow, with the least cosine that no more pairs reach; infinite for none."""
    # Each pair has two cosines: by the map of the one image's fold, and by that of the other's.
    thresholds = {}
    for rate in RATES:
        allowed = 2 * int(rate * len(cosines) / 2 * (1 + 1e-12))
        if allowed >= 2 * LEAST_PAIRS:
            refused = -np.partition(-cosines, allowed)[allowed]
            thresholds[rate] = float(cosines[cosines > refused].min(initial=np.inf))
    return thresholds
