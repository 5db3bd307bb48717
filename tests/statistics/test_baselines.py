"""Baselines against all pairs in loops, and relative shifts against slow loops over resamples."""

import itertools
import math

import numpy as np
import pytest

from embedshift.statistics import baselines
from embedshift.statistics.baselines import (
    Baseline,
    Pairs,
    cosine_baseline,
    cosine_pairs,
    distance_baseline,
    merged,
    relative_shifts,
    relative_shifts_of_binary,
    sampled_baseline,
)
from embedshift.statistics.intervals import proportion_interval
from embedshift.statistics.sample import estimates_from_values, gather
from embedshift.statistics.vectors import cosine


def cone(n, d=16, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + np.linspace(0, 1.5, d)


def pairs_of(sums):
    return cosine_pairs(sums["normalised"], sums["valid"], sums["images"])


def by_groups(vectors, sizes):
    """What shards add up of the vectors, in groups of these sizes."""
    lengths = np.linalg.norm(vectors, axis=1)
    units = np.where(lengths[:, None] > 0, vectors / np.where(lengths > 0, lengths, 1)[:, None], 0.0)
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return {
        "normalised": np.stack([units[part].sum(axis=0) for part in parts]),
        "valid": np.array([float((lengths[part] > 0).sum()) for part in parts]),
        "images": np.array(sizes, float),
    }


def brute(vectors, kernel):
    return np.mean([kernel(a, b) for a, b in itertools.combinations(vectors, 2)])


@pytest.mark.parametrize("sizes", [[1] * 40, [7, 13, 20], [40], [39, 1]])
def test_the_baseline_of_the_cosine_is_the_mean_of_all_pairs(sizes):
    vectors = cone(40)
    joined = {"vectors": {}, "normalised": by_groups(vectors, sizes)}
    assert cosine_baseline(joined.__getitem__, 40).value == pytest.approx(brute(vectors, cosine), abs=1e-12)


def test_kept_vectors_give_the_same_baseline_and_the_mean_distance_of_all_pairs():
    vectors = cone(30).astype(np.float32)
    joined = {"vectors": {"vectors": vectors.astype(float)}, "normalised": {}}.__getitem__
    wide = vectors.astype(float)
    assert cosine_baseline(joined, 30).value == pytest.approx(brute(wide, cosine), abs=1e-12)
    exact = distance_baseline(joined, 30)
    assert exact.value == pytest.approx(brute(wide, lambda a, b: np.linalg.norm(a - b)), abs=1e-12)
    assert exact.pairs is not None
    sampled = distance_baseline(joined, 5_000)
    assert sampled.value == exact.value
    assert sampled.pairs is None, "the kept images are not all: means cannot be resampled with them"


def test_of_more_vectors_than_are_compared_every_so_many_count(monkeypatch):
    monkeypatch.setattr(baselines, "KEPT", 10)
    vectors = cone(25)
    found = distance_baseline({"vectors": {"vectors": vectors}}.__getitem__, 5_000)
    assert found.value == pytest.approx(brute(vectors[::3], lambda a, b: np.linalg.norm(a - b)), abs=1e-12)
    of_these = distance_baseline({"vectors": {"vectors": vectors[::3]}}.__getitem__, 9)
    assert found.error == of_these.error > 0


def test_a_vector_without_a_length_has_no_cosine():
    vectors = cone(12)
    vectors[3] = 0
    joined = {"vectors": {"vectors": vectors}, "normalised": {}}
    kept = np.delete(vectors, 3, axis=0)
    assert cosine_baseline(joined.__getitem__, 12).value == pytest.approx(brute(kept, cosine), abs=1e-12)
    grouped = {"vectors": {}, "normalised": by_groups(vectors, [5, 7])}
    assert cosine_baseline(grouped.__getitem__, 12).value == pytest.approx(brute(kept, cosine), abs=1e-12)


def test_chunks_that_are_merged_give_the_same_baseline():
    vectors = cone(50)
    sums = by_groups(vectors, [1] * 50)
    few = merged(sums, most=8)
    assert few["images"].tolist() == [7.0] * 7 + [1.0]
    assert pairs_of(few).baseline().value == pytest.approx(pairs_of(sums).baseline().value, abs=1e-12)


def test_a_study_whose_shards_lack_images_has_no_baseline():
    joined = {"vectors": {}, "normalised": by_groups(cone(10), [10])}
    assert cosine_baseline(joined.__getitem__, 12) is None
    assert distance_baseline(joined.__getitem__, 12) is None


def test_resampled_baselines_leave_out_an_image_and_its_own_copies():
    vectors = cone(9)
    pairs = pairs_of(by_groups(vectors, [1] * 9))
    rng = np.random.default_rng(0)
    drawn = np.stack([np.bincount(rng.integers(9, size=9), minlength=9) for _ in range(20)]).astype(float)
    for counts, mean in zip(drawn, pairs.means(drawn)[0], strict=True):
        chosen = np.repeat(np.arange(9), counts.astype(int))
        kernel = [cosine(vectors[a], vectors[b]) for a, b in itertools.permutations(chosen, 2) if a != b]
        assert mean == pytest.approx(np.mean(kernel), abs=1e-12)


def test_slopes_of_the_baseline_equal_small_steps():
    pairs = pairs_of(by_groups(cone(12), [2] * 6))
    ones = np.ones((1, 6))
    mean, slope = pairs.means(ones)
    for group in range(6):
        step = ones.copy()
        step[0, group] += 1e-6
        assert slope[0, group] == pytest.approx((pairs.means(step)[0][0] - mean[0]) / 1e-6, rel=1e-4)


def test_pairs_of_two_images_are_one_value():
    assert sampled_baseline(6.0, 14.0, 3, 2).error == pytest.approx(np.std([1, 2, 3], ddof=1))


def test_sampled_pairs_are_no_more_than_half_the_images():
    values = np.array([0.2, 0.4, 0.6, 0.9])
    baseline = sampled_baseline(values.sum(), (values**2).sum(), 4, 4)
    assert baseline.value == pytest.approx(values.mean())
    assert baseline.error == pytest.approx(values.std(ddof=1) / np.sqrt(2))
    assert np.isnan(sampled_baseline(0, 0, 0, 0).value)


def slow_share(vectors, cosines, resamples=3_000, of=float, slope=lambda value: 1.0):
    """The bootstrap-t interval of a relative shift in a loop; the standard error of each resample by the jackknife.

    Of a function of the relative shift where one is given, with its slope.
    """

    def relative_shift(index):
        units = vectors[index] / np.linalg.norm(vectors[index], axis=1, keepdims=True)
        similar, other = units @ units.T, index[:, None] != index[None]
        return (1 - cosines[index].mean()) / (1 - similar[other].mean())

    def number(index):
        value = relative_shift(index)
        left = [relative_shift(np.delete(index, place)) for place in range(len(index))]
        error = np.sqrt((len(index) - 1) / len(index) * np.sum((left - np.mean(left)) ** 2))
        return of(value), error * slope(value)

    rng, whole = np.random.default_rng(1), np.arange(len(vectors))
    value, spread = number(whole)
    again = [number(rng.integers(len(whole), size=len(whole))) for _ in range(resamples)]
    low, high = np.quantile([(each - value) / error for each, error in again], (0.025, 0.975))
    return value, value - high * spread, value - low * spread


def test_relative_shifts_and_their_intervals_equal_a_slow_loop():
    vectors = cone(14, d=6, seed=4)
    moved = vectors + 0.7 * np.random.default_rng(5).normal(size=vectors.shape)
    cosines = cosine(vectors, moved)
    sample = gather([(cosines[:, None], np.ones((14, 1)))], chunks=[1] * 14)
    baseline = pairs_of(by_groups(vectors, [1] * 14)).baseline()
    found = relative_shifts(sample, baseline, 1.0, seed=0)
    value, low, high = slow_share(vectors, cosines, resamples=600)
    assert found.value.item() == pytest.approx(value, rel=1e-12)
    assert found.low.item() == pytest.approx(low, abs=0.12 * (high - low))
    assert found.high.item() == pytest.approx(high, abs=0.2 * (high - low))


def test_where_every_image_moved_the_lower_end_is_of_the_logarithm_and_above_0():
    vectors = cone(9, d=6, seed=1)
    cosines = 1 - 0.02 * np.random.default_rng(4).lognormal(0, 2.0, 9)
    pairs = pairs_of(by_groups(vectors, [1] * 9))

    def ends(values, baseline, **more):
        found = relative_shifts(gather([(values[:, None], np.ones((9, 1)))], **more), baseline, 1.0, seed=0)
        return found.low.item(), found.high.item()

    whole, separate = pairs.baseline(), Baseline(0.4, 1e-9)
    exact, sampled = ends(cosines, whole, chunks=[1] * 9), ends(cosines, separate)
    plain = slow_share(vectors, cosines, 600)
    logarithm = slow_share(vectors, cosines, 600, math.log, lambda value: 1 / value)
    assert plain[1] < 0 < exact[0]
    assert math.log(exact[0]) == pytest.approx(logarithm[1], abs=0.15 * (logarithm[0] - logarithm[1]))
    assert 0 < sampled[0] < (1 - cosines.mean()) / 0.6 < sampled[1]
    for still in (1.0, 1 - 1e-14):
        cosines[np.argmax(cosines)] = still
        assert ends(cosines, whole, chunks=[1] * 9)[0] < 0
        assert ends(cosines, separate)[0] < 0


def test_the_interval_of_a_relative_shift_of_a_sampled_baseline_is_that_of_a_slow_loop():
    """Bootstrap-t: images drawn again, the baseline from its normal law, each shift in its own standard error."""
    values, baseline, no_change = np.random.default_rng(0).lognormal(-2, 0.5, 30), Baseline(3.0, 0.3), 0.0
    rng = np.random.default_rng(9)

    def relative_shift(images, scale):
        value = (no_change - images.mean()) / (no_change - scale)
        spread = np.hypot(images.std(ddof=0) / np.sqrt(len(images) - 1), value * baseline.error)
        return value, spread / abs(no_change - scale)

    value, error = relative_shift(values, baseline.value)
    error = np.hypot(values.std(ddof=1) / np.sqrt(30), value * baseline.error) / 3
    again = [
        relative_shift(rng.choice(values, 30), baseline.value + baseline.error * rng.normal()) for _ in range(10_000)
    ]
    deviations = [(each - value) / own for each, own in again]
    low, high = (value - error * np.quantile(deviations, tail) for tail in (0.975, 0.025))
    found = relative_shifts(estimates_from_values(values[:, None]), baseline, no_change, seed=0)
    assert found.value.item() == pytest.approx(value)
    assert found.low.item() == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high.item() == pytest.approx(high, abs=0.08 * (high - low))


@pytest.mark.parametrize(("value", "error"), [(1.0, 0.0), (0.99, 0.01), (np.nan, np.nan)])
def test_a_baseline_that_is_no_scale_gives_no_relative_shift(value, error):
    found = relative_shifts(estimates_from_values(np.full((20, 1), 0.9)), Baseline(value, error), 1.0, seed=0)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_one_changed_image_of_many_gives_no_upper_end():
    """Resamples without it have no spread but rounding, which is no standard error."""
    vectors = cone(30)
    cosines = np.ones((30, 1))
    cosines[4] = 0.9
    sample = gather([(cosines, np.ones((30, 1)))], chunks=[1] * 30)
    found = relative_shifts(sample, pairs_of(by_groups(vectors, [1] * 30)).baseline(), 1.0, seed=0, limits=(-1.0, 1.0))
    assert 0 < found.value.item() < 0.02
    assert np.isnan(found.high.item())
    sampled = relative_shifts(estimates_from_values(cosines), Baseline(0.4, 0.01), 1.0, seed=0, limits=(-1.0, 1.0))
    assert np.isnan(sampled.high.item())


def test_relative_shifts_end_where_the_metric_does():
    rng = np.random.default_rng(3)
    cosines = 1 - 0.001 * rng.lognormal(0, 1.5, (8, 1))
    found = relative_shifts(estimates_from_values(cosines), Baseline(0.4, 0.15), 1.0, seed=0, limits=(-1.0, 1.0))
    assert found.low.item() >= 0
    assert found.high.item() <= 2 / 0.6
    no_less = relative_shifts(estimates_from_values(cosines), Baseline(0.4, 0.15), 1.0, seed=0, limits=(0.99, 1.0))
    assert 0 <= no_less.low.item() <= no_less.value.item() < no_less.high.item() == pytest.approx(0.01 / 0.6)


@pytest.mark.parametrize("flips", [0, 3, 60])
def test_relative_shifts_of_0_and_1_follow_their_own_intervals(flips):
    values = np.zeros((60, 1))
    values[:flips] = 1.0
    sample = estimates_from_values(values)
    low, high = proportion_interval(sample)
    sure = relative_shifts_of_binary(sample, Baseline(0.5, 1e-12), low, high)
    found = np.hstack([sure.value, sure.low, sure.high])
    np.testing.assert_allclose(found, np.hstack([values.mean(), low, high]) / 0.5, atol=1e-9)
    assert not np.signbit([sure.value, sure.low]).any()
    unsure = relative_shifts_of_binary(sample, Baseline(0.5, 0.1), low, high)
    assert (unsure.high >= sure.high).all()
    if flips:
        assert (unsure.high > sure.high).all()
    assert np.isnan(relative_shifts_of_binary(sample, Baseline(0.1, 0.05), low, high).value).all(), "no scale"


def test_identity_has_a_relative_shift_of_nothing():
    sample = gather([(np.ones((20, 1)), np.ones((20, 1)))], chunks=[1] * 20)
    baseline = pairs_of(by_groups(cone(20), [1] * 20)).baseline()
    found = relative_shifts(sample, baseline, 1.0, seed=0)
    assert found.value.item() == found.low.item() == found.high.item() == 0


def test_no_relative_shift_is_printed_as_minus_zero():
    """A distance, whose change goes up: 0 over a scale below 0."""
    unmoved = estimates_from_values(np.zeros((20, 1)))
    of_distances = relative_shifts(unmoved, Baseline(3.0, 0.1), 0.0, seed=0, limits=(0.0, np.inf))
    of_flips = relative_shifts_of_binary(unmoved, Baseline(0.5, 0.01), np.zeros(1), np.zeros(1))
    for found in (of_distances, of_flips):
        assert not np.signbit([found.value, found.low]).any()
    assert not np.signbit(of_distances.high)


def test_two_images_have_a_baseline_and_no_interval():
    sample = gather([(np.full((2, 1), 0.9), np.ones((2, 1)))], chunks=[1, 1])
    pairs = Pairs(np.array([[0.0, 0.3], [0.3, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), np.ones(2))
    found = relative_shifts(sample, Baseline(0.3, 0.0, pairs), 1.0, seed=0)
    assert found.value.item() == pytest.approx(0.1 / 0.7)
    assert np.isnan(found.low.item())
