"""Functions of arrays about chains of changes: the fingerprints of changes, their sums, and what made a copy.

The fingerprint of a change is the mean shift of the reference images, copy minus original, in the space that whitens
the originals. The mean shift of a chain is close to the sum of the fingerprints of its parts. So a mean shift can be
explained by a few fingerprints with coefficients of 0 or more (non-negative least squares). Squares and products are
taken over pairs of different images only (U-statistics), so that noise adds nothing to them. All numbers are taken
again in resamples of the reference and of the pairs.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from embedshift.arrays import Floats, GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE
from embedshift.statistics.meaning import space_of
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.whitening import Whitening

RESAMPLES = 200
# Images, or groups, of a reference that names changes, and pairs, or groups, of a batch that is judged.
LEAST_REFERENCE, LEAST_PAIRS = 50, 5
# Reference images that calibrate names of single pairs, and the fraction of names that may be wrong.
SINGLES, SINGLE_WRONG = 200, 0.02
# Largest number of changes that one batch is explained by.
MOST_PARTS = 4
# Probability that noise adds a change to an explanation; part of the resamples in which a rival must explain less.
ALPHA, HELD = 0.01, 0.9
# A change that was applied once has a coefficient near 1. One far from it stands for something else.
WINDOW = (0.6, 1.5)
# Largest part of the squared mean shift that named changes may leave: a chain and the sum of its parts are .9 alike.
MOST_LEFT = 1 / 3
# Variance of unit fingerprints in a direction, below which it is lost in noise.
LEAST_VARIANCE = 1e-3
# Cosine from which on fingerprints are called alike.
ALIKE = 0.6
# A difference of unit vectors that is rounding.
STILL = 1e-6
NOTHING, UNKNOWN, UNDECIDED, FEW = "nothing", "a change that the study does not have", "undecided", "too few pairs"


class Number(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


NO_NUMBER = Number(np.nan, np.nan, np.nan)


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted means of shifts `[n, C, D]`, and their products without those of an image with itself.

    Args:
        means: Of the images, and of resamples, `[1 + R, C, D]`.
        products: Means of products of different images, or groups, `[1 + R, C, C]`.
        independent: Number of images, or of groups.
    """

    means: Floats
    products: Values
    independent: int

    @classmethod
    def of(cls, shifts: Floats, groups: GroupNumbers | None = None, *, seed: int = 0) -> "Moments":
        """Resamples images, or whole groups of them, with Poisson weights."""
        own = group_numbers(groups, len(shifts))
        units = int(own.max()) + 1
        order = np.argsort(own, kind="stable")
        sizes = np.bincount(own).astype(np.float64)
        sums = np.add.reduceat(shifts[order], np.cumsum(np.r_[0, sizes[:-1]]).astype(int), axis=0, dtype=np.float64)
        drawn = np.random.default_rng((seed, units)).multinomial(units, np.full(units, 1 / units), RESAMPLES)
        weights = np.vstack([np.ones(units), drawn])
        totals = weights @ sums.reshape(units, -1)
        own_products = np.einsum("gcd,ged->gce", sums, sums).reshape(units, -1)
        both = totals.reshape(len(weights), *shifts.shape[1:])
        counts = weights @ sizes
        pairs = np.maximum(counts**2 - weights**2 @ sizes**2, 1e-12)
        products = both @ both.transpose(0, 2, 1) - (weights**2 @ own_products).reshape(-1, *[shifts.shape[1]] * 2)
        means = (both / counts[:, None, None]).astype(np.float32)
        return cls(means, np.asarray(products / pairs[:, None, None]), units)


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """The fingerprints of the changes of a study.

    Args:
        names: The changes, `[C]`.
        space: The map that whitens unit vectors by the originals.
        moments: Of the whitened shifts of the reference images.
        seen: Whether the images show a fingerprint of the change, bool `[C]`.
        single_limit: Score from which on a single pair is named, see `single_scores`; infinite = none is.
    """

    names: tuple[str, ...]
    space: Whitening
    moments: Moments
    seen: NDArray[np.bool_]
    single_limit: float = np.inf

    def whitened(self, shifts: Floats) -> Floats:
        return np.asarray(shifts @ self.space.matrix, np.float32)

    @property
    def lengths(self) -> Values:
        """The length of each fingerprint, `[C]`; 0 = it is lost in noise."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.moments.products[0]), 0.0)))

    @property
    def cosines(self) -> Values:
        """Cosines of the fingerprints, `[C, C]`; 0 where one is lost in noise."""
        lengths = np.maximum(self.lengths, 1e-12)
        products = np.where(np.outer(self.seen, self.seen), self.moments.products[0], 0.0)
        return np.asarray(np.clip(products / np.outer(lengths, lengths), -1, 1))

    def alike(self, change: int) -> list[int]:
        """Returns the other changes whose fingerprints have almost the same direction."""
        return [each for each in np.flatnonzero(self.cosines[change] >= ALIKE).tolist() if each != change]

    def only(self, changes: Sequence[int]) -> "Fingerprints":
        """Returns the fingerprints of some changes."""
        own, m = [*changes], self.moments
        moments = replace(m, means=m.means[:, own], products=m.products[:, own][:, :, own])
        names = tuple(self.names[each] for each in own)
        return replace(self, names=names, moments=moments, seen=self.seen[own])


def whitened_shifts(originals: Floats, views: Floats) -> tuple[Whitening, Floats]:
    """Returns the map that whitens unit originals `[n, D]`, and the mapped shifts of views `[n, C, D]`.

    The map is fitted as if D more originals had the same variance in all directions.
    """
    count, size = originals.shape
    space = space_of(originals, least=size / (size + count))
    return space, ((views - originals[:, None]) @ space.matrix).astype(np.float32)


def fingerprints_of(
    names: Sequence[str], originals: Floats, views: Floats, groups: GroupNumbers | None = None, *, seed: int = 0
) -> Fingerprints:
    """Measures the fingerprints of changes from unit vectors of originals `[n, D]` and views `[n, C, D]`."""
    space, shifts = whitened_shifts(originals, views)
    moments = Moments.of(shifts, groups, seed=seed)
    squares = np.einsum("rcc->rc", moments.products)
    limit = float(stdtrit(max(moments.independent - 1, 1), 1 - ALPHA))
    is_still = squares[0] <= 1e-12 * max(float(squares[0].max(initial=0)), 1e-12)
    seen = (squares[0] > limit * squares[1:].std(axis=0)) & ~is_still
    found = Fingerprints(tuple(names), space, moments, seen)
    return replace(found, single_limit=_single_limit(found, shifts))


def single_scores(products: Values, squares: Values, lengths: Values, seen: NDArray[np.bool_]) -> tuple[Any, Values]:
    """Returns the one change that explains each shift best, `[...]`, and its score: its lead, as part of the square.

    Args:
        products: Of each shift and each fingerprint, `[..., C]`.
        squares: Of each shift, `[...]`.
        lengths: Of the fingerprints, `[C]`.
        seen: The changes that may be named, bool `[..., C]`.
    """
    coefficients = products / np.maximum(lengths**2, 1e-12)
    gains = np.where(seen & is_once(coefficients), products * coefficients, -np.inf)
    order = np.argsort(-gains, axis=-1, kind="stable")
    first, second = (np.take_along_axis(gains, order[..., [k]], -1)[..., 0] for k in (0, min(1, gains.shape[-1] - 1)))
    lead = np.where(np.isfinite(first), first - np.maximum(second, 0) * (gains.shape[-1] > 1), -np.inf)
    return order[..., 0], lead / np.maximum(squares, 1e-12)


def _single_limit(found: Fingerprints, shifts: Floats) -> float:
    """Returns the least score at which few single reference pairs are named wrongly, also without their own change."""
    count, changes = shifts.shape[:2]
    if count < LEAST_REFERENCE or not found.seen.any():
        return np.inf
    tried = shifts[:: max(1, count // SINGLES)].astype(np.float64)
    total, limit = shifts.sum(axis=0, dtype=np.float64), 0.0
    others = (np.einsum("cd,ijd->ijc", total, tried) - np.einsum("icd,ijd->ijc", tried, tried)) / (count - 1)
    squares, own = np.einsum("ijd,ijd->ij", tried, tried), np.arange(changes)
    alike = np.eye(changes, dtype=bool) | (found.cosines >= ALIKE)
    for seen in (np.tile(found.seen, (changes, 1)), found.seen & ~np.eye(changes, dtype=bool)):
        best, scores = single_scores(others, squares, found.lengths, seen)
        is_known = bool(seen.diagonal().any())
        is_wrong = (best != own) if is_known else ~alike[own, best]
        order = np.argsort(-scores, axis=None, kind="stable")
        # Wrong names per name; without its own change, per pair.
        rates = (1 + np.cumsum(is_wrong.ravel()[order])) / (1 + np.arange(order.size) if is_known else order.size)
        ordered = scores.ravel()[order]
        accepted = ordered[(rates <= SINGLE_WRONG) & np.isfinite(ordered)]
        if np.isfinite(ordered).any():
            limit = max(limit, float(accepted.min(initial=np.inf)))
    return limit


def non_negative(gram: Values, products: Values) -> tuple[Values, Values]:
    """Returns the coefficients c ≥ 0 that maximise 2 c·p − c·G·c, `[..., k]`, and the maximum, `[...]`.

    The solution is the ordinary least squares of its own support, so that all supports of up to four are tried.

    Args:
        gram: G, `[..., k, k]`.
        products: p, `[..., k]`.

    Example:
        >>> coefficients, explained = non_negative(np.eye(2), np.array([0.5, -1.0]))
        >>> coefficients.tolist(), explained.item()
        ([0.5, 0.0], 0.25)
    """
    size = products.shape[-1]
    best, explained = np.zeros_like(products), np.zeros(products.shape[:-1])
    for support in itertools.chain.from_iterable(itertools.combinations(range(size), n) for n in range(1, size + 1)):
        own = [*support]
        part, right = gram[..., own, :][..., own], products[..., own]
        scale = np.sqrt(np.maximum(np.einsum("...kk->...k", part), 1e-300))
        values, axes = np.linalg.eigh(part / scale[..., :, None] / scale[..., None, :])
        inner = np.einsum("...ij,...i->...j", axes, right / scale) / np.maximum(values, LEAST_VARIANCE)
        found = np.einsum("...ij,...j->...i", axes, inner) / scale
        gained = (found * right).sum(axis=-1)
        is_better = (found >= 0).all(axis=-1) & (gained > explained)
        explained = np.where(is_better, gained, explained)
        best[is_better] = 0
        best[..., own] = np.where(is_better[..., None], found, best[..., own])
    return best, explained


class Part(NamedTuple):
    """A change in the explanation of a batch, by its position in the fingerprints.

    `coefficient` is 1 for the change at the strength that the study measured. `rivals` are the changes that explain the
    shift as well in its place: where there are any, it is not named.
    """

    change: int
    coefficient: Number
    is_named: bool
    rivals: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Dissected:
    """Which changes made a batch of copies.

    Args:
        pairs: The number of pairs.
        parts: The changes that explain the mean shift, the largest first.
        unexplained: The fraction of the squared mean shift that all of them leave; NaN if the mean shift is noise.
        remains: `NOTHING`, `UNKNOWN`, `UNDECIDED` (no shift beyond noise, or no change is significant) or `FEW`.
        others: The coefficient of each further change with a fingerprint, if it were added.
        arrows: Products of the parts, each with its coefficient, and last of the mean shift, `[k + 1, k + 1]`.
    """

    pairs: int
    parts: tuple[Part, ...]
    unexplained: float
    remains: str
    others: Mapping[int, Number] = field(default_factory=dict)
    arrows: Values = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def named(self) -> list[int]:
        """The named changes."""
        return [part.change for part in self.parts if part.is_named]


class _Fit:
    """Explanations of one batch by sets of fingerprints; the first number of an axis R is of the data themselves."""

    def __init__(self, fingerprints: Fingerprints, pairs: Moments) -> None:
        self.gram = fingerprints.moments.products
        self.products: Values = np.einsum(
            "rcd,rd->rc", fingerprints.moments.means, pairs.means[:, 0], dtype=np.float64, optimize=True
        )
        self.square = pairs.products[:, 0, 0]
        self.seen = np.flatnonzero(fingerprints.seen)
        independent = min(fingerprints.moments.independent, pairs.independent)
        self.critical = float(stdtrit(independent - 1, 1 - ALPHA / max(len(self.seen), 1)))

    def solved(self, sets: Any, rows: slice = slice(None)) -> tuple[Values, Values]:
        """Returns coefficients and what they explain of sets `[..., k]`: `[R, ..., k]` and `[R, ...]`."""
        own = np.asarray(sets, np.intp)
        return non_negative(self.gram[rows][:, own[..., :, None], own[..., None, :]], self.products[rows][:, own])

    def is_significant(self, change: int, chosen: Sequence[int]) -> bool:
        """Returns whether the coefficient of a change beside chosen ones is above what noise gives."""
        own = self.solved([*chosen, change])[0][:, -1]
        return bool(own[0] > self.critical * own[1:].std())

    def forward(self) -> list[int]:
        """Adds the change that explains most beside those before it, while it is significant."""
        chosen = list[int]()
        while len(chosen) < min(MOST_PARTS, len(self.seen)):
            others = [each for each in self.seen.tolist() if each not in chosen]
            gains = self.solved([[*chosen, each] for each in others], slice(1))[1][0]
            best = others[int(gains.argmax())]
            if not self.is_significant(best, chosen):
                break
            chosen.append(best)
        return chosen

    def lost(self, chosen: Sequence[int]) -> Values:
        """Returns what is no longer explained without each of the chosen changes, `[R, k]`."""
        explained = self.solved(chosen)[1]
        without = [self.solved([each for each in chosen if each != own])[1] for own in chosen]
        return np.asarray(explained[:, None] - np.stack(without, axis=1))

    def left(self, chosen: Sequence[int]) -> Values:
        """Returns the squared shift that chosen changes leave, `[R]`."""
        return np.asarray(self.square - self.solved(chosen)[1]) if chosen else self.square

    def pruned(self, chosen: Sequence[int]) -> list[int]:
        """Removes changes that explain less than what all leave unexplained, the smallest first."""
        kept = [*chosen]
        while kept:
            lost = self.lost(kept)[0]
            if lost.min() > self.left(kept)[0]:
                break
            del kept[int(lost.argmin())]
        return kept

    def arrows(self, chosen: Sequence[int]) -> Values:
        """Returns the products of chosen changes times their coefficients, and last of the mean shift."""
        scale = self.solved(chosen)[0][0] if chosen else np.zeros(0)
        made = np.full((len(chosen) + 1,) * 2, max(float(self.square[0]), 0.0))
        made[:-1, :-1] = self.gram[0][np.ix_(chosen, chosen)] * np.outer(scale, scale)
        made[-1, :-1] = made[:-1, -1] = self.products[0][[*chosen]] * scale
        return made

    def rivals(self, change: int, chosen: Sequence[int]) -> tuple[int, ...]:
        """Returns the changes that explain as much in the place of a chosen one, within noise."""
        others = [each for each in self.seen.tolist() if each not in chosen]
        if not others:
            return ()
        rest = [each for each in chosen if each != change]
        coefficients, explained = self.solved([[*rest, each] for each in others])
        is_possible = is_once(coefficients[0, :, -1])
        is_possible &= (self.solved(chosen)[1][:, None] > explained).mean(axis=0) < HELD
        return tuple(each for each, possible in zip(others, is_possible, strict=True) if possible)


def is_once(coefficient: Any) -> Any:
    """Returns whether a coefficient is that of a change that was applied once, at the strength of the study."""
    return (coefficient > WINDOW[0]) & (coefficient < WINDOW[1])


def dissected_by(
    fingerprints: Fingerprints, shifts: Floats, groups: GroupNumbers | None = None, *, seed: int = 0
) -> Dissected:
    """Explains the mean shift of pairs by fingerprints, and names those that nothing else explains as well.

    Args:
        fingerprints: Of the changes that may have been applied.
        shifts: Copy minus original, both of length 1, `[m, D]`.
        groups: Which pairs are not independent, `[m]`; None = all are.
        seed: Seed of the resamples of pairs.
    """
    count = len(shifts)
    units = len(np.unique(group_numbers(groups, count)))
    if units < LEAST_PAIRS or fingerprints.moments.independent < LEAST_REFERENCE:
        return Dissected(count, (), np.nan, FEW)
    if not np.abs(shifts).max() > STILL:
        return Dissected(count, (), np.nan, NOTHING)
    fit = _Fit(fingerprints, Moments.of(fingerprints.whitened(shifts)[:, None], groups, seed=seed))
    chosen = fit.pruned(fit.forward())
    left, square = float(fit.left(chosen)[0]), max(float(fit.square[0]), 0.0)
    is_explained, is_moved = left <= MOST_LEFT * square, square > fit.critical * fit.square[1:].std()
    unexplained = float(np.clip(left / square, 0, 1)) if is_moved or (chosen and square) else np.nan
    coefficients = fit.solved(chosen)[0] if chosen else np.zeros((1 + RESAMPLES, 0))
    parts = list[Part]()
    for place, change in enumerate(chosen):
        own, rivals = interval(coefficients[:, place]), fit.rivals(change, chosen)
        parts.append(Part(change, own, bool(is_once(own.value)) and not rivals and is_explained, rivals))
    parts.sort(key=lambda part: -part.coefficient.value * fingerprints.lengths[part.change])
    is_named = any(part.is_named for part in parts)
    remains = NOTHING if is_named else UNKNOWN if is_moved and not is_explained else UNDECIDED
    others = {each: interval(fit.solved([*chosen, each])[0][:, -1]) for each in fit.seen.tolist() if each not in chosen}
    return Dissected(count, tuple(parts), unexplained, remains, others, fit.arrows([part.change for part in parts]))


def interval(values: Values) -> Number:
    """Returns the first number with the 95 % interval of all others."""
    low, high = np.quantile(values[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Number(float(values[0]), float(min(low, values[0])), float(max(high, values[0])))
