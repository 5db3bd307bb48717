"""Near-duplicates and duplicates among images.

Near-duplicates are closer to each other than an image is to its views under the mildest change. Duplicates are pairs
that are nearer than the nearest of that many different images are expected to be.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, GroupNumbers, Values, release_memory
from embedshift.statistics.search_index import LEAST_PAIRED, NearPairs
from embedshift.statistics.vectors import normalised

# The tail holds the nearest fiftieth of the pairs, at most ten for each image and at least 20 in all. The nearest tenth
# of a tail may be copies. First a longer tail is taken, of which the nearest half may be.
START, OF_AN_IMAGE, LEAST_PAIRS, NEAREST, FIRST_NEAREST, FIRST_LONGER = 0.02, 10, 20, 0.1, 0.5, 2.5
# Embeddings with this cosine are equal but for rounding.
EQUAL = 1 - 1e-6
# Pairs at a cosine that so few pairs of different images are expected to reach are copies.
SURE = 0.1
# Images, or groups, below which there are too few pairs; and the pairs that show the tail: of so many images at most
# with so many others.
LEAST_IMAGES, DRAWN, OTHERS = 20, 1_000, 20_000
# Rows and columns of cosines at once, and the largest error of one in float32.
_ROWS, _COLUMNS, _NEAR = 1_024, 8_192, 1e-5
# False pairs that are expected in the whole set, unless the user chooses.
EXPECTED_FALSE = 1.0
# More than this times the expected pairs, in sets of three images or more, are no chance.
MOST_IN_SETS = 3
# Relative distances: closer than the first, images are near-duplicates even if the mildest change moves them less;
# beyond the second they are none, even if it moves them more.
_NEAR_DISTANCE, _SMALL = 0.05, 0.1
# A cosine closer to 1 is that of an unchanged embedding.
_UNMOVED = 1e-9
# Rows of a block of cosines to connect, and its columns: more than the images of which all pairs are compared.
_BLOCK, _LARGE = 512, 2**16
# How pairs of many images are found: by FAISS, or without it of the first images alone.
FAISS, FIRST = "faiss", "first"
Positions = NDArray[np.int64]


def near_cosine(medians: Iterable[float | None], baseline: float) -> float:
    """Returns the cosine from which two images are near-duplicates, from each augmentation's median cosine."""
    mildest = max((median for median in medians if median is not None and median < 1 - _UNMOVED), default=1.0)
    nearest, furthest = (1 - distance * (1 - baseline) for distance in (_NEAR_DISTANCE, _SMALL))
    return max(min(mildest, nearest), furthest)


def mean_cosine(vectors: ArrayLike) -> float:
    given = np.asanyarray(vectors)
    count, total = len(given), np.zeros(given.shape[1])
    for start in range(0, count, _LARGE):
        total += np.nan_to_num(normalised(given[start : start + _LARGE])).sum(axis=0)
        release_memory(given, start + _LARGE)
    return float((np.square(total).sum() - count) / max(1, count * (count - 1)))


def unit_float32(vectors: Floats) -> Floats:
    """Returns vectors at length 1, in float32; those without a direction are 0."""
    return np.nan_to_num(normalised(vectors)).astype(np.float32)


def components(
    directions: Floats, least: float, groups: GroupNumbers | None = None, near: NearPairs | None = None
) -> GroupNumbers:
    """Returns the components of unit vectors `[n, D]`, or of groups, in which a cosine of `least` connects two.

    All pairs are compared, or those that `near` finds.
    """
    labels = np.arange(len(directions)) if groups is None else groups
    waiting, count = list[tuple[Positions, Positions]](), 0
    for pairs in _connecting(directions, least, near):
        waiting.append(pairs)
        count += len(pairs[0])
        if count > len(directions):
            labels, waiting, count = joined(labels, waiting), [], 0
    return np.asarray(joined(labels, waiting), np.intp)


def _connecting(directions: Floats, least: float, near: NearPairs | None) -> Iterator[tuple[Positions, Positions]]:
    if near is not None:
        for first, second, cosines in near.pairs(lambda: least):
            is_near, unsure = cosines >= least, np.flatnonzero(np.abs(cosines - least) <= near.error)
            is_near[unsure] = cosines_of(directions, first[unsure], second[unsure]) >= least
            yield first[is_near], second[is_near]
        return
    for start in range(0, len(directions), _BLOCK):
        for left in range(start, len(directions), _LARGE):
            cosines = directions[start : start + _BLOCK] @ directions[left : left + _LARGE].T
            rows, columns = np.nonzero(cosines >= np.float32(least))
            yield start + rows, left + columns
        release_memory(directions, len(directions))


