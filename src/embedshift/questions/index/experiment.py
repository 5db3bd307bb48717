"""The experiment: what indexes find of changed images, among images, groups and changes that none was fitted to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.statistics.agreement import neighbours_counted, overlap
from embedshift.statistics.index import Fits, SearchIndex
from embedshift.statistics.index_parts import CODE, FLOAT32, Training, parse, uses_views
from embedshift.statistics.judged import Outcomes, Split
from embedshift.statistics.thresholds import least_false_match_rate, threshold_at

BLOCK = 8_192
# Scores of unit vectors that differ by less are ties, which count against the original.
TIE = 1e-6
RECALLS = {"recall@1": 1, "recall@10": 10}
MRR, NEIGHBOURS = "mrr", "neighbours@10"
# Results of a search, candidates of `rescore`, and vectors of the gallery whose pairs give the threshold.
RESULTS, CANDIDATES, PAIRED = 10, 100, 4_096
Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Unit vectors of a study, and of a gallery.

    Args:
        originals: float32 `[n, D]`.
        views: float32 `[n, draws, A, D]`; 0 where one is missing.
        groups: The group of each image, `[n]`: its other images are no results.
        names: The A augmentations.
        gallery: Other images to search among, float32 `[g, D]`.
    """

    originals: Floats
    views: Floats
    groups: NDArray[np.intp]
    names: Sequence[str]
    gallery: Floats


@dataclass(frozen=True, eq=False)
class Tried:
    """What one index finds: numbers by metric, `[n, draws, A]`, and the number of vectors in a search."""

    index: SearchIndex
    outcomes: Mapping[str, Outcomes]
    searched: int


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


def experiment(names: Sequence[str], vectors: Vectors, split: Split, rate: float) -> Iterator[tuple[str, Tried | str]]:
    """Yields what each index finds, `float32` first; or why it cannot be fitted.

    Args:
        names: Indexes, such as "whiten+binary".
        vectors: Those of a study and a gallery.
        split: The folds of its images; an index is fitted to other folds and other families of changes.
        rate: The fraction of pairs of different images that may match.
    """
    names = [FLOAT32, *(name for name in dict.fromkeys(names) if name != FLOAT32)]
    matched = f"matched@{rate:g}"
    shape = vectors.views.shape[:3]
    rank, own = ({name: np.full(shape, np.nan) for name in names} for _ in range(2))
    kept = {name: np.full(shape, np.nan) for name in names}
    pairs: dict[str, list[Floats]] = {name: [] for name in names}
    fitted, left_out = dict[str, SearchIndex](), dict[str, str]()
    searched = list[int]()
    for fold in split.judged():
        inside = np.flatnonzero(fold)
        gallery = _Gallery(vectors, inside)
        searched.append(len(gallery))
        exact: dict[int, Positions] = {}
        for members, others, chosen in _fits(names, split, vectors.names):
            fits = Fits(training_of(vectors, ~fold, others))
            made = {name: index for name in chosen if not isinstance(index := fits(name), str)}
            left_out |= {name: str(fits(name)) for name in chosen if name not in made}
            fitted |= made
            for name, scores in _pairs_of(made, vectors, gallery):
                pairs[name].append(scores)
            for name, column, draw, found in _found(made, vectors, gallery, members):
                where = (inside, draw, column)
                rank[name][where], own[name][where] = found.rank, found.own
                if name == FLOAT32:
                    exact[column * shape[1] + draw] = found.nearest
                near = neighbours_counted(len(gallery) - 1)
                kept[name][where] = overlap(exact[column * shape[1] + draw], found.nearest, near)
    allowed = least_false_match_rate(len(vectors.originals)) <= rate
    for name in names:
        if name in left_out:
            yield name, left_out[name]
            continue
        threshold = threshold_at(np.concatenate(pairs[name]), rate, 1) if allowed else np.nan
        there = ~np.isnan(kept[name])
        with np.errstate(invalid="ignore"):
            numbers = {metric: np.where(there, rank[name] <= k, np.nan) for metric, k in RECALLS.items()}
            numbers |= {MRR: np.where(there, 1 / rank[name], np.nan)}
            above = np.nan_to_num(own[name], nan=-np.inf) >= threshold
        numbers |= {matched: np.where(there & np.isfinite(threshold), above, np.nan), NEIGHBOURS: kept[name]}
        outcomes = {metric: Outcomes(each, None, metric not in (MRR, NEIGHBOURS)) for metric, each in numbers.items()}
        yield name, Tried(fitted[name], outcomes, round(float(np.mean(searched))))


def _fits(
    names: Sequence[str], split: Split, augmentations: Sequence[str]
) -> Iterator[tuple[Sequence[int], Sequence[int], Sequence[str]]]:
    """Yields columns to judge, columns to fit to, and the indexes: those that use views are fitted for each family."""
    of_views = [name for name in names if uses_views(parse(name, 2**20))]
    yield range(len(augmentations)), (), [name for name in names if name not in of_views]
    families = [*split.changes()] or [(augmentations, ())]
    for members, others in families if of_views else ():
        columns, fitted_to = ([augmentations.index(name) for name in each] for each in (members, others))
        yield columns, fitted_to, of_views


def training_of(vectors: Vectors, chosen: NDArray[np.bool_], columns: Sequence[int]) -> Training:
    chosen = chosen & vectors.originals.any(axis=1)
    views = vectors.views[chosen][:, :, list(columns)]
    return Training(vectors.originals[chosen], views.reshape(len(views), -1, views.shape[-1]))


