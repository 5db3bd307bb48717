"""A search among codes of vectors: what changed images find, code by code, on images that no code was fitted to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.statistics.agreement import neighbours_counted
from embedshift.statistics.codes import FLOAT32, Code, faiss_library, fit
from embedshift.statistics.judged import Outcomes, Split
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.thresholds import MATCHED, RATE, least_false_match_rate, threshold_at
from embedshift.statistics.vectors import normalised_float32

RECALLS = (1, 10)
# Images, or groups, that make two folds.
LEAST = 4
# Candidates of a code that is rescored, for each of the ten results.
PER_RESULT = 10
NEIGHBOURS, LEAD = "neighbours@10", "lead"
METRICS = (*(f"recall@{k}" for k in RECALLS), MATCHED, NEIGHBOURS, LEAD)
# Scores whose difference is below this part of the own score are ties; and originals whose pairs give the threshold.
TIE, PAIRED = 1e-6, 4_096
# Candidates that a search of `hnsw` keeps; `ivf` searches an eighth of its cells.
EF_SEARCH = 64

Positions = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Found:
    """What queries find, `[q]`: the score with their own original (NaN = not returned), how many others come before.

    Then the score of the best other, and the nearest others, `[q, k]`.
    """

    own: Values
    before: Values
    other: Values
    nearest: Positions


def search(code: Code, queries: Floats, own: Positions, gallery: Gallery, index: Any = None) -> Found:
    """Searches unit vectors `[q, D]`; vectors of the group of a query's own original are no results."""
    count = max(RECALLS)
    if index is not None:
        return _from_candidates(*_of_index(index, code, queries, own, gallery), own, count)
    if code.candidates is not None:
        first = _exhaustive(code.candidates, queries, own, gallery, PER_RESULT * count, with_own=True)
        return _from_candidates(first[3], _scores_at(code, queries, first[3], gallery), own, count)
    own_scores, before, other, nearest = _exhaustive(code, queries, own, gallery, count, with_own=False)
    return Found(own_scores, before, other, nearest)


def _exhaustive(
    code: Code, queries: Floats, own: Positions, gallery: Gallery, count: int, *, with_own: bool
) -> tuple[Values, Values, Values, Positions]:
    asked = code.query(queries)
    own_scores = np.einsum("qd,qd->q", asked, code.base(normalised_float32(gallery.vectors[own])))
    limits = (own_scores - TIE * np.abs(own_scores))[:, None]
    before, places = np.zeros(len(queries)), np.arange(len(queries))
    scores = np.full((len(queries), count), -np.inf, np.float32)
    nearest = np.full((len(queries), count), -1, np.int64)
    for start, block, none in gallery.blocks():
        found = asked @ code.base(block).T
        found[:, none] = -np.inf
        if gallery.groups is not None:
            found[gallery.groups[own][:, None] == gallery.groups[start : start + len(block)]] = -np.inf
        here = np.flatnonzero((own >= start) & (own < start + len(block)))
        found[here, own[here] - start] = own_scores[here] if with_own else -np.inf
        before += (found >= limits).sum(axis=1)
        scores, nearest = _merged(scores, nearest, found, start, places)
    return own_scores.astype(np.float64), before, scores[:, 0].astype(np.float64), nearest


def _merged(
    scores: Floats, nearest: Positions, found: Floats, start: int, places: Positions
) -> tuple[Floats, Positions]:
    count = scores.shape[1]
    if found.shape[1] > count:
        chosen = np.argpartition(-found, count - 1, axis=1)[:, :count]
    else:
        chosen = np.tile(np.arange(found.shape[1]), (len(found), 1))
    values = np.hstack([scores, found[places[:, None], chosen]])
    positions = np.hstack([nearest, np.where(np.isneginf(found[places[:, None], chosen]), -1, start + chosen)])
    order = np.lexsort((positions, -values), axis=1)[:, :count]
    return np.take_along_axis(values, order, 1), np.take_along_axis(positions, order, 1)


def _scores_at(code: Code, queries: Floats, positions: Positions, gallery: Gallery) -> Floats:
    asked, scores = code.query(queries), np.full(positions.shape, -np.inf, np.float32)
    for row, places in enumerate(positions):
        there = places >= 0
        scores[row, there] = code.base(normalised_float32(gallery.vectors[places[there]])) @ asked[row]
    return scores