def joined(labels: GroupNumbers, pairs: Sequence[tuple[Positions, Positions]]) -> GroupNumbers:
    """Returns group numbers of images, `[n]`, in which the groups of both ends of each pair are one."""
    if not pairs:
        return labels
    ends = tuple(labels[np.concatenate(end)] for end in zip(*pairs, strict=True))
    graph = scipy.sparse.coo_array((np.ones(len(ends[0])), ends), shape=(len(labels), len(labels)))
    return np.asarray(scipy.sparse.csgraph.connected_components(graph, directed=False)[1][labels])


@dataclass(frozen=True)
class Tail:
    """How many of the pairs of different images reach a cosine, far above most of them.

    Beyond `start` their fraction, there `above`, falls exponentially with the cosine, or, where that would still expect
    pairs at 1, with -log(1 - cosine), because the fraction of points within a small distance is a power of it. `start`
    is on that scale, which is linear if it is the cosine itself.
    """

    pairs: float
    above: float
    start: float
    rate: float
    is_linear: bool

    def expected(self, cosines: ArrayLike) -> Values:
        fraction = self.above * np.exp(-self.rate * (_scaled(cosines, self.is_linear) - self.start))
        return np.asarray(self.pairs * np.minimum(fraction, 1.0))

    def threshold(self, expected: float) -> float:
        """Returns the cosine from which so many are expected; never below `start`."""
        value = self.start + max(0.0, np.log(self.pairs * self.above / expected)) / self.rate
        return float(value if self.is_linear else -np.expm1(-value))


def _scaled(cosines: ArrayLike, is_linear: bool) -> Values:
    values = np.asarray(cosines, np.float64)
    return values if is_linear else -np.log1p(-np.minimum(values, 1 - 1e-15))


def fit_tail(
    vectors: Floats, groups: GroupNumbers | None = None, *, seed: int, split: int | None = None
) -> Tail | None:
    """Fits the tail of unit vectors of images, `[n, D]`, or of their `groups`; or between the first `split` and others.

    None for too few, or if all are alike. It is fitted again without the pairs that it says are surely copies, until
    there are none.
    """
    count = len(vectors)
    sides = [np.arange(count)] * 2
    if split is not None:
        groups = np.repeat([0, 1], [split, count - split])
        sides = sorted([np.arange(split), np.arange(split, count)], key=len)
    groups = np.arange(count) if groups is None else groups
    sizes = np.bincount(groups).astype(np.float64)
    pairs = float(count**2 - np.square(sizes).sum()) / 2
    if (np.count_nonzero(sizes) if split is None else (2 * pairs) ** 0.5) < LEAST_IMAGES:
        return None
    orders = (np.random.default_rng(seed).permutation(side) for side in sides)
    drawn, others = (np.sort(order[:most]) for order, most in zip(orders, (DRAWN, OTHERS), strict=True))
    rows, columns = vectors[drawn], vectors[others]
    release_memory(vectors, count)
    apart = (groups[others] != group for group in groups[drawn])
    cosines = np.concatenate([(columns @ row)[is_other] for row, is_other in zip(rows, apart, strict=True)])
    cosines = cosines[cosines < EQUAL]
    if len(cosines) < LEAST_PAIRS:
        return None
    above = max(min(START, OF_AN_IMAGE * count / pairs), LEAST_PAIRS / pairs)
    tail, remaining = _tail_of(cosines, pairs, min(0.5, FIRST_LONGER * above), FIRST_NEAREST), 0
    while tail is not None and remaining != len(cosines):
        remaining = len(cosines)
        cosines = cosines[cosines < tail.threshold(SURE)]
        tail = _tail_of(cosines, pairs, above, NEAREST)
    return tail


def _tail_of(cosines: Floats, pairs: float, above: float, nearest: float) -> Tail | None:
    """Returns the tail with the most likely rate where the nearest pairs are censored: they count, but not how near."""
    ends = np.quantile(cosines, (1 - above, 1 - nearest * above))
    tail = None
    for is_linear in (True, False):
        start, end = (float(value) for value in _scaled(ends, is_linear))
        beyond = _scaled(cosines[cosines > ends[0]], is_linear)
        total = float((np.minimum(beyond, end) - start).sum())
        inner = np.count_nonzero(beyond < end)
        tail = Tail(pairs, above, start, inner / total, is_linear) if total > 0 and inner else None
        if tail is not None and tail.expected(1.0) <= SURE:
            break
    return tail


