"""What a direction of the embedding stands for: images furthest along it, properties that follow it, words.

Images are split into two halves. A direction that was fitted to one half is judged on the other, and so is a word.
What a direction shows counts if it shows more than random directions of the same space do.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import rankdata

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.whitening import Whitening, whitening

# Random directions: at least, for each direction that is explained, and at most; and those in memory at once.
LEAST_RANDOM, RANDOM_PER_DIRECTION, MOST_RANDOM, CHUNK = 1_000, 60, 6_000, 100
# The shrinkage of few images.
LEAST_SHRUNK = 0.3
# Words that the first half chooses, and images with a word in each half.
CHOSEN, LEAST_WITH_WORD = 5, 5
# Images of each half that have a property.
LEAST_MEASURED = 10
# Part of the images that counts as furthest along, the least and largest number, and nearest images to each.
FURTHEST, LEAST_FURTHEST, MOST_FURTHEST, NEAREST = 0.1, 10, 100, 20
# A word is removed if counterfactuals have it this part as often as the furthest images.
REMOVED = 0.5

# Images, or groups of them, from which halves say anything.
LEAST = 40
# FALCON (Kalibhat et al. 2023): a dimension is active so many standard deviations above its mean; a group of dimensions
# is active in more than so many images. k of n values lie z or more above only if n ≥ k (1 + z²) (Samuelson 1968).
ACTIVE, SHARED, MOST_GROUPS = 5.0, 10, 200
LEAST_FOR_GROUPS = (SHARED + 1) * round(1 + ACTIVE**2)

Places = NDArray[np.intp]


def halves_of(count: int, groups: GroupNumbers | None, seed: int) -> NDArray[np.bool_]:
    """Draws two halves of images, `[count]`, of which no group is in both; True = the second."""
    own = group_numbers(groups, count)
    order = np.random.default_rng(seed).permutation(own.max(initial=-1) + 1)
    return np.asarray(order[own] % 2 == 1)


def space_of(vectors: Floats, least: float | None = None) -> Whitening:
    """Returns the map that whitens unit vectors `[n, D]`, by their covariance, shrunk towards its mean variance.

    As far as Ledoit and Wolf (2004) estimate, which is for the covariance. Its inverse needs more where images are few:
    at least the part `least`; None = D / n, up to 0.3.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    count, size = vectors.shape
    moment, fourth = np.zeros((size, size)), 0.0
    for start in range(0, count, 4096):
        centred = vectors[start : start + 4096] - mean
        moment += centred.T @ centred
        fourth += float(np.square(np.square(centred).sum(axis=1)).sum())
    moment /= count
    squares = float(np.square(moment).sum())
    beyond = squares - float(np.trace(moment)) ** 2 / size
    part = min(1.0, (fourth / count - squares) / count / beyond) if beyond > 0 else 1.0
    part = max(part, min(LEAST_SHRUNK, size / count) if least is None else least)
    # Of the shrunk covariance itself: a ridge of part / (1 - part) has its directions, but a scale that vanishes.
    shrunk = (1 - part) * moment + part * np.trace(moment) / size * np.eye(size)
    return whitening(mean, shrunk, ridge=0)


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions by name, and the vector of each that was fitted to the first and to the second half, `[2, F, D]`.

    An image's place along a direction is the product of the vector and its embedding. Where directions are not fitted
    to halves, `agreeing` has the vectors whose agreement counts.
    """

    names: tuple[str, ...]
    vectors: Values
    agreeing: Values | None = None


def judged_scores(originals: Floats, vectors: Values, second: NDArray[np.bool_]) -> Floats:
    """Projects images on directions fitted to the other half, `[n, F]`; each half has mean 0 and variance 1."""
    scores = np.empty((len(originals), vectors.shape[1]), np.float32)
    for half, fitted in ((~second, vectors[1]), (second, vectors[0])):
        places = originals[half] @ fitted.T.astype(np.float32)
        scores[half] = (places - places.mean(axis=0)) / np.maximum(places.std(axis=0), 1e-12)
    return scores


def agreement_of(originals: Floats, vectors: Values) -> Values:
    """Returns the correlation of places along a direction by the first and the second half's vector, `[F]`."""
    places = [originals @ fitted.T.astype(np.float32) for fitted in vectors]
    first, second = (each - each.mean(axis=0, dtype=np.float64) for each in places)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0)))


def random_scores(
    originals: Floats, second: NDArray[np.bool_], spaces: tuple[Whitening, Whitening], directions: int, seed: int
) -> Iterator[Floats]:
    """Yields places along random directions of the whitened spaces of both halves, some directions at a time."""
    # Not the stream of the seed itself, from which simulated vectors may have been drawn.
    rng = np.random.default_rng((seed, LEAST_RANDOM))
    for start in range(0, count := random_count(directions), CHUNK):
        drawn = rng.standard_normal((min(CHUNK, count - start), originals.shape[1]))
        yield judged_scores(originals, np.stack([drawn @ space.matrix.T for space in spaces]), second)


def random_count(directions: int) -> int:
    return min(max(LEAST_RANDOM, RANDOM_PER_DIRECTION * directions), MOST_RANDOM)


