"""The experiment: what indexes find of changed images, among images, groups and changes that none was fitted to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.questions.index.structures import Structure
from embedshift.statistics.agreement import NEIGHBOURS_KEPT, neighbours_counted, overlap
from embedshift.statistics.index import Fits, SearchIndex, is_fitted_to_views
from embedshift.statistics.index_parts import CODE, FLOAT32, VECTORS, Training, layout_of
from embedshift.statistics.judged import Outcomes, Split
from embedshift.statistics.retrieval import BLOCK, TIE
from embedshift.statistics.thresholds import least_false_match_rate, threshold_at
from embedshift.statistics.vector_layouts import ONE

RECALLS = {"recall@1": 1, "recall@10": 10}
MRR = "mrr"
# Results of a search, candidates of `rescore`, and vectors of the gallery whose pairs give the threshold.
RESULTS, CANDIDATES, PAIRED = 10, 100, 4_096
Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors of a study, and of a gallery.

    Args:
        originals: float32 `[n, D]`; or all vectors of each image, `[n, m, D]`, first the whole.
        views: float32 `[n, draws, A, D]`; 0 where one is missing.
        groups: The group of each image, `[n]`: its other images are no results.
        names: The A augmentations.
        gallery: Other images to search among, float32 `[g, D]` or `[g, m, D]`.
        queries: The originals as queries, float32 `[n, D]`; None = the first vector of each.
    """

    originals: Floats
    views: Floats
    groups: NDArray[np.intp]
    names: Sequence[str]
    gallery: Floats
    queries: Floats | None = None

    @property
    def several(self) -> int:
        """Number of vectors of an image."""
        return 1 if self.originals.ndim == 2 else self.originals.shape[1]


def _first(vectors: Floats) -> Floats:
    """Returns the first vector of each image, `[n, D]`."""
    return vectors if vectors.ndim == 2 else vectors[:, 0]


@dataclass(frozen=True, eq=False)
class Tried:
    """What one index finds: numbers by metric, `[n, draws, A]`, and the number of images in a search."""

    index: SearchIndex
    outcomes: Mapping[str, Outcomes]
    searched: int
    several: int = 1

    @property
    def sizes(self) -> tuple[float, float]:
        """Bytes of all vectors of an image: that a search reads, and that are kept."""
        return self.several * self.index.bytes_searched, self.several * self.index.bytes_stored


@dataclass(frozen=True, eq=False)
class _Kept:
    """What an index compares of images: vectors `[b, m, d]`, and the level of each, `[b, m]`."""

    vectors: Floats
    level: Floats

    @classmethod
    def of(cls, index: SearchIndex, moved: Floats, *, rescored: bool = False) -> "_Kept":
        """Returns what is compared of vectors after map and size, `[b, d]` or `[b, m, d]`."""
        stands_for = index.stands_for(moved.reshape(-1, moved.shape[-1]), rescored=rescored)
        several = 1 if moved.ndim == 2 else moved.shape[1]
        shape, level = (len(moved), several), index.level_of_base(stands_for)
        return cls(stands_for.reshape(*shape, stands_for.shape[1]), level.reshape(shape))

    def scores(self, asked: Floats) -> Floats:
        """Returns the best score of each image for queries `[q, d]`, `[q, b]`."""
        found = asked @ self.vectors.reshape(-1, self.vectors.shape[2]).T
        found = found - self.level.ravel() if self.level.any() else found
        return found if self.level.shape[1] == 1 else found.reshape(len(asked), *self.level.shape).max(axis=2)

    def of_own(self, asked: Floats) -> Floats:
        """Returns the best score of the image of each query, `[b]`."""
        return np.asarray((np.einsum("qd,qmd->qm", asked, self.vectors) - self.level).max(axis=1))