def _from_candidates(positions: Positions, scores: Floats, own: Positions, count: int) -> Found:
    """Returns what is found among the vectors that were returned, which may lack the own original."""
    is_own = positions == own[:, None]
    own_scores = np.where(is_own.any(axis=1), np.where(is_own, scores, -np.inf).max(axis=1), np.nan).astype(np.float64)
    others = np.where(is_own | (positions < 0), -np.inf, scores)
    with np.errstate(invalid="ignore"):
        before = (others >= (own_scores - TIE * np.abs(own_scores))[:, None]).sum(axis=1)
    order = np.lexsort((positions, -others), axis=1)[:, :count]
    nearest = np.where(np.isneginf(np.take_along_axis(others, order, 1)), -1, np.take_along_axis(positions, order, 1))
    return Found(
        own_scores, np.where(np.isnan(own_scores), np.inf, before), others.max(axis=1).astype(np.float64), nearest
    )


def _of_index(index: Any, code: Code, queries: Floats, own: Positions, gallery: Gallery) -> tuple[Positions, Floats]:
    mates = 1 if gallery.groups is None else int(np.bincount(gallery.groups).max())
    scores, positions = index.search(
        np.ascontiguousarray(code.query(queries)), min(max(RECALLS) + mates + 1, len(gallery))
    )
    if gallery.groups is not None:
        same = (gallery.groups[positions] == gallery.groups[own][:, None]) & (positions != own[:, None])
        positions = np.where(same, -1, positions)
    return positions.astype(np.int64), scores


