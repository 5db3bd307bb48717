"""Split conformal thresholds: the best score of queries without a match, its order statistics and p-values.

A query is the unit. Scores within a millionth are ties, and a match lies strictly above a threshold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics.index import BACKGROUND, SearchIndex
from embedshift.statistics.index_parts import FLOAT32
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.judged import ROUNDING
from embedshift.statistics.retrieval import TIE, Gallery, Positions

COSINE, NORMALISED = "cosine", "normalised"
# Below every score: the best score of a query without a direction.
LEAST = -3.0
# The most groups of each part, and queries that are searched at once.
MOST_CALIBRATION, MOST_CHOOSING, MOST_JUDGED, QUERIES = 2_000, 300, 500, 2_048
# Resamples by which the score is chosen.
CHOICES = 200


def calibration_groups(groups: int) -> int:
    """Returns how many of the groups of a study calibrate: a third."""
    return min(MOST_CALIBRATION, round(groups / 3))


@dataclass(frozen=True, eq=False)
class Parts:
    """Parts of a study's images that are disjoint by groups; one image of a group, drawn by the seed, asks.

    Args:
        calibration: Images whose queries give the threshold, `[m]`; their originals are in no gallery.
        choosing: Images whose queries choose the score.
        background: Images with which scores are normalised.
        judged: Images of the gallery whose queries have a match.
        searched: Whether an image is in the gallery, bool `[n]`.
    """

    calibration: Positions
    choosing: Positions
    background: Positions
    judged: Positions
    searched: NDArray[np.bool_]

    @classmethod
    def of(cls, groups: GroupNumbers, seed: int) -> "Parts":
        """Splits images by their groups `[n]`: a third calibrates, a sixth chooses, a sixth is the background."""
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(groups))
        names, first = np.unique(groups[order], return_index=True)
        drawn = rng.permutation(len(names))
        count = len(names) // 6
        sizes = calibration_groups(len(names)), min(MOST_CHOOSING, count), min(BACKGROUND, count)
        *parts, rest = np.split(drawn, np.cumsum(sizes))
        searched = np.isin(groups, names[rest])
        calibration, choosing, background, judged = (order[first[part]] for part in (*parts, rest[:MOST_JUDGED]))
        return cls(calibration, choosing, background, judged, searched)


def scores_of(dim: int, background: Floats) -> list[SearchIndex]:
    """Returns the scores to choose from: cosines, and cosines less the mean of the highest with the background."""
    plain = SearchIndex(FLOAT32, dim, ())
    return [plain, SearchIndex(NORMALISED, dim, ({},), background)] if len(background) else [plain]


def score_name(score: SearchIndex) -> str:
    """Returns what a table calls a score."""
    return COSINE if score.background is None else NORMALISED


def best_scores(queries: Floats, own: Positions, gallery: Gallery, scores: Sequence[SearchIndex]) -> Values:
    """Returns the best score of each query in the gallery without its own group, `[S, q]` of unit vectors `[q, D]`."""
    levels = [np.concatenate([score.level_of_base(block) for _, block, _ in gallery.blocks()]) for score in scores]
    best = np.full((len(scores), len(queries)), LEAST)
    for start in range(0, len(queries), QUERIES):
        part = slice(start, start + QUERIES)
        places = _places(queries[part], own[part], gallery, levels)
        for number, score in enumerate(scores):
            value = gallery.cosines(queries[part].astype(np.float64), places[number])
            value = value - levels[number][places[number]] - score.level_of_queries(queries[part])
            there = (places[number] >= 0) & queries[part].any(axis=1)
            best[number, part] = np.where(there, value, LEAST)
    return best


def _places(queries: Floats, own: Positions, gallery: Gallery, levels: Sequence[Floats]) -> Positions:
    """Returns the position of the best of each score by float32 products, `[S, q]`; -1 where there is none."""
    rows, none = np.arange(len(queries)), np.full(len(queries), -1)
    best, places = np.full((len(levels), len(queries)), -np.inf), np.full((len(levels), len(queries)), -1)
    for start, cosines in gallery.cosines_with_others(queries.astype(np.float64), none, own):
        for number, level in enumerate(levels):
            values = cosines - level[start : start + cosines.shape[1]] if level.any() else cosines
            at = values.argmax(axis=1)
            is_better = values[rows, at] > best[number]
            best[number, is_better], places[number, is_better] = values[rows, at][is_better], start + at[is_better]
    return places


def own_scores(queries: Floats, originals: Floats, scores: Sequence[SearchIndex]) -> Values:
    """Returns the score of each query with its own original, `[S, q]`; both are unit vectors `[q, D]`."""
    cosines = (queries.astype(np.float64) * originals).sum(axis=1)
    there = queries.any(axis=1) & originals.any(axis=1)
    levels = [score.level_of_queries(queries) + score.level_of_base(originals) for score in scores]
    return np.array([np.where(there, cosines - level, LEAST) for level in levels])


def rank(count: int, wrong: float, confidence: float | None = None) -> int:
    """Returns which of `count` best scores, the smallest being 1, is the threshold; `count` + 1 if none is enough.

    It is the ⌈(1 − wrong)(count + 1)⌉-th; with a confidence also at least the first whose upper bound by Clopper and
    Pearson on the fraction of queries above it is at most `wrong`.

    Example:
        >>> rank(67, 0.05), rank(67, 0.05, 0.95), rank(58, 0.05, 0.95)
        (65, 67, 59)
    """
    least = math.ceil((1 - wrong) * (count + 1) - ROUNDING * count)
    if confidence is None or least > count:
        return least
    ranks = np.arange(1, count + 1)
    is_sure = betainc(ranks, count + 1 - ranks, 1 - wrong) <= 1 - confidence + ROUNDING
    return max(least, int(ranks[is_sure][0]) if is_sure.any() else count + 1)


def needed(wrong: float, confidence: float | None = None) -> int:
    """Returns the smallest number of calibration queries for which there is a threshold.

    Example:
        >>> needed(0.05), [needed(wrong, 0.95) for wrong in (0.05, 0.02, 0.01)]
        (19, [59, 149, 299])
    """
    on_average = math.ceil(1 / wrong - 1 - 1e-9)
    if confidence is None:
        return on_average
    return max(on_average, math.ceil(math.log1p(-confidence) / math.log1p(-wrong) - 1e-9))


def needed_for_flags(wrong: float, having: float) -> int:
    """Returns how many calibration queries find matches where a fraction `having` of the queries has one."""
    return math.ceil(1 / (wrong * having) - 1e-9)


def threshold(best: ArrayLike, wrong: float, confidence: float | None = None) -> float:
    """Returns the threshold of best scores `[m]`; NaN if they are too few."""
    values = np.sort(np.asarray(best, np.float64))
    place = rank(len(values), wrong, confidence)
    return float(values[place - 1]) if place <= len(values) else math.nan


def is_match(scores: ArrayLike, limit: ArrayLike) -> NDArray[np.bool_]:
    """Returns whether scores are strictly above a threshold, by more than a tie."""
    return np.asarray(scores, np.float64) > np.asarray(limit, np.float64) + TIE


def p_values(scores: ArrayLike, best: ArrayLike) -> Values:
    """Returns conformal p-values: the rank of a score among itself and the best scores `[m]` without a match.

    Example:
        >>> p_values([0.9, 0.5, 0.1], [0.3, 0.5, 0.7]).tolist()
        [0.25, 0.75, 1.0]
    """
    values = np.sort(np.asarray(best, np.float64))
    below = np.searchsorted(values, np.asarray(scores, np.float64) - TIE, side="left")
    return np.asarray((1 + len(values) - below) / (len(values) + 1))


def flagged(p: ArrayLike, wrong: float) -> NDArray[np.bool_]:
    """Selects the queries of a batch that the procedure of Benjamini and Hochberg flags, bool `[q]`.

    Example:
        >>> flagged([0.01, 0.2, 0.03, 0.5], 0.1).tolist()
        [True, False, True, False]
    """
    values = np.asarray(p, np.float64)
    ordered = np.sort(values)
    passing = ordered <= wrong * np.arange(1, len(values) + 1) / max(1, len(values)) * (1 + ROUNDING)
    return np.asarray(values <= ordered[passing].max(initial=0.0))


def chosen_score(own: Values, best: Values, wrong: float, seed: int) -> int:
    """Returns the score for views of the choosing part, `[S, n, A]` each: 1 if it finds more in 95 % of resamples.

    The images are resampled, with the threshold of each resample, which a few images decide.
    """
    images, views = best.shape[1:]
    if len(own) == 1 or not images * views:
        return 0
    found, place = list[Values](), min(rank(images * views, wrong), images * views) - 1
    drawn = np.random.default_rng(seed).integers(images, size=(CHOICES, images))
    for one, without in zip(own, best, strict=True):
        limits = np.partition(without[drawn].reshape(CHOICES, -1), place, axis=1)[:, place]
        found.append(is_match(one[drawn], limits[:, None, None]).mean(axis=(1, 2)))
    return int(np.quantile(found[1] - found[0], 1 - CONFIDENCE) > 0)