@dataclass(eq=False)
class _Search:
    """A search by one index for the queries of a fold and some changes, block by block of the gallery."""

    index: SearchIndex
    asked: Floats
    own: Values
    level: Floats
    better: Values = field(init=False)
    scores: Floats = field(init=False)
    places: Positions = field(init=False)

    def __post_init__(self) -> None:
        count = CANDIDATES if self.index.is_rescored else RESULTS
        self.better = np.zeros(len(self.asked))
        self.scores = np.full((len(self.asked), count), -np.inf, np.float32)
        self.places = np.full((len(self.asked), count), -1, np.int64)

    def add(self, start: int, found: Floats) -> None:
        """Adds scores with a block `[q, b]`; −inf for what is no result."""
        self.better += _better(found, self.own)
        count = self.scores.shape[1]
        # Ties with the last result come later, and are none; in a large gallery few vectors are above it.
        columns = np.flatnonzero((found > self.scores[:, -1:]).any(axis=0))
        found = found[:, columns]
        if found.shape[1] > count:
            chosen = np.argpartition(-found, count - 1, axis=1)[:, :count]
        else:
            chosen = np.tile(np.arange(found.shape[1]), (len(found), 1))
        values = np.take_along_axis(found, chosen, 1)
        scores = np.hstack([self.scores, values])
        places = np.hstack([self.places, np.where(np.isneginf(values), -1, start + columns[chosen])])
        order = np.lexsort((places, -scores), axis=1)[:, :count]
        self.scores, self.places = (np.take_along_axis(each, order, 1) for each in (scores, places))


def _better(scores: Floats, own: Values) -> NDArray[np.intp]:
    """Returns how many scores `[q, b]` reach those of the originals, `[q]`; ties do."""
    return np.asarray((scores >= (own - TIE * np.maximum(1.0, np.abs(own)))[:, None]).sum(axis=1))


def experiment(
    names: Sequence[str],
    vectors: Vectors,
    split: Split,
    rate: float,
    variant: Callable[[str], Vectors | str] = lambda layout: f"{layout} needs more vectors of an image",
) -> Iterator[tuple[str, Tried | str]]:
    """Yields what each index finds, `float32` first; or why it cannot be fitted.

    Args:
        names: Indexes, such as "whiten+binary".
        vectors: Those of a study and a gallery.
        split: The folds of its images; an index is fitted to other folds and other families of changes.
        rate: The fraction of pairs of different images that may match.
        variant: Function of a part such as "tiles" → the same images and views with its vectors, or why there are none.
    """
    names = [FLOAT32, *(name for name in dict.fromkeys(names) if name != FLOAT32)]
    exact = np.full((*vectors.views.shape[:3], RESULTS), -1, np.int64)
    found = dict[str, Tried | str]()
    for layout in dict.fromkeys(map(layout_of, names)):
        own = [name for name in names if layout_of(name) == layout]
        given = vectors if layout == ONE else variant(layout)
        found |= dict.fromkeys(own, given) if isinstance(given, str) else _tried(own, given, split, rate, exact)
    yield from ((name, found[name]) for name in names)


def _tried(
    names: Sequence[str], vectors: Vectors, split: Split, rate: float, exact: Positions
) -> Iterator[tuple[str, Tried | str]]:
    """Yields what each index of the same vectors finds; float32 writes its nearest images to `exact`."""
    shape = vectors.views.shape[:3]
    rank, own, kept = ({name: np.full(shape, np.nan) for name in names} for _ in range(3))
    pairs: dict[str, list[Floats]] = {name: [] for name in names}
    fitted, left_out = dict[str, SearchIndex](), dict[str, str]()
    searched = list[int]()
    for fold in split.judged():
        inside = np.flatnonzero(fold)
        gallery = _Gallery(vectors, inside)
        searched.append(len(gallery))
        near = neighbours_counted(len(gallery) - 1)
        for members, others, chosen in _fits(names, split, vectors):
            fits = Fits(training_of(vectors, ~fold, others))
            made = {name: index for name in chosen if not isinstance(index := fits(name), str)}
            left_out |= {name: str(fits(name)) for name in chosen if name not in made}
            fitted |= made
            for name, scores in _pairs_of(made, vectors, gallery):
                pairs[name].append(scores)
            for name, column, draw, found in _found(made, vectors, gallery, members, fits.training.originals):
                where = (inside, draw, column)
                rank[name][where], own[name][where] = found.rank, found.own
                if name == FLOAT32:
                    exact[where] = found.nearest
                kept[name][where] = overlap(exact[where], found.nearest, near)
    for name in names:
        if name in left_out:
            yield name, left_out[name]
            continue
        numbers = _numbers(rank[name], own[name], kept[name], np.concatenate(pairs[name]), rate)
        yield name, Tried(fitted[name], numbers, round(float(np.mean(searched))), vectors.several)


