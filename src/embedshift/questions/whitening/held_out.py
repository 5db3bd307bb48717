"""Maps fitted to some images and changes, and tried on others: what a search finds with them, view by view."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Units, Values
from embedshift.statistics.whitening import unit
from embedshift.store.shift_moments import ShiftMoments, moments_of

AS_IS, CENTRED, ORIGINALS, SHIFTS = "as it is", "centred", "originals", "shifts"
MAPS = (CENTRED, ORIGINALS, SHIFTS)
FOLDS, NEIGHBOURS = 5, 10
# False-match rates, and the least number of false pairs for which one is defined.
RATES, LEAST_PAIRS = (0.01, 0.001), 10
# Cosines of float32 that differ less are ties.
TIE = 1e-6
Map = Callable[[Floats], Floats]
# Fold → map.
Fit = Callable[[int], Map]


@dataclass(frozen=True, eq=False)
class Images:
    """Embeddings of images, and what belongs together.

    Args:
        originals: `[n, D]`.
        views: Augmentation → `[n, draws, D]`.
        families: Augmentation → the family that is left out with it.
        units: The number of each image's group; without groups, of the image.
        has_groups: Whether images belong to groups.
    """

    originals: Floats
    views: Mapping[str, Floats]
    families: Mapping[str, str]
    units: Units
    has_groups: bool

    @property
    def draws(self) -> int:
        return int(next(iter(self.views.values())).shape[1])

    @property
    def folds(self) -> NDArray[np.intp]:
        """The fold of each image; images of a group are in one fold."""
        return np.unique(self.units, return_inverse=True)[1] % FOLDS


@dataclass(frozen=True, eq=False)
class Results:
    """What views of held-out images find with a map, for one augmentation: `[n, draws]` each, NaN without a vector.

    Args:
        rank: The position of its own original among all originals; ties count against it.
        first: The position of the image that comes first.
        kept: The fraction of the original's ten nearest other images that are among the ten nearest to the view.
        same_class: Whether the nearest other image is of the same group, where images belong to groups.
        matched: False-match rate → whether the cosine reaches the threshold that this fraction of pairs of different
            originals reaches.
    """

    rank: Values
    first: NDArray[np.int64]
    kept: Values
    same_class: Values
    matched: Mapping[float, Values]


def results(images: Images) -> Iterator[tuple[str, str, Results]]:
    """Yields the name of a map, an augmentation, and its results, for "as it is" and then all `MAPS`."""
    names, fits = list(images.views), _Fits(images)
    simple: dict[str, Fit] = {AS_IS: lambda fold: unit, CENTRED: fits.centred, ORIGINALS: fits.originals}
    for name, fit in simple.items():
        yield from ((name, view, found) for view, found in _tried(images, fit, names))
    for family in dict.fromkeys(images.families.values()):
        members = [name for name in names if images.families[name] == family]
        if len(members) < len(names):
            yield from ((SHIFTS, view, found) for view, found in _tried(images, fits.shifts(members), members))


class _Fits:
    """Maps by the images outside of a fold."""

    def __init__(self, images: Images) -> None:
        self.images, self.folds = images, images.folds
        self.by_fold = [self._moments(fold, list(images.views)) for fold in range(int(self.folds.max()) + 1)]
        self.all = sum(self.by_fold[1:], self.by_fold[0])

    def _moments(self, fold: int, names: Sequence[str]) -> ShiftMoments:
        inside = self.folds == fold
        views = (self.images.views[name][inside, draw] for name in names for draw in range(self.images.draws))
        return moments_of(self.images.originals[inside], views)

    def centred(self, fold: int) -> Map:
        return (self.all - self.by_fold[fold]).centred()

    def originals(self, fold: int) -> Map:
        return (self.all - self.by_fold[fold]).by_originals()

    def shifts(self, members: Sequence[str]) -> Fit:
        """Returns the same without some changes."""
        of_family = [self._moments(fold, members) for fold in range(len(self.by_fold))]
        total = sum(of_family[1:], of_family[0])

        def fit(fold: int) -> Map:
            rest, left_out = self.all - self.by_fold[fold], total - of_family[fold]
            count, products = rest.shifts - left_out.shifts, rest.shift_products - left_out.shift_products
            return ShiftMoments(rest.originals, rest.total, rest.products, count, products).by_shifts()

        return fit


def _tried(images: Images, fit: Callable[[int], Map], names: Sequence[str]) -> Iterator[tuple[str, Results]]:
    """Yields the results of some augmentations with a map for each fold."""
    count, draws, folds = len(images.originals), images.draws, images.folds
    pairs = np.full((count, count), np.nan, np.float32)
    numbers = {name: np.full((4, count, draws), np.nan) for name in names}
    firsts = {name: np.full((count, draws), -1) for name in names}
    for fold in range(int(folds.max()) + 1):
        inside, mapped = np.flatnonzero(folds == fold), fit(fold)
        gallery = mapped(images.originals)
        search = _Search(gallery, inside, images.units if images.has_groups else None)
        pairs[inside] = search.pairs
        for name in names:
            for draw in range(draws):
                numbers[name][:, inside, draw], firsts[name][inside, draw] = search.of(
                    mapped(np.nan_to_num(images.views[name][inside, draw]))
                )
    thresholds = _thresholds(pairs[~np.isnan(pairs)])
    for name in names:
        cosine, rank, kept, same_class = numbers[name]
        with np.errstate(invalid="ignore"):
            matched = {rate: np.where(np.isnan(cosine), np.nan, cosine >= least) for rate, least in thresholds.items()}
        yield name, Results(rank, firsts[name], kept, same_class, matched)


def _thresholds(cosines: Floats) -> dict[float, float]:
    """Returns false-match rates that ten pairs allow, and the least cosine that no more pairs reach, infinite if none.

    Each pair has two cosines: by the map of the one image's fold, and by that of the other's.
    """
    thresholds = {}
    for rate in RATES:
        allowed = 2 * int(rate * len(cosines) / 2 * (1 + 1e-12))
        if allowed >= 2 * LEAST_PAIRS:
            refused = -np.partition(-cosines, allowed)[allowed]
            thresholds[rate] = float(cosines[cosines > refused].min(initial=np.inf))
    return thresholds


class _Search:
    """Searches for views of some images `inside` among all originals."""

    def __init__(self, gallery: Floats, inside: NDArray[np.intp], units: Units | None) -> None:
        self.gallery, self.inside, self.units = gallery, inside, units
        self.rows = np.arange(len(inside))
        self.lost = np.asarray(~gallery.any(axis=1))
        own = inside[:, None] == np.arange(len(gallery))
        self.own_group = own if units is None else units[inside][:, None] == units
        self.no_result = self.own_group | self.lost
        self.pairs = np.where(self.no_result | self.lost[inside][:, None], np.nan, gallery[inside] @ gallery.T)
        self.near = _nearest(np.where(np.isnan(self.pairs), -np.inf, self.pairs))
        if units is not None:
            self.no_class = self.lost | own
            self.in_class = (units[inside][:, None] == units[~self.lost]).sum(axis=1) > 1

    def of(self, views: Floats) -> tuple[Values, NDArray[np.intp]]:
        """Returns cosine, rank, neighbours kept and same class, `[4, q]`, and who comes first, for views `[q, D]`."""
        cosines = views @ self.gallery.T
        own = cosines[self.rows, self.inside].copy()
        missing = np.asarray(~views.any(axis=1)) | self.lost[self.inside]
        same_class = np.full(len(views), np.nan)
        if self.units is not None:
            first = np.where(self.no_class, -np.inf, cosines).argmax(axis=1)
            same_class = np.where(self.in_class, self.units[first] == self.units[self.inside], np.nan)
        cosines[self.no_result] = -np.inf
        better = (cosines >= own[:, None] - TIE).sum(axis=1)
        first = np.where(better > 0, cosines.argmax(axis=1), self.inside)
        near = _nearest(cosines)
        counts = (self.near >= 0).sum(axis=1)
        common = ((self.near[:, :, None] == near[:, None, :]) & (self.near >= 0)[:, :, None]).any(axis=2).sum(axis=1)
        kept = np.where(counts > 0, common / np.maximum(counts, 1), np.nan)
        numbers = np.stack([own, 1.0 + better, kept, same_class])
        numbers[:, missing] = np.nan
        return numbers, np.where(missing, -1, first)


def _nearest(cosines: Floats) -> NDArray[np.intp]:
    """Returns the positions of the highest cosines of each row, `NEIGHBOURS` at most; -1 for one of −inf."""
    count = min(NEIGHBOURS, cosines.shape[1])
    positions = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    return np.where(np.isneginf(np.take_along_axis(cosines, positions, 1)), -1, positions)
