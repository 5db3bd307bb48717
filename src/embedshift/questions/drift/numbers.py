"""What happened to a batch of images, from its vectors: which known change, to which fraction of the images.

A change leaves a fingerprint: the mean shift δ of the reference images, in the space that their covariance whitens. The
mean m of another batch, less that of the reference, is p δ if a fraction p of its images has changed; p δ explains
2 p δ·m - p² δ·δ of m·m, the gain of the change. Both are taken without what noise adds to products, and again in
resamples of batch and reference. The change that gains most is named if its δ·m is beyond that of batches without a
change, and others win in few resamples. Content lies in directions in which images vary much, which whitening shrinks.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.meaning import space_of
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import Whitening

RESAMPLES = 200
# The part of calls over batches without a change in which none is named, at least.
SURE = 0.99
# A named set holds the changes that win in this part of the resamples, and at most so many names.
HELD, MOST_NAMES = 0.95, 3
# The score from which on more vectors may name a change: about one and a half deviations.
LEAST_SCORE = 0.5
# The part of the distance that a change, or two at once, must explain, if more remains than other images leave.
EXPLAINED = (0.5, 0.75)
# Splits of the reference, and draws of batches without a change.
SPLITS, FOLDS, DRAWS = 20, 5, 20_000
# Images, or groups of them, of a reference at least, those below which it names nothing, and vectors of a batch.
LEAST_REFERENCE, LEAST_NAMING, LEAST_BATCH = 20, 50, 10
# Batches of other content that are drawn hold this part of the images, those most like one.
NARROW = 8
CHUNK = 4096
# Relative difference of what two changes explain that is rounding of 32-bit sums, which differs between processors.
ROUNDING = 1e-5
# How often noise is in a number of the batch itself, and in those of resamples, which have their own, too.
_TIMES = np.array([1.0, *[2.0] * RESAMPLES])
NOTHING, CONTENT = "nothing", "other content, or an unknown change"
UNKNOWN, UNDECIDED = "a change that the study does not have", "changed, not decidable"


@dataclass(eq=False)
class Moments:
    """Sums over the unit vectors of a batch, and over Poisson resamples of it; memory does not grow with the batch.

    Args:
        size: The length D of a vector.
        seed: Seed of the resamples.

    Example:
        >>> moments = Moments(2)
        >>> _ = moments.add([[3.0, 0.0], [0.0, 1.0]])
        >>> moments.count, moments.means[0].tolist(), moments.means.shape
        (2, [0.5, 0.5], (201, 2))
    """

    size: int
    seed: int = 0
    count: int = 0
    # Sum over groups of their squared numbers of vectors.
    squares: float = 0.0
    totals: Values = field(init=False)
    counts: Values = field(init=False)

    def __post_init__(self) -> None:
        # The first row is of the batch itself.
        self.totals, self.counts = np.zeros((1 + RESAMPLES, self.size)), np.zeros(1 + RESAMPLES)

    def add(self, vectors: ArrayLike, groups: GroupNumbers | None = None) -> Floats:
        """Adds vectors of any length other than 0, `[n, D]`, and returns them at length 1; groups are drawn whole."""
        unit = normalised_float32(np.asarray(vectors, np.float32))
        own = group_numbers(groups, len(unit))
        rng = np.random.default_rng((self.seed, self.count))
        drawn = rng.poisson(1.0, (RESAMPLES, own.max(initial=-1) + 1)).astype(np.float32)
        for start in range(0, len(unit), CHUNK):
            rows = slice(start, start + CHUNK)
            weights = np.vstack([np.ones(len(unit[rows]), np.float32), drawn[:, own[rows]]])
            self.totals += weights @ unit[rows]
            self.counts += weights.sum(axis=1, dtype=np.float64)
        self.count += len(unit)
        self.squares += float(np.square(np.bincount(own)).sum())
        return unit

    @property
    def independent(self) -> float:
        """As how many independent vectors those of groups count, as if the vectors of a group were equal."""
        return self.count**2 / max(self.squares, 1.0)

    @property
    def means(self) -> Values:
        """The mean, and those of the resamples, `[1 + R, D]`."""
        return np.asarray(self.totals / np.maximum(self.counts, 1)[:, None])


class Fraction(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Named:
    """What is found in one batch.

    Args:
        count: The number of vectors.
        moved: The squared distance of the means, half of it, over the mean `1 - cos` of two reference images.
        gains: What each change explains alone, `[C]`.
        fractions: The fraction of images that each change would have reached, `[C]`.
        sets: For each change that is named, the changes that cannot be told from it, the best first.
        remains: The rest that named changes leave: `NOTHING`, `CONTENT`, `UNKNOWN`; `UNDECIDED` if none is named.
        needed: About how many vectors would name one; None = one is named, or no number would.
        needed_images: How many images of the reference it takes then; None = those that it has.
    """

    count: int
    moved: Fraction
    gains: Values
    fractions: tuple[Fraction, ...]
    sets: tuple[tuple[int, ...], ...]
    remains: str
    needed: int | None
    needed_images: int | None = None

    @property
    def best(self) -> int:
        """The change that explains most."""
        return int(self.gains.argmax())

    @property
    def is_undecided(self) -> bool:
        """Whether the batch moved along the fingerprints, but no change can be named."""
        return self.remains == UNDECIDED


@dataclass(frozen=True, eq=False)
class Reference:
    """The originals of a study and the fingerprints of its changes, in the space that whitens the originals.

    Args:
        names: The changes.
        families: The family of each change: levels of a family are one name.
        space: The map that whitens.
        images: The number of reference images.
        units: The number of their groups, or of images where all are independent.
        baseline: The mean `1 - cos` of two different originals.
        original: Mean of the originals as they are, and of resamples, `[1 + R, D]`.
        shifts: Mean whitened shifts of the changes, and of resamples, `[1 + R, C, D]`.
        gram_noise: What noise adds to δ·δ, `[C, C]`.
        cross_noise: What noise adds to δ·m, since the same images made δ and the mean of the reference, `[C]`.
        spread: Covariance of places of one original that made no fingerprint along the fingerprints, `[C, C]`.
        inflation: How many times as far apart such originals are as those that made them, squared.
        excess: How many times as far as by noise batches without a change lie, at most.
        content: How far batches of other content lie in the whitened space, and over how far as they are.
    """

    names: tuple[str, ...]
    families: tuple[str, ...]
    space: Whitening
    images: int
    units: int
    baseline: float
    original: Values
    shifts: Floats
    gram_noise: Values
    cross_noise: Values
    spread: Values
    inflation: float = 1.0
    excess: float = np.inf
    content: Sequence[float] | Values = (np.inf, np.inf)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether a change has a fingerprint at all: more than noise of these images gives, `[C]`."""
        return np.asarray(self.squares > np.maximum(np.diag(self.gram_noise), 1e-12))

    @property
    def names_changes(self) -> bool:
        """Whether there are images enough to name a change; with fewer, false names are not rare."""
        return self.units >= LEAST_NAMING

    @property
    def squares(self) -> Values:
        """δ·δ of each change, without noise, `[C]`."""
        lengths: Values = np.square(self.shifts[0].astype(np.float64)).sum(axis=1)
        return np.maximum(lengths - np.diag(self.gram_noise), 1e-12)

    def whitened(self, means: Values) -> Values:
        return np.asarray((means - self.space.mean) @ self.space.matrix.astype(np.float64))

    @functools.cached_property
    def originals(self) -> Values:
        """Whitened means of the originals, and of resamples, as far apart as other images would be, `[1 + R, D]`."""
        means: Values = self.whitened(self.original)
        means[1:] = means[0] + (means[1:] - means[0]) * np.sqrt(self.inflation)
        return means

    def covariance(self, count: float) -> Values:
        """Returns the covariance of products δ·m of batches of so many images without a change, `[C, C]`."""
        return np.asarray(self.spread * (1 / count + 1 / self.images))