def _numbers(rank: Values, own: Values, kept: Values, pairs: NDArray[Any], rate: float) -> Mapping[str, Outcomes]:
    """Returns the metrics, `[n, draws, A]` each, of ranks, scores and shared neighbours."""
    threshold = threshold_at(pairs, rate, 1) if least_false_match_rate(len(rank)) <= rate else np.nan
    there = ~np.isnan(kept)
    with np.errstate(invalid="ignore"):
        numbers = {metric: np.where(there, rank <= k, np.nan) for metric, k in RECALLS.items()}
        numbers |= {MRR: np.where(there, 1 / rank, np.nan)}
        above = np.nan_to_num(own, nan=-np.inf) >= threshold
    numbers |= {f"matched@{rate:g}": np.where(there & np.isfinite(threshold), above, np.nan), NEIGHBOURS_KEPT: kept}
    return {metric: Outcomes(each, None, metric not in (MRR, NEIGHBOURS_KEPT)) for metric, each in numbers.items()}


def _fits(
    names: Sequence[str], split: Split, vectors: Vectors
) -> Iterator[tuple[Sequence[int], Sequence[int], Sequence[str]]]:
    """Yields columns to judge, columns to fit to, and the indexes: those that use views are fitted for each family."""
    augmentations, dim = vectors.names, vectors.views.shape[-1]
    of_views = [name for name in names if is_fitted_to_views(name, dim)]
    yield range(len(augmentations)), (), [name for name in names if name not in of_views]
    families = [*split.changes()] or [(augmentations, ())]
    for members, others in families if of_views else ():
        columns, fitted_to = ([augmentations.index(name) for name in each] for each in (members, others))
        yield columns, fitted_to, of_views


def training_of(vectors: Vectors, chosen: NDArray[np.bool_], columns: Sequence[int]) -> Training:
    originals = _first(vectors.originals)
    chosen = chosen & originals.any(axis=1)
    views = vectors.views[chosen][:, :, list(columns)]
    return Training(originals[chosen], views.reshape(len(views), -1, views.shape[-1]))


