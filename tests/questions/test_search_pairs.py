"""Pairs of images, thresholds, matches, ROC and AUC, and recall in other galleries: against libraries and loops."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score, roc_curve

from embedshift.errors import UsageError
from embedshift.questions.search.matching import RATES, auc, auc_interval, auc_values, matches, roc
from embedshift.questions.search.ranks import SearchRanks, bound, gallery_sizes, predict, recall_among
from embedshift.statistics.intervals import clopper_pearson
from embedshift.statistics.sample import estimates_from_values, weights
from embedshift.statistics.search_index import KEPT
from embedshift.statistics.thresholds import (
    all_pairs,
    check_false_match_rate,
    least_false_match_rate,
    resampled_thresholds,
    threshold,
    thresholds,
)
from support.matrix import first_only

pytestmark = pytest.mark.slow


def made(n, d=12, seed=0, copies=0):
    """Vectors in a cone with whole coordinates, so that some cosines tie, some of them exact copies."""
    vectors = np.random.default_rng(seed).integers(-2, 3, (n, d)) + 1.0
    vectors[n - copies :] = vectors[:copies]
    return vectors


def slow_pairs(vectors, groups):
    units = [v / np.sqrt((v * v).sum()) for v in vectors]
    apart = [(i, j) for i, j in itertools.combinations(range(len(units)), 2) if groups[i] != groups[j]]
    return {(i, j): np.float32((units[i] * units[j]).sum()) for i, j in apart}


def slow_threshold(cosines, false_match_rate):
    """The least cosine whose fraction of all pairs, those above counted with it, is not above the rate."""
    allowed = false_match_rate * len(cosines) + 1e-9
    return min((value for value in set(cosines) if sum(cosines >= value) <= allowed), default=np.inf)


# In several blocks; and in groups, between which alone there are pairs.
@pytest.fixture(scope="module", params=[(600, None), (200, np.arange(200) % 60)], ids=["images", "groups"])
def many(request):
    count, groups = request.param
    vectors = made(count, copies=9)
    vectors[count // 2] = 0
    return vectors, groups, all_pairs(vectors, groups)


def test_pairs_of_many_images_equal_a_loop(many):
    vectors, groups, pairs = many
    count = len(vectors)
    left = np.delete(np.arange(count), count // 2)
    labels = left if groups is None else groups[left]
    wanted = {(left[i], left[j]): c for (i, j), c in slow_pairs(vectors[left], labels).items()}
    assert pairs.images == count - 1
    places = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    found = dict(zip(places, pairs.cosines.tolist(), strict=True))
    assert found.keys() == wanted.keys()
    assert max(abs(found[pair] - wanted[pair]) for pair in wanted) < 3e-7
    assert (np.diff(pairs.cosines) <= 0).all()
    assert (pairs.cosines == 1).sum() >= 9, "copies are equal whatever the rounding"


@pytest.mark.parametrize("false_match_rate", [1e-3, 0.013, 0.99])
def test_a_threshold_is_the_least_that_few_enough_pairs_reach(many, false_match_rate):
    *_, pairs = many
    assert len(np.unique(pairs.cosines)) < 0.9 * len(pairs.cosines), "there are ties"
    found, count = threshold(pairs, false_match_rate), len(pairs.cosines)
    assert (pairs.cosines >= found).sum() <= false_match_rate * count
    next_lower = pairs.cosines[pairs.cosines < found].max()
    assert (pairs.cosines >= next_lower).sum() > false_match_rate * count


@pytest.mark.parametrize("groups", first_only([np.arange(40) // 3, None]))
def test_resampled_thresholds_equal_an_explicit_list_of_images(groups):
    """An image is as often in a resample as its group; pairs of its copies, or within a group, are none."""
    vectors, labels = made(40, d=6, seed=3, copies=3), np.arange(40) if groups is None else groups
    pairs, false_match_rate = all_pairs(vectors, groups), 0.03
    found, cosines = resampled_thresholds(pairs, false_match_rate, seed=5), slow_pairs(vectors, labels)
    drawn = np.vstack([*weights(1 + max(labels), seed=5, resamples=2_000)]).astype(int)
    for number in range(0, 2_000, 40):
        images = np.repeat(np.arange(40), drawn[number][labels]).tolist()
        values = np.array([cosines[pair] for pair in itertools.combinations(images, 2) if pair in cosines])
        assert found[number] == pytest.approx(slow_threshold(values, false_match_rate), abs=3e-7)
    _, value, low, high = thresholds(pairs, [false_match_rate], seed=5).row(0)
    assert (low, high) == pytest.approx(np.quantile(found, (0.025, 0.975), method="nearest"))
    assert low < value < high
    assert thresholds(all_pairs(vectors, labels % 7), [false_match_rate], seed=5)["ci_low"].item() is None


def test_a_rate_that_the_pairs_do_not_bear_is_refused():
    assert least_false_match_rate(200) == pytest.approx(10 / (200 * 199 / 2))
    check_false_match_rate([least_false_match_rate(200), 0.5], 200)
    for false_match_rate, images, needed in [(1e-4, 50, 448), (1e-3, 100, 142), (1e-6, 8_000, 4_473)]:
        if least_false_match_rate(images) > false_match_rate:
            with pytest.raises(
                UsageError,
                match=rf"`false_match_rate` {false_match_rate:g} needs {needed} images .* there are {images}",
            ):
                check_false_match_rate([false_match_rate], images)
        assert least_false_match_rate(needed) <= false_match_rate < least_false_match_rate(needed - 1)
    with pytest.raises(UsageError, match="measure more images"):
        thresholds(all_pairs(made(3)), [0.5], seed=0)


def views(n, draws, seed):
    """Cosines on a grid that pairs have too, so that there are ties; one image without, one with fewer draws."""
    values = np.round(np.random.default_rng(seed).beta(6, 3, (n, draws)), 1)
    values[3] = np.nan
    values[4, 0] = np.nan
    return values


def rounded(groups=None):
    pairs = all_pairs(made(90, seed=2, copies=2), groups)
    return dataclasses.replace(pairs, cosines=np.round(pairs.cosines, 1))  # rounding keeps the order


def test_roc_and_auc_equal_scikit_learn():
    tied, cosines = rounded(), {"one": views(90, 1, 0), "three": views(90, 3, 1)}
    points, areas = roc(cosines, tied), auc(cosines, tied)
    for name, values in cosines.items():
        positives = values[~np.isnan(values)].astype(np.float32)
        labels = np.repeat([1, 0], [len(positives), len(tied.cosines)])
        scores = np.concatenate([positives, tied.cosines])
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        part = points.filter(augmentation=name)
        assert part["false_match_rate"].to_list() == [rate for rate in RATES if rate >= least_false_match_rate(90)]
        wanted = [tpr[fpr <= rate * (1 + 1e-12)].max() for rate in part["false_match_rate"]]
        np.testing.assert_allclose(part["tpr"], wanted, atol=1e-12)
        row = areas.filter(augmentation=name).row(0, named=True)
        assert row["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert row["n"] == len(positives)
        assert row["ci_low"] < row["value"] < row["ci_high"]


@pytest.mark.parametrize("groups", [None, np.arange(90) // 2])
def test_the_error_of_an_auc_is_that_of_a_jackknife(groups):
    """Each image, or group, is left out with its views and with its pairs."""
    pairs, cosines = rounded(groups), views(90, 1, 4)
    if groups is not None:  # whose images are alike
        cosines = np.sort(cosines, axis=0)
    labels = np.arange(90) if groups is None else groups
    sample, left = auc_values(cosines, pairs), []
    for label in np.unique(labels):
        kept = (labels[pairs.first] != label) & (labels[pairs.second] != label)
        positives = cosines[(labels != label)[:, None] & ~np.isnan(cosines)].astype(np.float32)
        scores = np.concatenate([positives, pairs.cosines[kept]])
        left.append(roc_auc_score(np.repeat([1, 0], [len(positives), kept.sum()]), scores))
    count = len(left)
    error = np.sqrt((count - 1) / count * np.sum((left - np.mean(left)) ** 2))
    assert sample.group_count == count
    assert sample.error.item() == pytest.approx(error, rel=0.03)
    below = [np.nan if np.isnan(c) else np.mean(pairs.cosines < c) for c in cosines[:, 0].astype(np.float32)]
    alone = estimates_from_values(np.array(below)[:, None], groups)
    assert alone.error.item() < 0.97 * error, "the pairs vary too"


def test_an_auc_of_1_is_not_certain():
    pairs = all_pairs(np.eye(60))
    sample = auc_values(np.ones((60, 1)), pairs)
    low, high = (end.item() for end in auc_interval(sample))
    assert (sample.mean.item(), high) == (1.0, 1.0)
    assert low == pytest.approx(0.025 ** (1 / 60))
    almost = np.ones((60, 1))
    almost[7] = 0.0  # as far as two different images: half of its comparisons are lost
    assert auc_interval(auc_values(almost, pairs))[0].item() == pytest.approx(low, abs=0.03)
    few = auc({"a": np.ones((5, 1))}, all_pairs(np.eye(5))).row(0)
    assert few == ("a", "auc", 5, 1.0, None, None)
    assert auc({"a": np.full((5, 1), np.nan)}, all_pairs(np.eye(5))).row(0)[3] is None


def test_the_interval_of_an_auc_near_1_contains_it():
    """The truth is that of 3,000 images; views move by amounts that differ, so that few of them lose comparisons."""

    def measured(rng, count):
        originals = rng.normal(size=(count, 32)) * np.linspace(0.3, 1.5, 32)
        views = originals + rng.lognormal(-0.6, 0.7, (count, 1)) * rng.normal(size=originals.shape)
        cosines = (originals * views).sum(axis=1) / np.linalg.norm(originals, axis=1) / np.linalg.norm(views, axis=1)
        return auc_values(cosines[:, None], all_pairs(originals))

    truth = measured(np.random.default_rng(0), 3_000).mean.item()
    assert 0.99 < truth < 0.999
    ends = [auc_interval(measured(np.random.default_rng([1, seed]), 50)) for seed in range(100)]
    assert np.mean([low.item() <= truth <= high.item() for low, high in ends]) >= 0.93
    assert np.mean([low.item() for low, _ in ends]) > 0.9


def test_matches_count_views_and_their_interval_images():
    at = pl.DataFrame({"false_match_rate": [0.01, 0.001], "threshold": [0.7, None]})
    values = views(90, 1, 0)
    table = matches({"one": values}, at)
    hits, count = int((np.round(values, 1) >= 0.7).sum()), int((~np.isnan(values)).sum())
    row = table.row(0, named=True)
    assert (row["n"], row["value"]) == (count, pytest.approx(hits / count))
    low, high = clopper_pearson(np.array([hits]), np.array([count]))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low.item(), high.item()))
    assert table.row(1)[2:] == (count, None, None, None)
    tripled = matches({"a": np.repeat(values, 3, axis=1)}, at).row(0, named=True)
    assert (tripled["ci_low"], tripled["ci_high"]) == pytest.approx((low.item(), high.item()), abs=0.01)
    assert matches({"a": np.full((9, 1), np.nan)}, at)["n"].to_list() == [0, 0]


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


def test_copies_beyond_the_rate_leave_no_threshold():
    pairs = all_pairs(np.repeat(made(20), 4, axis=0))
    assert (pairs.cosines == 1).sum() >= 120
    assert np.isnan(threshold(pairs, 100 / len(pairs.cosines)))
    row = thresholds(pairs, [100 / len(pairs.cosines)], seed=0).row(0)
    assert row[1] is None
    assert row[3] is None


def test_more_pairs_are_looked_at_where_a_resample_needs_them():
    vectors = np.vstack([np.eye(30)[:2].repeat(6, axis=0) + 0.01 * made(12, d=30, seed=1), made(18, d=30)])
    pairs = all_pairs(vectors)
    small, whole = (resampled_thresholds(pairs, false_match_rate, seed=0) for false_match_rate in (0.3, 0.9))
    assert (small >= whole).all()
    assert np.isfinite(whole).all()


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
