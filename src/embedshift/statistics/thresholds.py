"""Pairs of images, and the cosines that few of them reach; in float32, so that copies are equal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.errors import UsageError
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES
from embedshift.statistics.sample import RESAMPLES, group_numbers, weights
from embedshift.statistics.vectors import normalised

# Number of images whose pairs are all held in memory: 33.5 million pairs, of 8 bytes each; twice with a gallery.
MOST_IMAGES = 8_192
# The rate of false matches at which what views find is compared, and the name of that metric.
RATE = 0.001
MATCHED = f"matched@{RATE:g}"
# The least number of matching pairs for which a rate is defined.
_LEAST_PAIRS = 10
_BLOCK = 512
THRESHOLDS = pl.Schema({"false_match_rate": float, "threshold": float, "ci_low": float, "ci_high": float})
Cosines = NDArray[np.float32]
Indices = NDArray[np.uint16]


@dataclass(frozen=True)
class ScoredPairs:
    """All pairs of images that have a direction and are of different groups, the most similar first."""

    cosines: Cosines
    first: Indices
    second: Indices
    valid: NDArray[np.bool_]
    # Of the images that have a direction; None = images are independent.
    groups: GroupNumbers | None = None

    @property
    def images(self) -> int:
        return int(self.valid.sum())

    @property
    def equivalent_images(self) -> int:
        count = len(self.cosines)
        return (1 + math.isqrt(1 + 8 * count)) // 2 if count else min(1, self.images)


def all_pairs(originals: ArrayLike, groups: GroupNumbers | None = None) -> ScoredPairs:
    """Returns the pairs of originals `[n, D]`."""
    vectors = normalised(originals)
    if len(vectors) > MOST_IMAGES:
        raise ValueError(f"all pairs of {len(vectors)} images are too many: {MOST_IMAGES} at most")
    valid = np.asarray(np.isfinite(vectors).all(axis=1))
    rows = np.flatnonzero(valid).astype(np.uint16)
    vectors = vectors[valid]
    n = len(vectors)
    cosines = np.empty(n * (n - 1) // 2, np.float32)
    end = 0
    for start in range(0, n, _BLOCK):
        block = np.clip(vectors[start : start + _BLOCK] @ vectors[start:].T, -1.0, 1.0)
        for row, row_cosines in enumerate(block):
            begin, end = end, end + n - start - row - 1
            cosines[begin:end] = row_cosines[row + 1 :]
    order = np.argsort(-cosines, kind="stable")
    first = np.repeat(rows, np.arange(n)[::-1])[order]
    second = np.concatenate([rows[:0], *(rows[row + 1 :] for row in range(n))])[order]
    return _between_groups(ScoredPairs(cosines[order], first, second, valid), groups)


def _between_groups(pairs: ScoredPairs, groups: GroupNumbers | None) -> ScoredPairs:
    if groups is None:
        return pairs
    apart = groups[pairs.first] != groups[pairs.second]
    own = groups[: len(pairs.valid)][pairs.valid]
    return ScoredPairs(pairs.cosines[apart], pairs.first[apart], pairs.second[apart], pairs.valid, own)


def least_false_match_rate(images: int) -> float:
    """Returns the smallest false-match rate that can be estimated from so many images: ten of all their pairs."""
    return _LEAST_PAIRS / (images * (images - 1) / 2) if images > 1 else math.inf


def check_false_match_rate(false_match_rates: Sequence[float], images: int) -> None:
    for false_match_rate in false_match_rates:
        if false_match_rate < least_false_match_rate(images):
            needed = math.ceil((1 + math.sqrt(1 + 8 * _LEAST_PAIRS / false_match_rate)) / 2)
            least = least_false_match_rate(images)
            instead = f"use {least:.2g} or more" if least < 1 else "measure more images"
            raise UsageError(
                f"`false_match_rate` {false_match_rate:g} needs {needed} images with non-zero embeddings, "
                f"there are {images}: {instead}"
            )


def allowed_pairs(false_match_rate: float, count: float) -> int:
    """Returns how many of `count` pairs may match at a rate; rounding errors near integers are removed."""
    return int(false_match_rate * count * (1 + 1e-12) + 1e-9)


def threshold(pairs: ScoredPairs, false_match_rate: float) -> float:
    """Returns the least cosine that at most a fraction `false_match_rate` of all pairs reaches."""
    allowed = allowed_pairs(false_match_rate, len(pairs.cosines))
    if allowed >= len(pairs.cosines):
        return float(pairs.cosines[-1])
    return _least_above(pairs.cosines, allowed)


def _least_above(cosines: Cosines, allowed: int) -> float:
    """Returns the least of the cosines, the highest first, above the first that is one too many; NaN if none is."""
    above = np.searchsorted(-cosines, -cosines[allowed])
    return float(cosines[above - 1]) if above else math.nan


def threshold_at(scores: Values, rate: float, least: int) -> float:
    """Returns the least score that at most a fraction `rate` of all reaches; NaN if fewer than `least` may.

    Example:
        >>> threshold_at(np.array([0.1, 0.9, 0.5, 0.7]), 0.5, 1)
        0.7
    """
    allowed = allowed_pairs(rate, len(scores))
    if allowed < least:
        return np.nan
    if allowed >= len(scores):
        return float(scores.min())
    refused = -np.partition(-scores, allowed)[allowed]
    return float(scores[scores > refused].min(initial=np.inf))


def resampled_thresholds(pairs: ScoredPairs, false_match_rate: float, seed: int) -> Values:
    """Thresholds of resamples of images, or groups; one drawn c times counts c times, its copies are no pair."""
    rows = np.cumsum(pairs.valid) - 1
    top = min(len(pairs.cosines), 2 * allowed_pairs(false_match_rate, len(pairs.cosines)) + 200)
    groups = group_numbers(pairs.groups, pairs.images)
    sizes = np.bincount(groups)
    parts = [
        part
        for drawn in weights(len(sizes), seed=seed, resamples=RESAMPLES)
        for part in _weighted_thresholds(
            pairs,
            false_match_rate,
            drawn[:, groups].T.astype(np.float32),
            ((drawn * sizes) ** 2).sum(axis=1),
            rows,
            top,
        )
    ]
    return np.concatenate(parts)


def _weighted_thresholds(
    pairs: ScoredPairs, false_match_rate: float, counts: Cosines, within: Values, rows: NDArray[np.intp], top: int
) -> list[Values]:
    """Returns thresholds of resamples `[n, r]`, some at a time; starts with the `top` pairs, then doubles them."""
    # `within` is the number of ordered pairs within groups, of an image with itself too, `[r]`.
    step, thresholds = max(1, 2**22 // top), list[Values]()
    for start in range(0, counts.shape[1], step):
        part = counts[:, start : start + step]
        total = part.sum(axis=0, dtype=np.float64)
        pairs_there = (total**2 - within[start : start + step]) / 2
        allowed = false_match_rate * pairs_there * (1 + 1e-12) + 1e-9
        count = top
        while True:
            times = part[rows[pairs.first[:count]]] * part[rows[pairs.second[:count]]]
            reached = np.cumsum(times, axis=0, dtype=np.float64)
            if count == len(pairs.cosines) or (reached[-1] > allowed).all():
                break
            count = min(2 * count, len(pairs.cosines))
        thresholds.append(_least_allowed(pairs.cosines[:count], times, reached <= allowed))
    return thresholds


def _least_allowed(cosines: Cosines, times: Cosines, allowed: NDArray[np.bool_]) -> Values:
    refused = np.where(allowed.all(axis=0), len(cosines), allowed.argmin(axis=0))
    limit = np.append(cosines, -np.inf)[refused]
    fits = (cosines[:, None] > limit) & (times > 0)
    last = len(cosines) - 1 - fits[::-1].argmax(axis=0)
    return np.where(fits.any(axis=0), cosines[last].astype(np.float64), np.inf)


def thresholds(pairs: ScoredPairs, false_match_rates: Sequence[float], seed: int) -> pl.DataFrame:
    """Returns thresholds at some false-match rates with 95 % intervals: percentiles over resamples of the images."""
    check_false_match_rate(false_match_rates, pairs.equivalent_images)
    rows, tail = [], (1 - CONFIDENCE) / 2
    for false_match_rate in false_match_rates:
        low = high = math.nan
        if (pairs.images if pairs.groups is None else len(np.unique(pairs.groups))) >= LEAST_IMAGES:
            resampled = resampled_thresholds(pairs, false_match_rate, seed)
            ends = np.quantile(resampled, (tail, 1 - tail), method="nearest")
            low, high = np.where(np.isfinite(ends), ends, np.nan).tolist()
        rows.append((false_match_rate, threshold(pairs, false_match_rate), low, high))
    return pl.DataFrame(rows, schema=THRESHOLDS, orient="row").fill_nan(None)