class _Gallery:
    """The originals of a fold, then other images."""

    def __init__(self, vectors: Vectors, inside: NDArray[np.intp]) -> None:
        self.inside, self.other = inside, vectors.gallery
        self.own, self.groups = vectors.originals[inside], vectors.groups[inside]
        mates = np.equal.outer(self.groups, self.groups)
        self.mates: NDArray[np.bool_] = mates
        self.none: NDArray[np.bool_] = np.asarray(~_first(self.own).any(axis=1))
        self.block = max(1, BLOCK // vectors.several)

    def __len__(self) -> int:
        return len(self.own) + len(self.other)

    def at(self, places: Positions) -> Floats:
        """Returns the vectors at some places, in ascending order."""
        inner = places < len(self.own)
        return np.concatenate([self.own[places[inner]], self.other[places[~inner] - len(self.own)]])

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yields the originals of the fold as the first block, then the others, with the place of each first one."""
        yield 0, self.own
        for start in range(0, len(self.other), self.block):
            yield len(self.own) + start, self.other[start : start + self.block]


@dataclass(frozen=True, eq=False)
class _Found:
    rank: Values
    own: Values
    nearest: Positions


def _found(
    indexes: Mapping[str, SearchIndex], vectors: Vectors, gallery: _Gallery, columns: Sequence[int], trained_on: Floats
) -> Iterator[tuple[str, int, int, _Found]]:
    """Searches with several indexes fitted to the same vectors, reading the gallery once."""
    draws = vectors.views.shape[1]
    queries = [(column, draw) for column in columns for draw in range(draws)]
    searches: dict[str, list[_Search]] = {name: [] for name in indexes}
    there = [vectors.views[gallery.inside, draw, column].any(axis=1) & ~gallery.none for column, draw in queries]
    for name, index in indexes.items():
        kept = _Kept.of(index, _moved(index, gallery.own))
        for column, draw in queries:
            asked = index.asked(index.moved(vectors.views[gallery.inside, draw, column]))
            asking = index.level_of_queries(asked)
            searches[name].append(_Search(index, asked, (kept.of_own(asked) - asking).astype(np.float64), asking))
    structures = {name: Structure(index, trained_on) for name, index in indexes.items() if index.structure}
    for start, block in gallery.blocks():
        is_none = np.asarray(~_first(block).any(axis=1))
        moved: dict[tuple[int, ...], Floats] = {}
        for name, index in indexes.items():
            kept = _Kept.of(index, _moved_once(index, block, moved))
            if name in structures:
                structures[name].add(kept.vectors[:, 0], start, is_none)
                continue
            for each in searches[name]:
                found = kept.scores(each.asked)
                if index.is_normalised:
                    found = found - each.level[:, None]
                found[:, is_none] = -np.inf
                if start == 0:
                    found[gallery.mates] = -np.inf
                each.add(start, np.asarray(found, np.float32))
    for name in indexes:
        for (column, draw), present, each in zip(queries, there, searches[name], strict=True):
            found_of = _from(each, gallery, structures.get(name))
            yield name, column, draw, _Found(
                np.where(present, found_of.rank, np.nan), np.where(present, found_of.own, np.nan),
                np.where(present[:, None], found_of.nearest, -1),
            )  # fmt: skip


def _from(search: _Search, gallery: _Gallery, structure: Structure | None) -> _Found:
    """Returns what a search finds: among all vectors, candidates of a code, or those that a structure returns."""
    if structure is not None:
        scores, places, own = structure.search(search.asked, gallery.mates, RESULTS)
        rank = np.where(np.isneginf(own), np.inf, 1.0 + _better(scores, own))
        return _Found(rank, own, _ordered(scores, places))
    return _rescored(search, gallery) if search.index.is_rescored else _Found(
        1 + search.better, search.own, search.places
    )  # fmt: skip


def _ordered(scores: Floats, places: Positions) -> Positions:
    order = np.lexsort((places, -scores), axis=1)[:, :RESULTS]
    return np.take_along_axis(places, order, 1)


def _moved(index: SearchIndex, vectors: Floats) -> Floats:
    """Returns vectors `[b, D]` or `[b, m, D]` after map and size."""
    moved = index.moved(vectors.reshape(-1, vectors.shape[-1]))
    return moved.reshape(*vectors.shape[:-1], moved.shape[1])


def _moved_once(index: SearchIndex, block: Floats, memory: dict[tuple[int, ...], Floats]) -> Floats:
    """Returns a block after map and size, which indexes of the same fit share."""
    pairs = zip(index.parts, index.arrays, strict=True)
    key = tuple(id(arrays) for named, arrays in pairs if VECTORS < named.part.place < CODE)
    if key not in memory:
        memory[key] = _moved(index, block)
    return memory[key]


def _rescored(search: _Search, gallery: _Gallery) -> _Found:
    """Orders the candidates of a code by int8; an original is one of them, or is not found."""
    index, images = search.index, len(gallery.own)
    known = np.union1d(np.arange(images), search.places[search.places >= 0])
    kept = _Kept.of(index, _moved(index, gallery.at(known)), rescored=True)
    asking = index.level_of_queries(search.asked, rescored=True)
    own = (_Kept(kept.vectors[:images], kept.level[:images]).of_own(search.asked) - asking).astype(np.float64)
    scores = np.full(search.places.shape, -np.inf, np.float32)
    for row, places in enumerate(search.places):
        at = np.searchsorted(known, places[places >= 0])
        found = kept.vectors[at] @ search.asked[row] - kept.level[at]
        scores[row, places >= 0] = found.max(axis=1) - asking[row]
    is_candidate = search.better < search.places.shape[1]
    scores[is_candidate, -1] = -np.inf
    better = _better(scores, own)
    rank = np.where(is_candidate, 1.0 + better, np.inf)
    return _Found(rank, np.where(is_candidate, own, -np.inf), _ordered(scores, search.places))


def _pairs_of(indexes: Mapping[str, SearchIndex], vectors: Vectors, gallery: _Gallery) -> Iterator[tuple[str, Floats]]:
    """Yields the scores of pairs of different images: originals of the fold as queries, among its gallery."""
    others = np.concatenate([gallery.own, gallery.other[:PAIRED]])
    apart = np.ones((len(gallery.own), len(others)), bool)
    apart[:, : len(gallery.own)] = ~gallery.mates & ~gallery.none
    apart = apart & _first(others).any(axis=1) & ~gallery.none[:, None]
    queries = _first(gallery.own) if vectors.queries is None else vectors.queries[gallery.inside]
    for name, index in indexes.items():
        asked = index.asked(index.moved(queries))
        scores = _Kept.of(index, _moved(index, others), rescored=True).scores(asked)
        asking = index.level_of_queries(asked, rescored=True)
        yield name, np.asarray((scores - asking[:, None])[apart], np.float32)


__all__ = ["MRR", "RECALLS", "Tried", "Vectors", "experiment", "training_of"]