class _Gallery:
    """The originals of a fold, then other images."""

    def __init__(self, vectors: Vectors, inside: NDArray[np.intp]) -> None:
        self.inside, self.other = inside, vectors.gallery
        self.own, self.groups = vectors.originals[inside], vectors.groups[inside]
        mates = np.equal.outer(self.groups, self.groups)
        self.mates: NDArray[np.bool_] = mates
        self.none: NDArray[np.bool_] = np.asarray(~self.own.any(axis=1))

    def __len__(self) -> int:
        return len(self.own) + len(self.other)

    def at(self, places: Positions) -> Floats:
        """Returns the vectors at some places, in ascending order."""
        inner = places < len(self.own)
        return np.concatenate([self.own[places[inner]], self.other[places[~inner] - len(self.own)]])

    def blocks(self) -> Iterator[tuple[int, Floats]]:
        """Yields the originals of the fold as the first block, then the others, with the place of each first one."""
        yield 0, self.own
        for start in range(0, len(self.other), BLOCK):
            yield len(self.own) + start, self.other[start : start + BLOCK]


@dataclass(frozen=True, eq=False)
class _Found:
    rank: Values
    own: Values
    nearest: Positions


def _found(
    indexes: Mapping[str, SearchIndex], vectors: Vectors, gallery: _Gallery, columns: Sequence[int]
) -> Iterator[tuple[str, int, int, _Found]]:
    """Searches with several indexes fitted to the same vectors, reading the gallery once."""
    draws = vectors.views.shape[1]
    queries = [(column, draw) for column in columns for draw in range(draws)]
    searches: dict[str, list[_Search]] = {name: [] for name in indexes}
    there = [vectors.views[gallery.inside, draw, column].any(axis=1) & ~gallery.none for column, draw in queries]
    for name, index in indexes.items():
        stands_for = index.stands_for(index.moved(gallery.own))
        level = index.level_of_base(stands_for)
        for column, draw in queries:
            asked = index.asked(index.moved(vectors.views[gallery.inside, draw, column]))
            asking = index.level_of_queries(asked)
            own = np.einsum("qd,qd->q", asked, stands_for) - level - asking
            searches[name].append(_Search(index, asked, own.astype(np.float64), asking))
    for start, block in gallery.blocks():
        is_none = ~block.any(axis=1)
        moved: dict[str, Floats] = {}
        for name, index in indexes.items():
            stands_for = index.stands_for(_moved_once(index, block, moved))
            level = index.level_of_base(stands_for)
            for each in searches[name]:
                found = each.asked @ stands_for.T
                if index.is_normalised:
                    found = found - level - each.level[:, None]
                found[:, is_none] = -np.inf
                if start == 0:
                    found[gallery.mates] = -np.inf
                each.add(start, np.asarray(found, np.float32))
    for name, index in indexes.items():
        for (column, draw), present, each in zip(queries, there, searches[name], strict=True):
            found_of = _rescored(each, gallery) if index.is_rescored else _Found(1 + each.better, each.own, each.places)
            yield name, column, draw, _Found(
                np.where(present, found_of.rank, np.nan), np.where(present, found_of.own, np.nan),
                np.where(present[:, None], found_of.nearest, -1),
            )  # fmt: skip


def _moved_once(index: SearchIndex, block: Floats, memory: dict[str, Floats]) -> Floats:
    """Returns a block after map and size, which indexes of the same fit share."""
    key = "+".join(named.text for named in index.parts if named.part.place < CODE)
    if key not in memory:
        memory[key] = index.moved(block)
    return memory[key]


def _rescored(search: _Search, gallery: _Gallery) -> _Found:
    """Orders the candidates of a code by int8; an original is one of them, or is not found."""
    index, images = search.index, len(gallery.own)
    known = np.union1d(np.arange(images), search.places[search.places >= 0])
    stands_for = index.stands_for(index.moved(gallery.at(known)), rescored=True)
    level, asking = index.level_of_base(stands_for), index.level_of_queries(search.asked, rescored=True)
    own = (np.einsum("qd,qd->q", search.asked, stands_for[:images]) - level[:images] - asking).astype(np.float64)
    scores = np.full(search.places.shape, -np.inf, np.float32)
    for row, places in enumerate(search.places):
        at = np.searchsorted(known, places[places >= 0])
        scores[row, places >= 0] = stands_for[at] @ search.asked[row] - level[at] - asking[row]
    is_candidate = search.better < search.places.shape[1]
    scores[is_candidate, -1] = -np.inf
    better = _better(scores, own)
    order = np.lexsort((search.places, -scores), axis=1)[:, :RESULTS]
    rank = np.where(is_candidate, 1.0 + better, np.inf)
    return _Found(rank, np.where(is_candidate, own, -np.inf), np.take_along_axis(search.places, order, 1))


def _pairs_of(indexes: Mapping[str, SearchIndex], vectors: Vectors, gallery: _Gallery) -> Iterator[tuple[str, Floats]]:
    """Yields the scores of pairs of different images: originals of the fold as queries, among its gallery."""
    others = np.concatenate([gallery.own, gallery.other[:PAIRED]])
    apart = np.ones((len(gallery.own), len(others)), bool)
    apart[:, : len(gallery.own)] = ~gallery.mates & ~gallery.none
    apart = apart & others.any(axis=1) & ~gallery.none[:, None]
    for name, index in indexes.items():
        asked = index.asked(index.moved(gallery.own))
        stands_for = index.stands_for(index.moved(others), rescored=True)
        asking, level = index.level_of_queries(asked, rescored=True), index.level_of_base(stands_for)
        yield name, np.asarray((asked @ stands_for.T - asking[:, None] - level)[apart], np.float32)


__all__ = ["MRR", "NEIGHBOURS", "RECALLS", "TIE", "Tried", "Vectors", "experiment", "training_of"]