def largest_score(covariance: Values, part: float) -> float:
    """Returns what the largest of normal numbers, in their deviations, exceeds in all but a part of draws."""
    deviations = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    values, axes = np.linalg.eigh(covariance / np.outer(deviations, deviations))
    drawn = np.random.default_rng(0).standard_normal((DRAWS, len(deviations)))
    scores = (drawn * np.sqrt(np.maximum(values, 0))) @ axes.T
    return float(np.quantile(scores.max(axis=1), part))


def square_and_noise(apart: Values) -> tuple[float, float]:
    """Returns the squared length of a vector `[0]`, and what noise gives, by its resamples `[1:]`."""
    return float(np.square(apart[0]).sum()), float(np.square(apart[1:] - apart[0]).sum(axis=1).mean())


def reference_of(
    names: Sequence[str],
    originals: Floats,
    views: Floats,
    *,
    families: Mapping[str, str] | None = None,
    groups: GroupNumbers | None = None,
    seed: int = 0,
) -> Reference:
    """Fits the fingerprints of changes to originals `[n, D]` and views `[n, C, D]`, all of unit length.

    Args:
        names: The changes, `[C]`.
        originals: The images as they are.
        views: Each image under each change.
        families: The family of changes that are levels of one; others are their own.
        groups: Which images are not independent, `[n]`; None = all are.
        seed: Seed of resamples and splits.
    """
    fitted = _fitted(names, originals, views, groups, seed)
    own = group_numbers(groups, len(originals))
    ratios, products, excesses, contents = list[Values](), list[Values](), list[float](), list[tuple[float, float]]()
    for split in range(SPLITS):
        rng = np.random.default_rng((seed, split // FOLDS))
        out = rng.permutation(own.max() + 1)[own] % FOLDS == split % FOLDS
        part = _fitted(names, originals[~out], views[~out], own[~out], seed)
        held, along = originals[out], part.space.matrix.astype(np.float64) @ part.shifts[0].T
        places = _sums((held - part.original[0]) @ along, own[out])
        products.append(places.sum(axis=0) / len(held) * (part.images / fitted.images))
        ratios.append(np.square(places).sum(axis=0) / len(held) / np.maximum(np.diag(part.spread), 1e-12))
        excesses.append(float(np.divide(*_beside(part, held).left([]))))
        contents.append(_of_content(originals, own, np.random.default_rng((seed, split))))
    content: Values = np.quantile(contents, (1 + CONFIDENCE) / 2, axis=0, method="higher")
    inflation = np.maximum(np.mean(ratios, axis=0), 1)
    spread = fitted.spread * np.sqrt(np.outer(inflation, inflation))
    own_families = tuple((families or {}).get(name, name) for name in names)
    return replace(
        fitted, families=own_families, cross_noise=np.mean(products, axis=0), spread=spread,
        inflation=float(inflation.mean()), excess=max(excesses), content=content,
    )  # fmt: skip


def _of_content(originals: Floats, groups: NDArray[np.intp], rng: np.random.Generator) -> tuple[float, float]:
    """Returns how far the images that are most like one lie from other images, whitened, and over as they are."""
    second = rng.permutation(groups.max() + 1)[groups] % 2 == 1
    fitted, others = originals[~second], originals[second]
    near = others @ (fitted[rng.integers(len(fitted))] - fitted.mean(axis=0))
    like = others[np.argsort(-near)[: max(len(others) // NARROW, LEAST_BATCH)]]
    return _beside(_fitted((), fitted, fitted[:, None][:, :0], groups[~second], 0), like).rest([])


def _beside(reference: Reference, held: Floats) -> "_Comparison":
    moments = Moments(held.shape[1])
    moments.add(held)
    return _Comparison(moments, reference)


def _fitted(
    names: Sequence[str], originals: Floats, views: Floats, groups: GroupNumbers | None, seed: int
) -> Reference:
    count, size = originals.shape
    # As if D more images had the same variance in all directions.
    space = space_of(originals, least=size / (size + count))
    shifts = ((views - originals[:, None]) @ space.matrix).reshape(count, -1)
    own = group_numbers(groups, count)
    units = int(own.max()) + 1
    drawn = np.random.default_rng((seed, count)).poisson(1.0, (RESAMPLES, units)).astype(np.float32)
    weights = np.vstack([np.ones(count, np.float32), drawn[:, own]])
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
    means: Floats = (weights @ shifts).reshape(1 + RESAMPLES, len(names), size).astype(np.float32)
    centred = originals - originals.mean(axis=0, dtype=np.float64)
    apart = _sums(shifts - shifts.mean(axis=0), own).reshape(units, len(names), size) / count
    noise = np.einsum("gcd,ged->ce", apart, apart)
    places = _sums(centred @ space.matrix, own) / count @ means[0].T.astype(np.float64)
    squared = count**2 * np.square(originals.mean(axis=0, dtype=np.float64)).sum() - count
    return Reference(
        tuple(names), tuple(names), space, count, units, float(1 - squared / count / (count - 1)),
        weights.astype(np.float64) @ originals, means, noise, np.zeros(len(names)), count * places.T @ places,
    )  # fmt: skip


def _sums(values: Values, groups: NDArray[np.intp]) -> Values:
    """Returns the sums over the rows of each group, in the order of their numbers."""
    order = np.argsort(groups, kind="stable")
    starts = np.unique(groups[order], return_index=True)[1]
    return np.add.reduceat(values[order], starts, axis=0, dtype=np.float64)


def judge(moments: Moments, reference: Reference, batches: int = 1) -> Named:
    """Names what happened to a batch, one of so many that are judged at once."""
    compared = _Comparison(moments, reference, SURE ** (1 / batches))
    first = compared.strongest([])
    named = [first] if first.is_named else []
    if named and (second := compared.strongest([first.change])).is_named:
        named.append(second)
    # Both if they explain enough, else the first if it does.
    while named and not compared.explain([each.change for each in named]):
        named.pop()
    chosen = [each.change for each in named]
    # A change that is named by itself is no other name of the first.
    sets = (tuple(own for own in each.alike if own == each.change or own not in chosen) for each in named)
    remains = compared.remains(chosen)
    if remains == NOTHING and not chosen and first.score > 1:
        remains = UNDECIDED
    return Named(
        moments.count, compared.moved, first.gains, compared.fractions(chosen), tuple(sets), remains,
        *compared.needed(first),
    )  # fmt: skip


class _Candidate(NamedTuple):
    """The change that explains most beside chosen ones, and what each explains `[C]`; `alike` are its other names."""

    change: int
    gains: Values
    alike: tuple[int, ...]
    margin: float
    score: float
    is_named: bool


class _Comparison:
    """A batch beside a reference, and resamples of both; in `part` of batches without a change none is named.

    `plain` is the mean of the batch less that of the originals, `apart` the same whitened (m), both `[1 + R, D]`.
    Without what noise adds, `gram` is δ·δ of pairs of changes, `[1 + R, C, C]`, and `products` δ·m, `[1 + R, C]`.
    """

    def __init__(self, moments: Moments, reference: Reference, part: float = SURE) -> None:
        self.moments, self.reference, self.part = moments, reference, part
        self.plain = moments.means - reference.original
        self.apart = reference.whitened(moments.means) - reference.originals
        shifts, noise = reference.shifts, _TIMES[:, None, None] * reference.gram_noise
        self.gram: Values = (shifts @ shifts.transpose(0, 2, 1)).astype(np.float64) - noise
        diagonal = np.einsum("rcc->rc", self.gram)
        np.maximum(diagonal, 1e-3 * reference.squares, out=diagonal)
        products = np.einsum("rcd,rd->rc", shifts, self.apart, optimize=True)
        self.products: Values = products - _TIMES[:, None] * reference.cross_noise

    @property
    def moved(self) -> Fraction:
        squares = np.square(self.plain).sum(axis=1) - _TIMES * square_and_noise(self.plain)[1]
        return _interval(np.maximum(squares, 0.0) / 2 / self.reference.baseline)

    def solved(self, columns: ArrayLike) -> tuple[Values, Values]:
        """Returns fractions of sets of changes `[..., k]`, `[1 + R, ..., k]`, and what they explain, `[1 + R, ...]`."""
        sets = np.asarray(columns, np.intp)
        return bounded_fractions(self.gram[:, sets[..., None], sets[..., None, :]], self.products[:, sets])

    def left(self, chosen: Sequence[int]) -> tuple[float, float]:
        """Returns the squared distance that chosen changes leave, and its noise, with the fractions found."""
        explained = np.einsum("k,rkd->rd", self.solved(chosen)[0][0], self.reference.shifts[:, list(chosen)])
        return square_and_noise(self.apart - explained)

    def rest(self, chosen: Sequence[int]) -> tuple[float, float]:
        """Returns how far chosen changes leave the batch from the reference, and over how far it is as it is."""
        left, plain = (square - noise for square, noise in (self.left(chosen), square_and_noise(self.plain)))
        return left, left / max(plain, 1e-12)

    def explain(self, chosen: Sequence[int]) -> bool:
        """Returns whether chosen changes leave no more than other images, or little beside what they explain."""
        (square, noise), explained = self.left(chosen), float(self.solved(chosen)[1][0])
        is_most = explained > EXPLAINED[len(chosen) - 1] * (explained + square - noise)
        return is_most or square <= self.reference.excess * noise

    def strongest(self, chosen: Sequence[int]) -> _Candidate:
        """Returns the change that explains most beside chosen ones."""
        fractions, explained = self.solved([[*chosen, each] for each in range(self.products.shape[1])])
        gains = explained - self.solved(chosen)[1][:, None]
        # A chosen change explains no more, nor does its copy.
        squares = np.diag(self.gram[0])
        overlap = self.gram[0] ** 2 / np.outer(squares, squares)
        gains[:, (overlap[:, list(chosen)] > 1 - 1e-6).any(axis=1)] = -np.inf
        best = int(gains[0].argmax())
        alike, margin = alike_changes(gains, self.reference.families)
        score, families = self.score(best, chosen), {self.reference.families[each] for each in alike}
        is_named = self.reference.names_changes and self.reference.seen[best] and score > 1
        is_named &= len(families) <= MOST_NAMES and (fractions[1:, best, -1] > 0).mean() >= HELD
        return _Candidate(best, gains[0], alike, margin, score, bool(is_named))

    def score(self, change: int, chosen: Sequence[int]) -> float:
        """Returns δ·m, less what chosen changes explain, over what a part of batches without the change stay below."""
        products, covariance = self.products, self.reference.covariance(self.moments.independent)
        if chosen:
            products = products - np.einsum("rck,rk->rc", self.gram[:, :, chosen], self.solved(chosen)[0])
            covariance = np.atleast_2d(np.cov(products[1:].T))
        others = [each for each in np.flatnonzero(self.reference.seen) if each not in chosen]
        limit = largest_score(covariance[np.ix_(others, others)], self.part) if others else np.inf
        return float(products[0, change] / np.sqrt(covariance[change, change]) / limit)

    def fractions(self, chosen: Sequence[int]) -> tuple[Fraction, ...]:
        """Returns the fraction of images with each change, the chosen estimated jointly; 0 to 1 if lost in noise."""
        found = self.solved(np.arange(self.products.shape[1])[:, None])[0][..., 0]
        found[:, list(chosen)] = self.solved(chosen)[0]
        pairs = zip(found.T, self.reference.seen, strict=True)
        return tuple(_interval(values) if is_seen else Fraction(0.0, 0.0, 1.0) for values, is_seen in pairs)

    def remains(self, chosen: Sequence[int]) -> str:
        """Says what chosen changes leave of the distance between batch and reference."""
        square, noise = self.left(chosen)
        if square > self.reference.excess * noise:
            return UNKNOWN if np.greater(self.rest(chosen), self.reference.content).any() else CONTENT
        limit = np.quantile(np.square(self.plain[1:] - self.plain[0]).sum(axis=1), CONFIDENCE) * self.reference.excess
        is_moved = square_and_noise(self.plain)[0] > limit
        return CONTENT if is_moved and not chosen else NOTHING

    def needed(self, first: _Candidate) -> tuple[int | None, int | None]:
        """Returns about how many vectors, and images of the reference, would name a change that leads as it does."""
        images, reach = self.reference.images, max(min(first.score, first.margin / 2.5, 1.0), 0.0)
        noise = reach**2 * (1 / self.moments.independent + 1 / images)
        if first.is_named or not self.reference.names_changes or first.score < LEAST_SCORE or noise == 0:
            return None, None
        wanted = noise - 1 / images
        vectors = int(np.ceil(1 / wanted if wanted > 0 else 2 / noise))
        return vectors, None if wanted > 0 else vectors


def bounded_fractions(gram: Values, products: Values) -> tuple[Values, Values]:
    """Returns the fractions p of k changes, `[..., k]`, within 0 to 1, that explain most, and how much, `[...]`.

    They explain `2 p·products - p·gram·p`, for products δ·m, `[..., k]`, and `gram` of δ·δ, `[..., k, k]`.
    """
    fractions, size = np.zeros_like(products), products.shape[-1]
    for _ in range(1 if size == 1 else 50):
        for place in range(size):
            others = np.einsum("...k,...k->...", gram[..., place, :], fractions)
            own = gram[..., place, place]
            rest = products[..., place] - others + own * fractions[..., place]
            fractions[..., place] = np.clip(rest / own, 0, 1)
    explained = 2 * (fractions * products).sum(axis=-1)
    return fractions, explained - np.einsum("...k,...kl,...l->...", fractions, gram, fractions)


def _interval(values: Values) -> Fraction:
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Fraction(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))


def alike_changes(gains: Values, families: Sequence[str]) -> tuple[tuple[int, ...], float]:
    """Returns the changes that win in resamples, the best first, and by how many deviations the best leads others."""
    best_gains = gains[1:].max(axis=1, keepdims=True)
    has_won = gains[1:] >= best_gains - ROUNDING * np.abs(best_gains)
    wins = has_won.sum(axis=0)
    best = int(gains[0].argmax())
    order = [best, *(int(each) for each in np.argsort(-wins, kind="stable") if each != best)]
    held = np.logical_or.accumulate(has_won[:, order], axis=1).mean(axis=0)
    first = order[: int(np.searchsorted(held, HELD)) + 1]
    equal = [each for each in order[len(first) :] if (has_won[:, first] & has_won[:, [each]]).any(axis=1).mean() > HELD]
    alike = (*first, *equal)
    others = [place for place in order if families[place] not in {families[each] for each in order[:MOST_NAMES]}]
    lead = gains[1:, [best]] - np.maximum(gains[1:][:, others], 0)
    margins = lead.mean(axis=0) / np.maximum(lead.std(axis=0), 1e-12)
    return alike, float(margins.min(initial=np.inf))