def least_beyond(largest: ArrayLike, directions: int) -> float:
    """Returns what the largest of `directions` random ones stays below in 95 % of draws."""
    return float(np.quantile(np.asarray(largest, np.float64), CONFIDENCE ** (1 / directions)))


def rank_correlations(scores: Floats, numbers: Values, second: NDArray[np.bool_]) -> tuple[Values, Values]:
    """Returns Spearman's ρ of places and numbers, `[F, K]` from `[n, F]` and `[n, K]`, NaN = not measured.

    It is taken in each half; of the two Fisher's transforms, weighted by their number of images less 3, the mean
    counts. The second array has the sums of these weights, `[K]`.
    """
    total, weights = np.zeros((scores.shape[1], numbers.shape[1])), np.zeros(numbers.shape[1])
    has_number = np.isfinite(numbers)
    for half in (~second, second):
        patterns, which = np.unique(has_number[half], axis=1, return_inverse=True)
        for pattern, present in enumerate(patterns.T):
            columns, weight = np.flatnonzero(which.ravel() == pattern), int(present.sum()) - 3
            if weight > 0:
                ranks, others = (unit_ranks(part[half][present]) for part in (scores, numbers[:, columns]))
                total[:, columns] += weight * np.arctanh(np.clip(ranks.T @ others, -1 + 1e-7, 1 - 1e-7))
                weights[columns] += weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.tanh(total / weights)), weights


def often_measured(numbers: Values, second: NDArray[np.bool_]) -> Places:
    """Returns the columns that enough images of each half have, and that vary there."""

    def is_often(values: Values) -> bool:
        there = values[np.isfinite(values)]
        return len(there) >= LEAST_MEASURED and bool(np.ptp(there) > 0)

    columns = range(numbers.shape[1])
    return np.array([k for k in columns if is_often(numbers[~second, k]) and is_often(numbers[second, k])], np.intp)


def group_means(values: ArrayLike, groups: GroupNumbers | None) -> Values:
    """Returns the mean of each group's values that are there, `[G, K]` from `[n, K]`; the values without groups."""
    rows = np.asarray(values, np.float64)
    if groups is None:
        return rows
    own, there = np.unique(groups, return_inverse=True)[1], np.isfinite(rows)
    left = scipy.sparse.csr_array((np.ones(len(own)), (own, np.arange(len(own)))))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((left @ np.where(there, rows, 0.0)) / (left @ there))


def unit_ranks(values: ArrayLike) -> Floats:
    """Returns the ranks of each column less their mean, of length 1, so that products are Spearman's correlations."""
    ranks = rankdata(values, axis=0)
    ranks -= ranks.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.nan_to_num(ranks / np.linalg.norm(ranks, axis=0)), np.float32)


def correlation_ends(correlations: Values, counts: ArrayLike) -> tuple[Values, Values]:
    """Returns 95 % intervals of Spearman correlations (Bonett and Wright 2000), each from `counts` images or groups."""
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt((1 + correlations**2 / 2) / np.maximum(np.asarray(counts, np.float64) - 3, 0))
        middle, far = np.arctanh(correlations), float(ndtri((1 + CONFIDENCE) / 2)) * error
    return np.tanh(middle - far), np.tanh(middle + far)


@dataclass(frozen=True, eq=False)
class Words:
    """Words, and which images have each, `[n, W]` in columns."""

    names: tuple[str, ...]
    members: scipy.sparse.csr_array

    def of_groups(self, groups: GroupNumbers) -> "Words":
        """Returns the words of groups: those that half of a group's images have, or more."""
        parts = [group_means(self.members[:, [column]].toarray(), groups) >= 0.5 for column in range(len(self.names))]
        columns = np.hstack(parts) if parts else np.zeros((len(np.unique(groups)), 0))
        return Words(self.names, scipy.sparse.csr_array(columns.astype(np.float32)))

    def within(self, second: NDArray[np.bool_]) -> "Words":
        """Returns the words that enough images of each half have, and enough have not."""
        halves = [self.members[half] for half in (np.flatnonzero(~second), np.flatnonzero(second))]
        counts = [np.asarray(half.sum(axis=0)).ravel() for half in halves]
        kept = np.logical_and.reduce(
            [
                (n >= LEAST_WITH_WORD) & (half.shape[0] - n >= LEAST_WITH_WORD)
                for n, half in zip(counts, halves, strict=True)
            ]
        )
        columns = np.flatnonzero(kept)
        return Words(tuple(self.names[column] for column in columns), self.members[:, columns])


@dataclass(frozen=True, eq=False)
class Areas:
    """How well words separate images along directions, in one half: areas under the ROC curve, `[F, W]`."""

    areas: Values
    # The images with each word, of so many, `[W]`.
    having: Values
    count: int

    @functools.cached_property
    def by_chance(self) -> Values:
        """The standard deviation of a word that has nothing to do with the direction, `[W]`."""
        return np.asarray(np.sqrt((self.count + 1) / (12 * self.having * (self.count - self.having))))

    @property
    def deviations(self) -> Values:
        """The areas in standard deviations of chance, `[F, W]`."""
        return np.asarray((self.areas - 0.5) / self.by_chance)