def built(code: Code, gallery: Gallery, trained_on: Floats) -> Any:
    """Returns FAISS' index over a gallery; its cells and ranges are of the vectors that it is trained on."""
    faiss = faiss_library()
    dim, kind = gallery.vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    cells = max(1, min(int(4 * len(trained_on) ** 0.5), len(trained_on) // 39))
    made: Any = {
        "hnsw": lambda: faiss.IndexHNSWFlat(dim, 32, kind),
        "hnsw+int8": lambda: faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 32, kind),
        "ivf": lambda: faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, cells, kind),
        "ivf+int8": lambda: faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim), dim, cells, faiss.ScalarQuantizer.QT_8bit, kind
        ),
    }[code.name]()
    if code.name.startswith("ivf"):
        made.nprobe = max(1, cells // 8)
    else:
        made.hnsw.efSearch = EF_SEARCH
    made.train(np.ascontiguousarray(trained_on))
    for _, block, _ in gallery.blocks():
        made.add(np.ascontiguousarray(block))
    return made


@dataclass(frozen=True, eq=False)
class Coded:
    """What one code finds: outcomes by metric, `[n, draws, A]`; the part of views' values outside its ranges, `[A]`."""

    code: Code
    outcomes: Mapping[str, Outcomes]
    outside: Values | None


def evaluate(names: Sequence[str], gallery: Gallery, views: Floats, split: Split) -> Iterator[tuple[str, Coded | str]]:
    """Yields each code by name with what it finds, float32 first; or why it cannot be fitted.

    Args:
        names: The codes, float32 first.
        gallery: The vectors that are searched; the first n are the originals of the views.
        views: `[n, draws, A, D]`; a view that is missing is NaN or 0.
        split: The folds of the n images; codes are fitted to the originals of other folds, and to the rest of the
            gallery.
    """
    exact = dict[int, Positions]()
    folds = [np.flatnonzero(fold) for fold in split.judged()]
    for name in names:
        parts: list[tuple[NDArray[np.intp], Mapping[str, Values], Values | None]] = []
        code: Code | None = None
        for number, fold in enumerate(folds):
            fitted_to = np.setdiff1d(np.arange(len(gallery)), fold)
            trained_on = normalised_float32(gallery.vectors[fitted_to])
            made, left_out = fit([name], trained_on)
            if left_out:
                break
            code = made[name]
            index = built(code, gallery, trained_on) if code.index else None
            if name == FLOAT32:
                exact[number] = np.stack([*_nearest(code, gallery, views, fold)])
            parts.append((fold, *_of_fold(code, index, gallery, views, fold, exact[number])))
        if code is None or len(parts) < len(folds):
            yield name, left_out.get(name, "")
            continue
        numbers = {metric: np.full(views.shape[:3], np.nan) for metric in METRICS}
        for fold, values, _ in parts:
            for metric, value in values.items():
                numbers[metric][fold] = value
        outside = [np.asarray(part) for *_, part in parts if part is not None]
        sizes = [len(fold) for fold in folds]
        yield (
            name,
            Coded(
                code,
                {
                    metric: Outcomes(value, is_proportion=metric not in (NEIGHBOURS, LEAD))
                    for metric, value in numbers.items()
                },
                np.average(outside, axis=0, weights=sizes) if outside else None,
            ),
        )


def _queries(views: Floats, fold: NDArray[np.intp]) -> Iterator[tuple[int, int, Floats, NDArray[np.bool_]]]:
    for draw in range(views.shape[1]):
        for place in range(views.shape[2]):
            vectors = normalised_float32(np.nan_to_num(views[fold, draw, place]))
            yield draw, place, vectors, np.asarray(vectors.any(axis=1))


def _nearest(code: Code, gallery: Gallery, views: Floats, fold: NDArray[np.intp]) -> Iterator[Positions]:
    for _, _, vectors, _ in _queries(views, fold):
        yield search(code, vectors, fold.astype(np.int64), gallery).nearest


def _of_fold(
    code: Code, index: Any, gallery: Gallery, views: Floats, fold: NDArray[np.intp], exact: Positions
) -> tuple[Mapping[str, Values], Values | None]:
    shape = (len(fold), *views.shape[1:3])
    values = {metric: np.full(shape, np.nan) for metric in METRICS}
    threshold, error = _of_pairs(code, gallery, fold, len(views))
    count, outside = neighbours_counted(len(gallery) - 1), np.zeros(shape[2])
    for number, (draw, place, vectors, there) in enumerate(_queries(views, fold)):
        found = search(code, vectors, fold.astype(np.int64), gallery, index)
        near = exact[number][:, :count]
        kept = ((found.nearest[:, :count, None] == near[:, None]) & (near >= 0)[:, None]).any(axis=1).sum(axis=1)
        numbers: dict[str, NDArray[Any]] = {f"recall@{k}": found.before < k for k in RECALLS}
        numbers |= {NEIGHBOURS: kept / np.maximum((near >= 0).sum(axis=1), 1)}
        if not np.isnan(threshold):
            numbers[MATCHED] = np.nan_to_num(found.own, nan=-np.inf) >= threshold
        if error > 0:
            numbers[LEAD] = (found.own - found.other) / error
        for metric, value in numbers.items():
            values[metric][:, draw, place] = np.where(there, value, np.nan)
        if code.outside is not None and there.any():
            outside[place] += code.outside(vectors[there]).mean() / shape[1]
    return values, None if code.outside is None else outside


def _of_pairs(code: Code, gallery: Gallery, fold: NDArray[np.intp], n: int) -> tuple[float, float]:
    """Returns the score that one pair of different originals in a thousand reaches, and the code's own error.

    The error is the standard deviation of its scores around a line over those of float32.
    """
    others = np.arange(min(n, PAIRED))
    base, asked = normalised_float32(gallery.vectors[others]), normalised_float32(gallery.vectors[fold])
    own = np.arange(n) if gallery.groups is None else gallery.groups
    apart = own[fold][:, None] != own[others]
    scores, exact = (code.query(asked) @ code.base(base).T)[apart], (asked @ base.T)[apart]
    threshold = threshold_at(scores, RATE, 1) if least_false_match_rate(n) <= RATE else np.nan
    threshold = threshold if np.isfinite(threshold) else np.nan  # more scores are the highest than may match
    if len(scores) < 3 or not np.ptp(exact):
        return threshold, 0.0
    slope, offset = np.polyfit(exact.astype(np.float64), scores.astype(np.float64), 1)
    error = float(np.std(scores - (slope * exact + offset)))
    return threshold, error if error > 1e-6 * float(np.std(scores)) else 0.0
