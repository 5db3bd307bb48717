"""Recall in galleries of other sizes: against scipy, random parts of a gallery and larger galleries."""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from embedshift.questions.search.ranks import KEPT, SearchRanks, bound, gallery_sizes, predict, recall_among

pytestmark = pytest.mark.slow


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
    return SearchRanks(ranks[:, None], own[:, None], -np.sort(-others, axis=1)[:, None, :kept], n)


def test_recall_in_a_part_is_scipys_hypergeometric():
    ranks = np.array([1, 2, 5, 30, 31, 40, np.nan])
    for size in (2, 10, 40):
        found = recall_among(ranks, 40, size)
        wanted = stats.hypergeom(39, ranks[:-1] - 1, size - 1).pmf(0)
        np.testing.assert_allclose(found, [*wanted, np.nan], atol=1e-12)


@pytest.mark.matrix
def test_recall_in_a_part_is_that_of_random_parts():
    table, n, size = world(30, 0), 30, 9
    rng, hits = np.random.default_rng(1), []
    for _ in range(6_000):
        part = rng.choice(n, size, replace=False)
        small = table[np.ix_(part, part)]
        hits.append((small.argmax(axis=1) == np.arange(size)).mean())
    assert recall_among(search(table, n).ranks, n, size).mean() == pytest.approx(np.mean(hits), abs=0.006)


@pytest.mark.parametrize("n", [200, 201])
def test_a_prediction_lies_on_the_line_through_half_and_whole_gallery(n):
    of = search(world(n, 4), n)
    half = (n + 1) // 2
    before, now = recall_among(of.ranks, n, half).mean(), (of.ranks == 1).mean()
    assert 0.5 < now < before < 1
    slope, start = np.polyfit(np.log([half, n]), [before, now], 1)
    sizes = [n, n + 1, 2 * n, 5 * n]
    np.testing.assert_allclose([predict(of, size)[0] for size in sizes], start + slope * np.log(sizes), atol=1e-12)
    widths = [high - low for _, low, high in (predict(of, size) for size in sizes)]
    assert widths == sorted(widths)


def test_the_interval_is_that_of_a_proportion_with_the_same_error():
    """By hand: numbers of views on a range, and Clopper and Pearson's interval by SciPy's beta law."""
    n, size = 200, 1_000
    of = search(world(n, 4), n)
    steps = np.log(size / n) / np.log(2)
    numbers = np.array([(r == 1) * (1 + steps) - steps * recall_among(r, n, n // 2) for r in of.ranks[:, 0]])
    lowest = -steps * (n / 2) / (n - 1)
    assert lowest <= numbers.min() < 0
    p = (numbers.mean() - lowest) / (1 - lowest)
    error = stats.sem(numbers) / (1 - lowest)
    many = p * (1 - p) / error**2
    ends = stats.beta.ppf(0.025, p * many, many - p * many + 1), stats.beta.ppf(0.975, p * many + 1, many - p * many)
    np.testing.assert_allclose(predict(of, size)[1:], [lowest + (1 - lowest) * end for end in ends], atol=1e-9)


def test_no_prediction_where_most_views_are_not_found():
    few = search(world(80, 1, step=4.0), 80)
    assert (few.ranks == 1).mean() < 0.5
    assert "predicted" not in gallery_sizes({"a": few})["kind"].to_list()
    half = SearchRanks(np.array([[1.0], [3.0]] * 40), few.own_cosines, few.other_cosines, 80)
    assert "predicted" in gallery_sizes({"a": half})["kind"].to_list()
    assert "predicted" not in gallery_sizes({"a": search(world(39, 1), 39)})["kind"].to_list()


@pytest.mark.matrix
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
    three = SearchRanks(
        *(np.repeat(each, 3, axis=1) for each in (one.ranks, one.own_cosines, one.other_cosines)), one.images
    )
    single, several = (gallery_sizes({"a": each}) for each in (one, three))
    measured = single.filter(kind="measured"), several.filter(kind="measured")
    np.testing.assert_allclose(measured[0]["recall"], measured[1]["recall"])
    for column in ("ci_low", "ci_high"):
        np.testing.assert_allclose(measured[0][column][-1], measured[1][column][-1], atol=0.01)
    np.testing.assert_allclose(single["recall"], several["recall"], atol=0.01)
    lost = SearchRanks(one.ranks.copy(), one.own_cosines, one.other_cosines, one.images)
    lost.ranks[:20] = np.nan
    kept = gallery_sizes({"a": lost}).filter(images=60)
    assert kept["recall"].item() == pytest.approx((one.ranks[20:] == 1).mean())
    nothing = SearchRanks(np.full((60, 1), np.nan), one.own_cosines, one.other_cosines, 60)
    assert gallery_sizes({"a": nothing}).is_empty()


def test_few_images_have_no_interval():
    rows = gallery_sizes({"a": search(world(6, 0), 6)})
    assert rows["ci_low"].null_count() == rows["ci_high"].null_count() == len(rows)
    assert np.isnan(predict(search(world(7, 0), 7), 14)[1:]).all()