def areas_of(scores: Floats, words: Words, half: Places) -> Areas:
    """Returns the probability that an image with the word lies further along than one without it (Mann-Whitney)."""
    members = words.members[half]
    count, having = len(half), np.asarray(members.sum(axis=0), np.float64).ravel()
    sums = np.asarray(members.T @ rankdata(scores[half], axis=0)).T
    areas = (sums - having * (having + 1) / 2) / (having * (count - having))
    return Areas(areas, having, count)


def area_ends(area: float, having: int, without: int) -> tuple[float, float]:
    """Returns the 95 % interval of an area of so many images with and without a word, by Newcombe's method 5 (2006)."""
    far = float(ndtri((1 + CONFIDENCE) / 2))

    def beyond(true: float) -> float:
        rest = (1 - true) / (2 - true) + true / (1 + true)
        variance = true * (1 - true) * (1 + (having + without - 2) / 2 * rest) / (having * without)
        return (area - true) ** 2 - far**2 * variance

    # At the area itself it is below 0, or 0 at the ends of the range.
    low = 0.0 if area == 0 else float(brentq(beyond, 0.0, min(area, 1 - 1e-12)))
    high = 1.0 if area == 1 else float(brentq(beyond, max(area, 1e-12), 1.0))
    return low, high


def chosen_words(areas: Areas, removed: NDArray[np.bool_] | None = None) -> list[Places]:
    """Returns, for each direction, the words that lie furthest along it, without those that are removed `[F, W]`."""
    deviations = areas.deviations if removed is None else np.where(removed, -np.inf, areas.deviations)
    best = np.argsort(-deviations, axis=1, kind="stable")[:, :CHOSEN]
    return [row[deviations[place][row] > 0] for place, row in enumerate(best)]


def largest_by_chance(scores: Floats, words: Words, second: NDArray[np.bool_]) -> Values:
    """Returns, for each random direction, the largest deviation of the words that its first half chooses, `[F]`."""
    first, last = (areas_of(scores, words, np.flatnonzero(half)) for half in (~second, second))
    deviations = last.deviations
    return np.array([deviations[k][own].max(initial=0.0) for k, own in enumerate(chosen_words(first))])


def furthest(scores: Values, count: int | None = None) -> Places:
    """Returns the images furthest along a direction, the furthest first."""
    number = int(np.clip(FURTHEST * len(scores), LEAST_FURTHEST, MOST_FURTHEST)) if count is None else count
    return np.argsort(-scores, kind="stable")[:number]


def counterfactuals(originals: Floats, vector: Values, scores: Values, images: Places) -> Places:
    """Returns, for each of some images, the lowest of the images that are nearest to it in all other directions.

    Nearest by the cosine of embeddings, centred, without their part along the vector: FALCON's contrast (Kalibhat et
    al. 2023), whose other directions are the other dimensions.
    """
    centred = originals - originals.mean(axis=0)
    along = (vector / max(float(np.linalg.norm(vector)), 1e-300)).astype(np.float32)
    rest = centred - np.outer(centred @ along, along)
    rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
    cosines = rest[images] @ rest.T
    cosines[np.arange(len(images)), images] = -np.inf
    near = np.argpartition(-cosines, min(NEAREST, len(scores) - 1) - 1, axis=1)[:, :NEAREST]
    return np.asarray(near[np.arange(len(images)), np.argmin(scores[near], axis=1)])


def removed_words(originals: Floats, vectors: Values, scores: Floats, words: Words, half: Places) -> NDArray[np.bool_]:
    """Returns the words that counterfactuals share with the furthest images of a half, `[F, W]`."""
    members, removed = words.members[half], np.zeros((scores.shape[1], len(words.names)), bool)
    for direction, places in enumerate(scores[half].T):
        high = furthest(places)
        low = counterfactuals(originals[half], vectors[direction], places, high)
        often, contrast = (np.asarray(members[images].mean(axis=0)).ravel() for images in (high, low))
        removed[direction] = contrast >= REMOVED * np.maximum(often, 1e-12)
    return removed


def falcon_groups(active: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, ...], Places]]:
    """Yields groups of dimensions that are active together in more than `SHARED` images, and these images.

    A group has all dimensions that are active in all of its images. Those of the most images come first.
    """
    often = np.flatnonzero(active.sum(axis=0) > SHARED)
    found, waiting = dict[tuple[int, ...], NDArray[np.bool_]](), [active[:, d] for d in often]
    while waiting and len(found) < MOST_GROUPS:
        images = waiting.pop(0)
        dimensions = tuple(int(d) for d in often[active[np.ix_(images, often)].all(axis=0)])
        if dimensions in found:
            continue
        found[dimensions] = images
        together = active[:, [d for d in often if d not in dimensions]] & images[:, None]
        waiting += [together[:, d] for d in np.flatnonzero(together.sum(axis=0) > SHARED)]
    for dimensions, images in sorted(found.items(), key=lambda each: (-each[1].sum(), each[0])):
        yield dimensions, np.flatnonzero(images)
