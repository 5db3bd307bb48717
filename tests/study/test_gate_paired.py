"""What fell or rose against a reference: values and intervals against slow computations from the rows."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.intervals import difference_of_proportions
from embedshift.statistics.power import power_of_loss
from support.comparing import OTHER, result, results, rule, turned, variant
from support.searched import with_search
from support.synthetic import make_study

pytestmark = pytest.mark.slow

EQUAL = "equal: the stored rows of both studies are equal"
LOST = ("image-00003.png", "image-00009.png")
RECALL, OVERLAP, MRR = (f"table: search, metric: {metric}" for metric in ("recall@1", "knn_overlap@10", "mrr"))
MEAN = "table: summary, metric: cosine_similarity"
SHIFT = f"{MEAN}, column: relative_shift, augmentation: noise, may_rise: 9"
RANKS = {"blur": [[1, 1]] * 40, "noise": [[1, 7]] * 10 + [[1, 1]] * 30}
# Neighbours that are kept: under blur all; under noise half of them, and by so many fewer in the second study.
LOSS = np.random.default_rng(0).choice([0.5, -0.5], 40, p=[0.7, 0.3])


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    effect = {"blur": 0.3, "noise": 1.0}
    made = make_study(tmp_path_factory.mktemp("paired") / "a", 40, ["blur", "noise"], effect=effect, draws=2)
    return with_search(made, RANKS, {"blur": [1.0] * 40, "noise": [0.5] * 40})


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    made = variant(first, tmp_path_factory.mktemp("paired") / "b", turned(1), **OTHER)
    ranks = {"blur": [[1, 1]] * 39 + [[2, 1]], "noise": [[1, 1]] * 8 + [[4, 1]] * 4 + [[1, 1]] * 28}
    return with_search(made, ranks, {"blur": [1.0] * 40, "noise": 0.5 - LOSS})


def relative_shift(study, view, ids):
    """The relative shift of a view over some images, from its definition."""
    rows = study.rows().collect().filter(pl.col("image_id").is_in(ids))
    originals = np.stack(rows.filter(view="original")["embedding"].to_list()).astype(np.float64)
    units = originals / np.linalg.norm(originals, axis=1, keepdims=True)
    baseline = (units @ units.T)[~np.eye(len(units), dtype=bool)].mean()
    return (1 - rows.filter(view=view)["cosine_similarity"].mean()) / (1 - baseline)


def test_recall_is_paired_by_image(first, second):
    """10 images have lost half a view in the first study; 4 in the second, 2 of them among these 10."""
    found, at_5, blur, rises = results(
        second,
        first,
        f"{RECALL}, augmentation: noise, may_fall: 0.1",
        "table: search, metric: recall@5, augmentation: noise, may_fall: 0.1",
        f"{RECALL}, augmentation: blur, may_fall: 0.01",
        f"{RECALL}, augmentation: blur, may_rise: 0.2",
    )
    gained, lost = 8 * 0.5, 2 * 0.5  # images 8 and 9 have lost half a view in both
    assert (found.value, found.images) == (pytest.approx((gained - lost) / 40), 40)
    assert (found.low, found.high) == pytest.approx(difference_of_proportions(gained, lost, 40))
    assert at_5.value == pytest.approx(5 / 40)
    assert (blur.outcome, blur.value) == ("undecided", pytest.approx(-0.5 / 40))
    assert (blur.low, blur.high) == pytest.approx(difference_of_proportions(0, 0.5, 40))
    assert rises.outcome == "kept"
    absolute = result(second, None, f"{RECALL}, augmentation: noise, at_least: 0.1")
    assert (absolute.images, absolute.value) == (40, pytest.approx(76 / 80)), "80 views"


def test_degrees_have_the_interval_of_their_mean_and_a_width_where_no_image_differs(first, second):
    views = (OVERLAP, "blur"), (OVERLAP, "noise"), (MRR, "noise")
    overlap, lower, mrr = results(second, first, *(f"{of}, augmentation: {view}, may_fall: 0.1" for of, view in views))
    assert overlap.value == 0
    assert overlap.high == -overlap.low > 0.05
    before, after = ([1 / 1] * 30 + [(1 + 1 / 7) / 2] * 10, [1.0] * 36 + [(1 / 4 + 1) / 2] * 4)
    assert mrr.value == pytest.approx(np.mean(after) - np.mean(before))
    unseen = 1 - 0.025 ** (1 / 40)
    assert mrr.low <= mrr.value - unseen + 1e-9
    assert mrr.high >= mrr.value + unseen - 1e-9
    half = max(2.02 * np.std(LOSS, ddof=1) / 40**0.5, unseen)
    assert lower.value == pytest.approx(-np.mean(LOSS))
    assert (lower.low, lower.high) == pytest.approx((lower.value - half, lower.value + half), abs=0.25 * half)


def test_rules_judge_the_numbers_of_compare(first, second):
    """Means, relative shifts, ratios, recall and agreement: as the tables of a comparison have them."""
    compared = embedshift.compare([first, second])
    difference, ratio = ("difference", "ci_low", "ci_high"), ("ratio", "ratio_low", "ratio_high")
    wanted = {}
    for view in ("blur", "noise"):
        for metric in ("cosine_similarity", "attention_similarity"):
            row = {"metric": metric, "augmentation": view}
            of = f"metric: {metric}, augmentation: {view}"
            wanted[f"table: summary, {of}, may_fall: 0.4"] = row, difference
            wanted[f"table: comparison, {of}, at_least: -0.4"] = row, difference
    wanted[SHIFT] = {"metric": "relative_shift", "augmentation": "noise"}, difference
    for view in ("all", "blur", "noise"):
        of = f"table: comparison, augmentation: {view}, metric:"
        wanted[f"{of} relative_shift, column: ratio, at_most: 9"] = (
            {"metric": "relative_shift", "augmentation": view}, ratio,
        )  # fmt: skip
        wanted[f"{of} recall@1, at_least: -0.9"] = {"metric": "recall@1", "augmentation": view}, difference
    for found, (row, ends) in zip(results(second, first, *wanted), wanted.values(), strict=True):
        assert (found.value, found.low, found.high) == pytest.approx(
            compared.comparison.filter(**row).select(ends).row(0)
        ), row
        if found.table == "comparison":
            assert (found.images, found.row) == (40, row)
    ratios = embedshift.check(second, [rule("table: agreement, at_least: 0.5, judge: value")], first).results
    assert {found.row["metric"] for found in ratios} == {"neighbours@10", "cka"}
    for found in ratios:
        row = compared.agreement.row(by_predicate=pl.col("metric") == found.row["metric"], named=True)
        assert (found.value, found.low, found.high) == pytest.approx((row["value"], row["ci_low"], row["ci_high"]))
        assert found.outcome == ("kept" if row["value"] >= 0.5 else "broken"), "the value decides"


def test_a_relative_shift_has_each_studys_own_baseline_over_the_images_that_both_measured(first, second, tmp_path):
    fewer = variant(first, tmp_path / "b", turned(2), failed=LOST, shard_size=64, **OTHER)
    for other, images in ((second, 40), (fewer, 38)):
        ids = sorted(other.reader().image_ids())
        found = result(other, first, SHIFT)
        shifts = [relative_shift(study, "noise", ids) for study in (other, first)]
        assert (found.images, found.value) == (images, pytest.approx(shifts[0] - shifts[1], abs=1e-6))
        assert found.low < found.value < found.high


def test_a_relative_shift_with_a_measured_baseline_has_the_wider_interval_of_two(first, second):
    rows = [
        study.summary().filter(metric="patch_similarity", augmentation="blur").to_dicts()[0]
        for study in (first, second)
    ]
    found = result(second, first, SHIFT.replace("cosine", "patch").replace("noise", "blur"))
    value, low, high = (f"relative_shift{end}" for end in ("", "_low", "_high"))
    assert found.value == pytest.approx(rows[1][value] - rows[0][value])
    half = np.hypot(rows[1][value] - rows[1][low], rows[0][high] - rows[0][value])
    assert found.low == pytest.approx(found.value - half)


EVERY_TABLE = [
    rule(text)
    for text in (
        f"{RECALL}, may_fall: 0",
        "table: summary, metric: [cosine_similarity, l2_distance], may_rise: 0",
        "table: summary, metric: patch_similarity, column: relative_shift, may_rise: 0",
        "table: comparison, metric: recall@1, at_least: 0",
        "table: comparison, metric: relative_shift, column: ratio, at_most: 1",
        "table: agreement, at_least: 1",
    )
]


def test_equal_identities_say_nothing_about_other_rows(first, tmp_path):
    twin = variant(first, tmp_path / "b", turned(1), shard_size=64)
    assert twin.info()["encoder"] == first.info()["encoder"], "as one of which a part was changed that no hash sees"
    checked = embedshift.check(twin, EVERY_TABLE, first)
    assert not checked.passes(strict=True)
    assert EQUAL not in {result.note for result in checked.results}
    slow = [relative_shift(study, "noise", sorted(first.reader().image_ids())) for study in (first, twin)]
    row = embedshift.compare([first, twin]).comparison.row(
        by_predicate=(pl.col("metric") == "relative_shift") & (pl.col("augmentation") == "noise"), named=True
    )
    assert row["mean"] / row["reference_mean"] == pytest.approx(slow[1] / slow[0], rel=1e-6)


def test_equal_rows_are_equal_whatever_the_encoders_are_called(first, tmp_path):
    twin = with_search(variant(first, tmp_path / "b", shard_size=64, **OTHER), RANKS)
    checked = embedshift.check(twin, EVERY_TABLE, first)
    assert checked.passes(strict=True)
    assert {(result.note, result.low == result.high) for result in checked.results} == {(EQUAL, True)}
    assert "no difference; search finds the same originals" in embedshift.compare([first, twin]).verdict
    margins = {"shift_margin": 1.05, "recall_margin": 0.01}
    verdict = embedshift.compare([first, twin], **margins).verdict
    assert "search finds the same originals: equivalent within 1 point" in verdict
    assert embedshift.check(twin, [], first, **margins).outcome == "kept"
    searched = with_search(variant(first, tmp_path / "c"), {"blur": [[9, 9]] * 40, "noise": [[1, 1]] * 40})
    assert embedshift.check(searched, EVERY_TABLE, first).of("broken"), "equal rows, another search"
    (gained,) = embedshift.check(first, [], searched, recall_margin=0.01).results
    assert (gained.outcome, gained.p, gained.note) == ("kept", 1.0, ""), "a gain is no loss"


@pytest.mark.matrix
def test_one_other_embedding_is_another_row(first, tmp_path):
    def one(rows):
        last = pl.int_range(pl.len()) == pl.len() - 1
        return rows.with_columns(embedding=pl.when(last).then(pl.col("embedding").reverse()).otherwise("embedding"))

    text = f"{MEAN}, augmentation: noise, may_fall: 0.1"
    other, fewer = variant(first, tmp_path / "b", one), variant(first, tmp_path / "c", failed=LOST)
    assert [(found.value, found.note) for found in (result(study, first, text) for study in (other, fewer))] == [
        (0, ""), (0, EQUAL)
    ]  # fmt: skip


@pytest.mark.matrix
def test_images_that_would_decide_a_ratio_on_the_scale_of_logarithms(first, second):
    ratio = "table: comparison, metric: relative_shift, column: ratio, augmentation: noise, at_most:"
    found = result(second, first, f"{ratio} 9")
    # The p-value has the standard error, and with it the ends have the level at which they hold for all augmentations.
    error, bound = np.log(found.value) / stats.t.isf(found.p / 2, 39), np.sqrt(found.value * found.low)
    level = stats.t.sf(np.log(found.value / found.low) / error, 39)
    away = np.log(found.value / bound) / error / 40**0.5
    powers = ((n, stats.nct.sf(stats.t.isf(level, n - 1), n - 1, away * n**0.5)) for n in range(8, 900))
    undecided = result(second, first, f"{ratio.replace('at_most', 'at_least')} {float(bound)!r}")
    assert undecided.outcome == "undecided"
    assert undecided.images_needed == pytest.approx(next(n for n, chance in powers if chance >= 0.8), abs=2)


def test_images_that_would_decide_a_recall_have_its_discordance_which_grows_with_the_gallery(first, second):
    text = "table: comparison, metric: recall@1, augmentation: noise, at_least: 0.05"
    undecided = result(second, first, text)
    before, after = ([[1, 7]] * 10 + [[1, 1]] * 30, [[1, 1]] * 8 + [[4, 1]] * 4 + [[1, 1]] * 28)
    pairs = [*zip(np.ravel(before), np.ravel(after), strict=True)]
    whole = sum((a == 1) != (b == 1) for a, b in pairs)
    # Half of the gallery keeps each image that ranks before an original with a chance of 1/2.
    half = sum(0.5 ** (a - 1) + 0.5 ** (b - 1) - 2 * 0.5 ** (a + b - 2) for a, b in pairs)
    equal = 0.125 - np.sqrt(0.075**2 - 0.125 / 40)  # 0.1 gained, 0.025 lost

    def power(n):
        return power_of_loss(n, 0.075 - 0.05, equal * (1 + np.log2(whole / half) * np.log(n / 40)) + 0.025)

    assert whole > half > 0
    assert power(undecided.images_needed - 1) < 0.8 <= power(undecided.images_needed)


def test_a_search_is_over_the_images_of_both_and_of_equal_galleries(tmp_path):
    first = make_study(tmp_path / "a", 24, ["blur"])
    other = variant(first, tmp_path / "b", turned(3), failed=LOST, shard_size=64, **OTHER)
    found = result(other, first, f"{RECALL}, augmentation: blur, may_fall: 0.9")
    assert (found.images, found.outcome) == (22, "kept")
    np.save(tmp_path / "more.npy", np.ones((5, 8), np.float32))
    other.search(gallery=tmp_path / "more.npy")
    with pytest.raises(UsageError, match=r"the gallery of .* has 5 images, that of .* 0: search both again"):
        result(other, first, f"{RECALL}, may_fall: 0.1")