def pairs_above(
    vectors: Floats, least: float, most: int, near: NearPairs | None = None, *, split: int | None = None
) -> tuple[Positions, Positions]:
    """Returns the pairs of images with a cosine of `least` or more, the nearest first, `most` at most.

    With `split`, only pairs of one of the first so many images and one of the others.

    Unit vectors are `[n, D]`. All pairs are compared, block by block, so that memory does not grow with their number,
    nor with a mapped file; or those that `near` finds.
    """
    first, second, cosines = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    blocks = _blocks(vectors, lambda: least, most, split) if near is None else near.pairs(lambda: least)
    for rows, columns, roughly in blocks:
        if split is not None:
            kept = (rows < split) & (columns >= split)
            rows, columns, roughly = rows[kept], columns[kept], roughly[kept]
        nearest = np.argsort(-roughly, kind="stable")[: 2 * most] if len(roughly) > 2 * most else slice(None)
        exact = cosines_of(vectors, rows[nearest], columns[nearest])
        found = exact >= least
        first, second = np.append(first, rows[nearest][found]), np.append(second, columns[nearest][found])
        cosines = np.append(cosines, exact[found])
        if len(cosines) > most:
            first, second, cosines = _nearest(first, second, cosines, most)
            least = max(least, float(cosines[-1])) if len(cosines) == most else least
        release_memory(vectors, len(vectors))
    return _nearest(first, second, cosines, most)[:2]


def _nearest(first: Positions, second: Positions, cosines: Values, most: int) -> tuple[Positions, Positions, Values]:
    """Returns the nearest of some pairs, each once."""
    order = np.lexsort((second, first, -cosines))
    first, second, cosines = first[order], second[order], cosines[order]
    again = np.zeros(len(first), np.bool_)
    again[1:] = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    kept = np.flatnonzero(~again)[:most]
    return first[kept], second[kept], cosines[kept]


def _blocks(
    vectors: Floats, least: Callable[[], float], most: int, split: int | None
) -> Iterator[tuple[Positions, Positions, Floats]]:
    last = len(vectors) if split is None else split
    for top in range(0, last, _ROWS):
        for left in range(top if split is None else split, len(vectors), _COLUMNS):
            block = (vectors[top : min(top + _ROWS, last)] @ vectors[left : left + _COLUMNS].T).ravel()
            width = min(_COLUMNS, len(vectors) - left)
            places = np.flatnonzero(block >= np.float32(least() - _NEAR))
            places = places[left + places % width > top + places // width]
            if len(places) > most:
                places = places[np.argsort(-block[places], kind="stable")[:most]]
            yield top + places // width, left + places % width, block[places]


def sets_of(pairs: tuple[Positions, Positions], count: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Returns, for pairs of `count` images, the set of connected images that each is in, and if that has three or more.

    Pairs of different images that are near by chance hardly ever share an image; those of a tight class do.
    """
    edges = scipy.sparse.coo_array((np.ones(len(pairs[0])), pairs), shape=(count, count))
    numbers = scipy.sparse.csgraph.connected_components(edges, directed=False)[1]
    return numbers[pairs[0]], np.bincount(numbers, minlength=count)[numbers[pairs[0]]] > 2


def cosines_of(vectors: ArrayLike, first: Positions, second: Positions) -> Values:
    """Returns the cosines of some pairs of vectors `[n, D]`, in float64; 1 at most."""
    given, cosines = np.asarray(vectors), np.empty(len(first))
    for start in range(0, len(first), _COLUMNS):
        part = slice(start, start + _COLUMNS)
        one, other = (normalised(given[places[part]]) for places in (first, second))
        cosines[part] = (one * other).sum(axis=1)
    return np.clip(np.nan_to_num(cosines, nan=-1.0), -1.0, 1.0)


def images_in(pairs: pl.DataFrame) -> int:
    """Returns how many images are in pairs of `image_id` and `other`."""
    return pl.concat([pairs["image_id"], pairs["other"]]).n_unique()


def rule_in_words(settings: Mapping[str, str], count: int) -> str:
    """Returns which pairs are listed, as `settings` of the table say, and among which images these are looked for."""
    ways = {FAISS: ", as far as FAISS finds them", FIRST: f", among the first {LEAST_PAIRED - 1:,} images alone"}
    among = ways.get(settings.get("compared", ""), "")
    if "threshold" in settings:
        return f"a cosine of {float(settings['threshold']):g} or more{among}"
    if count < LEAST_IMAGES:
        return f"equal embeddings (fewer than {LEAST_IMAGES} images, or groups, show no more without a threshold)"
    expected = float(settings.get("expected_false", EXPECTED_FALSE))
    return f"embeddings so near that {expected:g} such pair of different images is expected in the whole set{among}"
