"""How many vectors name a change, simulated from how images of the reference vary along the fingerprints."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.questions.drift.numbers import (
    HELD,
    MOST_NAMES,
    RESAMPLES,
    SURE,
    Reference,
    alike_changes,
    bounded_fractions,
    largest_score,
)

FRACTIONS = (0.1, 0.3, 1.0)
SIZES = (20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
# Simulated batches, and the part of them in which the change must be in the named set.
BATCHES, POWER = 100, 0.8


def needed_vectors(reference: Reference) -> Values:
    """Returns how many vectors name each change at each fraction in 80 % of simulated batches, `[C, F]`.

    Numbers are of `SIZES`; infinite where the largest does not: the noise of the reference does not shrink with n.
    """
    found = np.full((len(reference.names), len(FRACTIONS)), np.inf)
    for change, place in product(np.flatnonzero(reference.seen), range(len(FRACTIONS))):
        found[change, place] = _needed(reference, int(change), FRACTIONS[place])
    return found


def _needed(reference: Reference, change: int, fraction: float) -> float:
    def is_enough(size: int) -> bool:
        return named_part(reference, change, fraction, size) >= POWER

    return next(filter(is_enough, SIZES)) if is_enough(SIZES[-1]) else np.inf


def named_part(reference: Reference, change: int, fraction: float, count: int) -> float:
    """Returns in which part of simulated batches of so many vectors a named set holds the change.

    The noise of a product δ·m is drawn from resamples of the reference: of the batch, its images and their shifts, as
    for `count` images, and of the reference itself.
    """
    rng = np.random.default_rng((0, change, count))
    shifts, originals = reference.shifts.astype(np.float64), reference.originals
    gram = shifts[0] @ shifts[0].T - reference.gram_noise
    places = (originals[1:] - originals[0]) @ shifts[0].T
    moved = (shifts[1:, change] - shifts[0, change]) @ shifts[0].T
    fingerprints = (shifts[1:] - shifts[0]) @ shifts[0, change]
    batch = np.sqrt(reference.images / count) * (places + np.sqrt(fraction) * moved)
    own = fraction * fingerprints - places

    first = fraction * gram[:, change] + batch[_rows(rng, 1)] + own[_rows(rng, 1)]
    products = np.concatenate([first, first + batch[_rows(rng, RESAMPLES)] + own[_rows(rng, RESAMPLES)]], axis=1)
    fractions, gains = bounded_fractions(np.maximum(np.diag(gram), 1e-12)[:, None, None], products[..., None])
    best = gains[:, 0].argmax(axis=1)
    covariance = reference.covariance(count)
    limit = largest_score(covariance[np.ix_(reference.seen, reference.seen)], SURE)
    rows = np.arange(BATCHES)
    is_there = products[rows, 0, best] / np.sqrt(np.diag(covariance))[best] > limit
    is_there &= reference.seen[best] & ((fractions[rows, 1:, best, 0] > 0).mean(axis=1) >= HELD)
    sets = [alike_changes(each, reference.families)[0] for each in gains[is_there]]
    named = [change in own and len({reference.families[each] for each in own}) <= MOST_NAMES for own in sets]
    return sum(named) / BATCHES


def _rows(rng: np.random.Generator, count: int) -> NDArray[np.int64]:
    return rng.integers(RESAMPLES, size=(BATCHES, count))
