"""Recall in galleries of other sizes: against scipy, random parts of a gallery, loops and larger galleries."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from embedshift.questions.search.prediction import (
    KEPT,
    Prediction,
    Search,
    bound,
    gallery_sizes,
    pools,
    predicted,
    recall_among,
)


def cosines(views, originals):
    return 1 - cdist(views, originals, "cosine")


def world(n, seed, step=0.6, dim=12):
    """Images in a cone, views of uneven strength, and the cosines of all views with all originals."""
    rng = np.random.default_rng(seed)
    originals = rng.normal(size=(n, dim)) + 1
    strength = step * rng.lognormal(0, 0.5, (n, 1))
    return cosines(originals + strength * rng.normal(size=(n, dim)), originals)


def search(table, n, kept=KEPT):
    """The search of the first n views among the first n originals."""
    part = table[:n, :n]
    own = np.diag(part).copy()
    others = part[~np.eye(n, dtype=bool)].reshape(n, n - 1)
    ranks = 1.0 + (others >= own[:, None]).sum(axis=1)
    return Search(ranks[:, None], own[:, None], -np.sort(-others, axis=1)[:, None, :kept], n)


def test_recall_in_a_part_is_scipys_hypergeometric():
    ranks = np.array([1, 2, 5, 30, 31, 40, np.nan])
    for size in (2, 10, 40):
        found = recall_among(ranks, 40, size)
        wanted = stats.hypergeom(39, ranks[:-1] - 1, size - 1).pmf(0)
        np.testing.assert_allclose(found, [*wanted, np.nan], atol=1e-12)


def test_recall_in_a_part_is_that_of_random_parts():
    table, n, size = world(30, 0), 30, 9
    rng, hits = np.random.default_rng(1), []
    for _ in range(6_000):
        part = rng.choice(n, size, replace=False)
        small = table[np.ix_(part, part)]
        hits.append((small.argmax(axis=1) == np.arange(size)).mean())
    assert recall_among(search(table, n).ranks, n, size).mean() == pytest.approx(np.mean(hits), abs=0.006)


@pytest.mark.parametrize(("factor", "count"), [(1, 7), (4, 28)])
def test_pools_equal_a_loop_over_the_most_similar_queries(factor, count):
    of = search(world(98, 2), 98, kept=97)
    own, others = of.own[:, 0], of.others[:, 0]
    found = pools(of, factor)
    assert found.members.shape == (98, count)
    x, y = factor * own / own.std(), others[:, 0] / others[:, 0].std()
    for i in range(98):
        members = np.argsort((x - x[i]) ** 2 + (y - y[i]) ** 2, kind="stable")[:count]
        assert set(found.members[i]) == set(members)
        assert found.chance[i] == pytest.approx(np.mean([(others[j] >= own[i]).mean() for j in members]))


@pytest.mark.parametrize("step", [0.6, 0.4])
def test_the_mixture_fits_half_the_gallery(step):
    of = search(world(200, 4, step=step), 200)
    found = Prediction.of(of)
    half = recall_among(of.ranks, 200, 100).mean()
    ends = [predicted(each, found.hits, 200, 100).mean() for each in found.kinds]
    tried = np.linspace(0, 1, 101)
    off = [
        (fraction * ends[0] + (1 - fraction) * ends[1] - half) ** 2 + 1e-4 * (fraction - 0.5) ** 2 for fraction in tried
    ]
    assert found.narrow == pytest.approx(tried[np.argmin(off)], abs=0.01)
    assert found.at(200)[0] == pytest.approx((of.ranks == 1).mean())


def test_a_list_that_is_cut_hardly_changes_a_prediction():
    table = world(400, 3)
    whole, cut = (search(table, 400, kept) for kept in (399, KEPT))
    values = [predicted(pools(each, 1), each.ranks[:, 0] == 1, 400, 2_000).mean() for each in (whole, cut)]
    assert values[1] == pytest.approx(values[0], abs=0.01)


def test_the_curve_passes_through_what_was_measured_and_falls():
    of = search(world(200, 4), 200)
    hits = of.ranks[:, 0] == 1
    assert 0.3 < hits.mean() < 0.97
    values = [predicted(pools(of, 1), hits, 200, size).mean() for size in (200, 201, 400, 1_000)]
    # What the pools' members add has the mean 0: the pooled fractions vary around their own mean.
    assert values[0] == pytest.approx(hits.mean(), abs=1e-9)
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_the_numbers_of_queries_are_what_the_prediction_changes_by():
    """The prediction again where each query counts a little more, in its own right and in the pools that it is in."""
    of = search(world(120, 5), 120, kept=119)
    pooled, hits, n, size = pools(of, 1), of.ranks[:, 0] == 1, 120, 480

    def again(times):
        weight = times / times.sum()
        members = times[pooled.members]
        chance = (members * pooled.fractions).sum(axis=1) / members.sum(axis=1)
        low, high = 1e-6, 1e6
        for _ in range(200):
            g = np.sqrt(low * high)
            if (weight * (1 - chance) ** (g * (n - 1))).sum() > (weight * hits).sum():
                low = g
            else:
                high = g
        return (weight * (1 - chance) ** (g * (size - 1))).sum()

    numbers, base = predicted(pooled, hits, n, size), again(np.ones(120))
    assert numbers.mean() == pytest.approx(base, abs=1e-9)
    for query in range(0, 120, 9):
        times = np.ones(120)
        times[query] += 1e-4
        assert (again(times) - base) / 1e-4 * 120 == pytest.approx(numbers[query] - base, abs=2e-3)


def test_predictions_meet_larger_galleries_and_intervals_hold_new_queries():
    n, larger = 120, 480
    errors, held, truth = [], 0, []
    for seed in range(30):
        table = world(larger, 100 + seed)
        found = table.argmax(axis=1) == np.arange(larger)
        truth.append(found.mean())
        row = gallery_sizes({"a": search(table, n)}).filter(images=larger).row(0, named=True)
        errors.append(row["recall"] - found[:n].mean())
        held += row["ci_low"] <= np.mean(truth) <= row["ci_high"]
    assert abs(np.mean(errors)) < 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.04
    assert held >= 26


def test_no_miss_among_few_is_no_certainty():
    rng = np.random.default_rng(0)
    own = rng.uniform(0.6, 0.9, 50)
    table = own[:, None] - rng.uniform(0.001, 0.3, (50, 50))
    np.fill_diagonal(table, own)
    rows = gallery_sizes({"a": search(table, 50)})
    assert (rows.filter(kind="predicted")["recall"] == 1).all()
    lower = rows.filter(kind="predicted")["ci_low"].to_list()
    assert max(lower) < stats.beta(50, 1).ppf(0.025) - 0.01
    of = search(world(40, 1, step=40.0), 40)
    none = Search(of.ranks + 1, of.own, of.others, 40)
    assert (gallery_sizes({"a": none}).filter(kind="predicted")["recall"] < 0.1).all()


def test_a_bound_lies_below_the_recall_of_the_larger_gallery():
    n, larger = 300, 3_000
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(larger, 40))
    views = originals[:n] + 0.4 * rng.normal(size=(n, 40))
    table = cosines(views, originals)
    least, low = bound(search(table, n), larger)
    recall = (table.argmax(axis=1) == np.arange(n)).mean()
    assert 0.3 < least <= recall
    assert low <= least
    # By hand: the best of the thresholds that 20, 40, ... cosines reach.
    own, others = np.diag(table), table[:, :n][~np.eye(n, dtype=bool)]
    falling = np.sort(others)[::-1]
    cut = np.sort(table[:, :n] - 3 * np.eye(n), axis=1)[:, -KEPT].max()
    tried = [falling[20 * 2**k - 1] for k in range(9) if falling[20 * 2**k - 1] > cut]
    by_hand = [(own >= t).mean() - (larger - 1) * (others >= t).mean() for t in tried]
    assert least == pytest.approx(max(by_hand))


def test_lists_that_are_cut_bear_no_bound_below_where_they_end():
    """Ten views that fifty images are near to, of which five are kept: a tenth of the false matches are seen."""
    table = np.full((100, 100), 0.1)
    table[:10, 40:90] = 0.9
    np.fill_diagonal(table, 0.95)
    assert bound(search(table, 100, kept=99), 11)[0] == pytest.approx(1 - 10 * 500 / 9_900)
    assert bound(search(table, 100, kept=5), 11) is None


def test_no_bound_where_the_pairs_bear_none():
    of = search(world(60, 0), 60)
    assert bound(of, 600) is None
    assert "bound" not in gallery_sizes({"a": of})["kind"].to_list()


def test_views_without_direction_and_several_draws_count_as_images():
    one = search(world(60, 6), 60)
    three = Search(*(np.repeat(each, 3, axis=1) for each in (one.ranks, one.own, one.others)), one.images)
    single, several = (gallery_sizes({"a": each}) for each in (one, three))
    measured = single.filter(kind="measured"), several.filter(kind="measured")
    np.testing.assert_allclose(measured[0]["recall"], measured[1]["recall"])
    for column in ("ci_low", "ci_high"):
        np.testing.assert_allclose(measured[0][column][-1], measured[1][column][-1], atol=0.01)
    np.testing.assert_allclose(single["recall"], several["recall"], atol=0.01)
    lost = Search(one.ranks.copy(), one.own, one.others, one.images)
    lost.ranks[:20] = np.nan
    kept = gallery_sizes({"a": lost}).filter(images=60)
    assert kept["recall"].item() == pytest.approx((one.ranks[20:] == 1).mean())
    nothing = Search(np.full((60, 1), np.nan), one.own, one.others, 60)
    assert gallery_sizes({"a": nothing}).is_empty()


def test_few_images_have_no_interval():
    rows = gallery_sizes({"a": search(world(6, 0), 6)})
    assert rows["ci_low"].null_count() == rows["ci_high"].null_count() == len(rows)
    assert np.isnan(Prediction.of(search(world(7, 0), 7)).at(14)[1:]).all()
