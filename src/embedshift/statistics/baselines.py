"""The baseline of a metric, its value for different images, and shifts as fractions of the distance to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import GroupNumbers, Values
from embedshift.statistics.intervals import CONFIDENCE, ends_or_nan, equal_tailed
from embedshift.statistics.sample import RESAMPLES, Estimates, in_standard_errors, weights
from embedshift.statistics.vectors import STILL, normalised

# Originals whose vectors a study keeps: up to so many images, the baselines of cosine and L2 are exact over all pairs.
# And the chunks of images by which a larger study keeps its sums.
KEPT, CHUNKS = 1_024, 512
# A smaller relative shift counts as this one: what hardly moves cannot be known in relation to itself.
SMALL = 0.1
# Images, and groups of them, below which no interval is trusted to be narrow: a sample may lack the few images that an
# augmentation moves far. The numbers are larger for shifts more skewed than an exponential law.
LEAST, LEAST_OF_SKEWED, SKEWNESS = (64, 20), (256, 64), 2.0
# The number of standard errors by which a baseline must differ from no change to be a scale.
_DISTINCT = 3.0


@dataclass(frozen=True)
class Baseline:
    value: float
    error: float
    pairs: "Pairs | None" = None

    @property
    def chunk_sizes(self) -> list[int] | None:
        """Sizes of the chunks of images by which it is resampled; None if its pairs are not kept."""
        return None if self.pairs is None else [int(count) for count in self.pairs.images]


@dataclass(frozen=True)
class Pairs:
    """A kernel summed over all pairs of different images, by pairs of chunks of images."""

    sums: Values
    counts: Values
    images: Values

    def means(self, drawn: Values) -> tuple[Values, Values]:
        kernel, number = drawn @ self.sums, drawn @ self.counts
        with np.errstate(invalid="ignore", divide="ignore"):
            total = (number * drawn).sum(axis=1)
            mean = (kernel * drawn).sum(axis=1) / total
            slope = 2 * (kernel - mean[:, None] * number) / total[:, None]
        return mean, slope

    def without_each(self) -> Values:
        """Returns the metric's mean over the pairs without each chunk of images, `[G]`."""
        kernel, number = (m.sum() - 2 * m.sum(axis=1) + np.diagonal(m) for m in (self.sums, self.counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(kernel / number)

    def baseline(self) -> Baseline:
        count = len(self.images)
        mean, slope = self.means(np.ones((1, count)))
        error = np.sqrt(count / max(1, count - 1) * np.square(slope).sum())
        return Baseline(float(mean[0]), float(error), self)


# Returns sums of all shards by their name. If images belong to groups, "vectors" also has the `group` of each vector's
# image, and the `size` of that group in the study.
ReadSums = Callable[[str], Mapping[str, Values]]
Kernel = Callable[[Values], tuple[Values, Values]]


def sums_of(vectors: ArrayLike, groups: GroupNumbers | None = None) -> ReadSums:
    """Returns what reads the sums of images all of whose vectors are kept, `[n, D]`."""
    kept = {"vectors": np.asarray(vectors, np.float64)}
    if groups is not None:
        kept |= {"group": groups.astype(np.float64), "size": np.bincount(groups)[groups].astype(np.float64)}
    return lambda name: kept if name == "vectors" else {}


def cosine_baseline(read_sums: ReadSums, images: int) -> Baseline | None:
    """Returns the exact mean cosine of all pairs of images, from their vectors or from sums of their unit vectors."""
    vectors = read_sums("vectors")
    kept = vectors.get("vectors", np.zeros((0, 1)))
    if "group" in vectors:
        return between_groups(vectors, images, _cosines)
    if len(kept) == images:
        return cosine_pairs(*_directions(kept), np.ones(images)).baseline()
    sums = read_sums("normalised")
    if not sums or sums["images"].sum() != images:
        return None
    sums = merged(sums)
    return cosine_pairs(sums["normalised"], sums["valid"], sums["images"]).baseline()


def cosine_pairs(directions: Values, valid: Values, images: Values) -> Pairs:
    kernel, counts = directions @ directions.T, np.outer(valid, valid)
    diagonal = np.arange(len(directions))
    kernel[diagonal, diagonal] -= valid  # an image with itself: cosine 1
    counts[diagonal, diagonal] -= valid
    return Pairs(kernel, counts, images)


def distance_baseline(read_sums: ReadSums, images: int) -> Baseline | None:
    vectors = read_sums("vectors")
    if "group" in vectors:
        return between_groups(vectors, images, _distances)
    kept = _thinned(vectors.get("vectors", np.zeros((0, 1))))
    if len(kept) < 2:
        return None
    distances, counts = _distances(kept)
    baseline = Pairs(distances, counts - np.eye(len(kept)), np.ones(len(kept))).baseline()
    return baseline if len(kept) == images else Baseline(baseline.value, baseline.error)


def between_groups(vectors: Mapping[str, Values], images: int, kernel: Kernel) -> Baseline:
    """Returns a kernel's mean over pairs of images of different groups; each counts once, so copies do not move it."""
    kept, group, size = (_thinned(vectors[name]) for name in ("vectors", "group", "size"))
    baseline = baseline_of_groups(*kernel(kept), group, size)
    return baseline if len(kept) == images else Baseline(baseline.value, baseline.error)


def baseline_of_groups(sums: Values, counts: Values, group: Values | GroupNumbers, size: Values) -> Baseline:
    """Returns the mean from sums and counts of all pairs, `[N, N]`, the groups of images and their sizes, `[N]`."""
    groups, first, numbers = np.unique(group, return_index=True, return_inverse=True)
    weights = np.zeros((len(groups), len(group)))
    weights[numbers, np.arange(len(group))] = 1 / size
    sums, counts = (weights @ matrix @ weights.T for matrix in (sums, counts))
    np.fill_diagonal(sums, 0.0)
    np.fill_diagonal(counts, 0.0)
    return Pairs(sums, counts, size[first]).baseline()


def _thinned(kept: Values) -> Values:
    return kept[:: max(1, -(-len(kept) // KEPT))]  # of many shards, each of which keeps one at least


def _directions(vectors: Values) -> tuple[Values, Values]:
    """Normalises vectors to length 1, or 0 without a direction; also returns 1.0 for each that has one, else 0.0."""
    directions = normalised(vectors)
    return np.nan_to_num(directions), np.asarray(~np.isnan(directions).any(axis=1), np.float64)


def _cosines(vectors: Values) -> tuple[Values, Values]:
    directions, valid = _directions(vectors)
    return directions @ directions.T, np.outer(valid, valid)


def _distances(vectors: Values) -> tuple[Values, Values]:
    distance = scipy.spatial.distance  # SciPy imports its parts when they are first used
    return distance.squareform(distance.pdist(vectors)), np.ones((len(vectors), len(vectors)))


def sampled_baseline(total: float, squares: float, pairs: float, images: float) -> Baseline:
    """Returns the baseline of a metric that was measured on some pairs of originals, of so many images."""
    if pairs < 1:
        return Baseline(np.nan, np.nan)
    mean = total / pairs
    variance = max(0.0, squares / pairs - mean**2) * pairs / max(1, pairs - 1)
    return Baseline(mean, float(np.sqrt(variance / max(1.0, min(pairs, images / 2)))))


def merged(sums: Mapping[str, Values], most: int = CHUNKS) -> dict[str, Values]:
    """Merges consecutive chunks of the sums until there are at most `most`."""
    count = len(sums["images"])
    chunk_size = -(-count // most)
    return {name: np.add.reduceat(array, np.arange(0, count, chunk_size), axis=0) for name, array in sums.items()}


@dataclass(frozen=True)
class RelativeShifts:
    value: Values
    low: Values
    high: Values


def relative_shifts(
    sample: Estimates, baseline: Baseline, no_change: float, *, seed: int, limits: tuple[float, float] | None = None
) -> RelativeShifts:
    """Returns (no change - mean) / (no change - baseline) with 95 % intervals; the baseline is resampled too.

    The ends come from the bootstrap-t. With few images the lower end may be below 0; if every image moved, this end
    is that of the bootstrap-t of the logarithm.
    """
    scale = no_change - baseline.value
    nothing = np.full(len(sample.mean), np.nan)
    if not is_scale(baseline, no_change):
        return RelativeShifts(nothing, nothing, nothing)
    value = relative_shift(sample.mean, baseline, no_change)
    if baseline.pairs is None or sample.chunked is None:
        numbers = _with_sampled_baseline(sample, baseline, value, no_change, seed)
    else:
        numbers = with_exact_baseline(sample, baseline.pairs, no_change, seed=seed)
    low, high = bootstrap_t(*numbers)
    moved = _all_moved(sample, baseline, no_change)
    low[moved] = log_bootstrap_t(*(number[..., moved] for number in numbers))[0]
    low, high = ends_or_nan(sample, low, high)
    bounds = sorted((no_change - bound) / scale for bound in limits) if limits else (-np.inf, np.inf)
    return RelativeShifts(value, *(np.clip(end, *bounds) + 0.0 for end in (low, high)))


def relative_shift(values: ArrayLike, baseline: Baseline, no_change: float) -> Values:
    shifts = (no_change - np.asarray(values, np.float64)) / (no_change - baseline.value or np.nan)
    # No negative zero, which would be printed with its sign.
    return shifts + 0.0 if is_scale(baseline, no_change) else np.full(shifts.shape, np.nan)


def is_scale(baseline: Baseline, no_change: float) -> bool:
    """Returns whether a baseline is three standard errors or more from no change, so that it gives a scale."""
    scale = abs(no_change - baseline.value)
    return bool(np.isfinite(scale) and scale > max(_DISTINCT * baseline.error, 1e-9 * max(1.0, abs(no_change))))


def relative_shifts_of_binary(sample: Estimates, baseline: Baseline, low: Values, high: Values) -> RelativeShifts:
    """Returns relative shifts of a binary metric, from its intervals and the baseline's error (Zou and Donner 2008)."""
    if not baseline.value > _DISTINCT * baseline.error:
        nothing = np.full(len(sample.mean), np.nan)
        return RelativeShifts(nothing, nothing, nothing)
    value = sample.mean / baseline.value
    far = scipy.special.ndtri((1 + CONFIDENCE) / 2) * value * baseline.error / baseline.value
    below, above = value - low / baseline.value, high / baseline.value - value
    ends = np.maximum(value - np.hypot(below, far), 0.0), value + np.hypot(above, far)
    return RelativeShifts(value, *(end + 0.0 for end in ends))


def _with_sampled_baseline(
    sample: Estimates, baseline: Baseline, value: Values, no_change: float, seed: int
) -> tuple[Values, Values, Values, Values]:
    """Returns the relative shifts and their standard errors `[A]`, then both of resamples `[R, A]`."""
    # The baseline comes from separate pairs and is drawn from its normal law.
    means, errors = sample.resampled(seed=seed, resamples=RESAMPLES)
    drawn = baseline.value + baseline.error * np.random.default_rng([seed, 1]).standard_normal((RESAMPLES, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = (no_change - means) / (no_change - drawn)
        spread = np.sqrt(errors**2 + (shifts * baseline.error) ** 2) / np.abs(no_change - drawn)
    return value, _error_with_sampled_baseline(sample, baseline, no_change), shifts, spread


def _error_with_sampled_baseline(sample: Estimates, baseline: Baseline, no_change: float) -> Values:
    value = relative_shift(sample.mean, baseline, no_change)
    return np.asarray(np.sqrt(sample.error**2 + (value * baseline.error) ** 2) / abs(no_change - baseline.value))


def standard_errors(sample: Estimates, baseline: Baseline, no_change: float) -> Values:
    """Returns the standard errors of relative shifts, `[A]`, by the delta method: no resamples, so in milliseconds."""
    if baseline.pairs is None or sample.chunked is None:
        return _error_with_sampled_baseline(sample, baseline, no_change)
    return with_exact_baseline(sample, baseline.pairs, no_change, seed=0, resamples=0)[1]


def _all_moved(sample: Estimates, baseline: Baseline, no_change: float) -> NDArray[np.bool_]:
    """Returns whether every image, or every chunk of images, moved in the direction of the baseline, bool `[A]`."""
    if baseline.pairs is not None and sample.chunked is not None:
        values = sample.chunked / baseline.pairs.images[:, None]
    elif sample.in_memory:
        values = sample.values if sample.image_means is None else sample.image_means
    else:
        return np.zeros(len(sample.mean), bool)
    still = (no_change - values) / (no_change - baseline.value) <= STILL
    return np.asarray(~still.any(axis=0))


def with_exact_baseline(
    sample: Estimates, pairs: Pairs, no_change: float, *, seed: int, resamples: int = RESAMPLES
) -> tuple[Values, Values, Values, Values]:
    """Returns what `_with_sampled_baseline` does; chunks of images are resampled, for means and baseline together."""
    assert sample.chunked is not None
    count = len(pairs.images)
    drawn = np.vstack([np.ones((1, count)), *(weights(count, seed=seed, resamples=resamples) if resamples else ())])
    images = drawn @ pairs.images
    baselines, slopes = pairs.means(drawn)
    scale = no_change - baselines
    spread = np.empty((len(drawn), sample.chunked.shape[1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = drawn @ sample.chunked / images[:, None]
        shifts = (no_change - means) / scale[:, None]
        for column in range(spread.shape[1]):
            off = (sample.chunked[:, column] - np.outer(means[:, column], pairs.images)) / images[:, None]
            added = (shifts[:, column, None] * slopes - off) / scale[:, None]
            spread[:, column] = np.sqrt(count / max(1, count - 1) * (drawn * added**2).sum(axis=1))
    return shifts[0], spread[0], shifts[1:], spread[1:]


def bootstrap_t(value: Values, error: Values, resampled: Values, spread: Values) -> tuple[Values, Values]:
    """Returns the ends of the bootstrap-t: each resample's deviation counts in its own standard error."""
    # In a resample without spread, rounding would look like a tiny spread.
    t = in_standard_errors(resampled - value, np.where(spread < 1e-6 * error, 0.0, spread), np.nan_to_num(error))
    return equal_tailed(value, error, np.where(np.isnan(t), 0.0, t))


def log_bootstrap_t(value: Values, error: Values, resampled: Values, spread: Values) -> tuple[Values, Values]:
    """Returns the ends of the bootstrap-t of the logarithm, which are above 0; NaN if a number is not."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        numbers = np.log(value), error / value, np.log(resampled), spread / resampled
        low, high = (np.exp(end) for end in bootstrap_t(*numbers))
    return low, high


def widths(
    sample: Estimates, baseline: Baseline, no_change: float, limits: tuple[float, float], *, seed: int, target: float
) -> Values:
    """Returns how far the further end of each interval is, as a fraction of the relative shift or of `SMALL`, `[A]`.

    It is the wider one of Student's interval and of the one that tables show. While the first, which takes no
    resamples, has a width above `target`, it is returned alone. NaN if there is no interval.
    """
    if not is_scale(baseline, no_change):
        return np.full(len(sample.mean), np.nan)
    value = relative_shift(sample.mean, baseline, no_change)
    scale = np.maximum(value, SMALL)
    t = scipy.special.stdtrit(np.maximum(sample.having - 1, 1), (1 + CONFIDENCE) / 2)
    student = np.where(sample.having > 1, t * standard_errors(sample, baseline, no_change) / scale, np.nan)
    if not (student <= target).all():
        return np.asarray(student)
    shown = relative_shifts(sample, baseline, no_change, seed=seed, limits=limits)
    return np.asarray(np.maximum(student, np.maximum(shown.high - value, value - shown.low) / scale))


def has_least(sample: Estimates, images: int) -> bool:
    off = np.nan_to_num(sample.values - sample.mean) if sample.in_memory else np.zeros((1, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        skewness = np.abs((off**3).mean(axis=0)) / np.square(off).mean(axis=0) ** 1.5
    least_images, least_groups = LEAST_OF_SKEWED if (skewness > SKEWNESS).any() else LEAST
    return images >= least_images and (sample.groups is None or sample.group_count >= least_groups)
