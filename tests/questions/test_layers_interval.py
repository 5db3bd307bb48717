"""The interval of CKA: the jackknife by hand, its coverage, and the bounds that the estimate keeps."""

import numpy as np
import pytest
from scipy import stats

from embedshift.statistics.agreement import cka, cka_interval, gram_matrices, gram_terms


def cka_terms(x, y):
    return gram_terms(gram_matrices(x), gram_matrices(y))


def shard(rng, images, noise):
    """Terms `[1, 3]` of one minibatch of originals and views, weighted as a shard weights them."""
    x = rng.normal(size=(images, 1, 8)) * np.linspace(0.2, 2, 8)
    return images * cka_terms(x, x + noise * rng.normal(size=x.shape))


def test_it_is_the_jackknife_over_shards():
    rng = np.random.default_rng(0)
    shards = [shard(rng, images, 1.0)[0] for images in (20, 20, 12, 7)]
    left_out = []
    for place in range(4):
        cross, one, other = sum(each for index, each in enumerate(shards) if index != place)
        left_out.append(cross / (one * other) ** 0.5)
    error = np.sqrt(3 / 4 * sum((value - np.mean(left_out)) ** 2 for value in left_out))
    cross, one, other = sum(shards)
    low, high = stats.t(3, cross / (one * other) ** 0.5, error).interval(0.95)
    found = cka_interval(sum(shards), iter(shards))
    assert [end.item() for end in found] == pytest.approx([low, high], rel=1e-9)


@pytest.mark.slow
def test_it_covers():
    rng = np.random.default_rng(1)
    true = cka(sum(shard(rng, 2000, 1.0) for _ in range(5)))[0]
    hits = 0
    for _ in range(300):
        shards = [shard(rng, 24, 1.0) for _ in range(4)]
        low, high = cka_interval(sum(shards), shards)
        hits += low[0] <= true <= high[0]
    assert 0.92 <= hits / 300 <= 0.98


def test_one_shard_has_none_and_equal_ones_have_no_width():
    terms = np.array([[0.9, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert np.isnan(cka_interval(terms, [terms])).all()
    np.testing.assert_allclose(cka_interval(3 * terms, [terms] * 3), [[0.9, 1.0]] * 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("images", [4, 5, 8])
def test_the_estimate_is_never_beyond_one_and_may_be_negative(images):
    """By Cauchy and Schwarz; with few images and unrelated views it comes near both ends."""
    rng = np.random.default_rng(images)
    found = np.array([cka(sum(cka_terms(*rng.normal(size=(2, images, 1, 3))) for _ in range(2))) for _ in range(500)])
    assert (np.abs(found[np.isfinite(found)]) <= 1 + 1e-12).all()
    assert found.min() < -0.2


def test_ends_lie_within_the_bounds():
    rng = np.random.default_rng(3)
    shards = [shard(rng, 8, noise) for noise in (0.1, 5.0)]
    low, high = cka_interval(sum(shards), shards)
    assert (low.item(), high.item()) == (-1.0, 1.0)
