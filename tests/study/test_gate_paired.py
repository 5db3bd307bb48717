"""What fell or rose against a reference: values and intervals against slow computations from the rows."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.intervals import difference_of_proportions
from embedshift.study.gate.check import EQUAL
from embedshift.study.paired import pair_studies
from support.comparing import OTHER, moved, variant
from support.gates import each, only, turned
from support.searched import ranked, with_search
from support.synthetic import make_study

pytestmark = pytest.mark.slow

EFFECT = {"blur": 0.3, "noise": 1.0}
AGREEMENT = [{"table": "agreement", "at_least": 0.5, "judge": "value"}]
LOST = ("image-00003.png", "image-00009.png")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    made = make_study(tmp_path_factory.mktemp("paired") / "a", 40, ["blur", "noise"], effect=EFFECT, draws=2)
    return with_search(made, {"blur": [[1, 1]] * 40, "noise": [[1, 7]] * 10 + [[1, 1]] * 30})


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    made = variant(first, tmp_path_factory.mktemp("paired") / "b", turned(1), **OTHER)
    return with_search(made, {"blur": [[1, 1]] * 39 + [[2, 1]], "noise": [[1, 1]] * 8 + [[4, 1]] * 4 + [[1, 1]] * 28})


def relative_shift(study, view, ids):
    """The relative shift of a view over some images, from its definition."""
    rows = study.rows().collect().filter(pl.col("image_id").is_in(ids))
    originals = np.stack(rows.filter(view="original")["embedding"].to_list()).astype(np.float64)
    units = originals / np.linalg.norm(originals, axis=1, keepdims=True)
    baseline = (units @ units.T)[~np.eye(len(units), dtype=bool)].mean()
    return (1 - rows.filter(view=view)["cosine_similarity"].mean()) / (1 - baseline)


def test_recall_is_paired_by_image(first, second):
    """10 images have lost half a view in the first study; 4 in the second, 2 of them among these 10."""
    found = only(second, first, table="search", metric="recall@1", augmentation="noise", may_fall=0.1)
    gained, lost = 8 * 0.5, 2 * 0.5
    assert found.value == pytest.approx((gained - lost) / 40)
    # Images 8 and 9 have lost half a view in both.
    assert (found.low, found.high) == pytest.approx(difference_of_proportions(gained, lost, 40))
    assert found.images == 40
    absolute = only(second, None, table="search", metric="recall@1", augmentation="noise", at_least=0.1)
    assert (absolute.images, absolute.value) == (40, pytest.approx(76 / 80)), "80 views"
    at_5 = only(second, first, table="search", metric="recall@5", augmentation="noise", may_fall=0.1)
    assert at_5.value == pytest.approx(5 / 40)


def test_an_image_is_lost_or_decided_as_a_proportion(first, second):
    found = only(second, first, table="search", metric="recall@1", augmentation="blur", may_fall=0.01)
    assert (found.outcome, found.value) == ("undecided", pytest.approx(-0.5 / 40))
    assert (found.low, found.high) == pytest.approx(difference_of_proportions(0, 0.5, 40))
    assert only(second, first, table="search", metric="recall@1", augmentation="blur", may_rise=0.2).outcome == "kept"


@pytest.mark.matrix
def test_recall_that_falls_is_broken(first, tmp_path):
    worse = with_search(
        variant(first, tmp_path / "b", **OTHER), {"blur": [[1, 1]] * 20 + [[2, 2]] * 20, "noise": [[1, 1]] * 40}
    )
    found = only(worse, first, table="search", metric="recall@1", augmentation="blur", may_fall=0.1)
    assert (found.outcome, found.value, found.images_needed) == ("broken", -0.5, None)


def test_degrees_have_a_width_where_no_image_differs(first, second):
    overlap = only(second, first, table="search", metric="knn_overlap@10", augmentation="blur", may_fall=0.1)
    assert overlap.value == 0
    assert overlap.high == -overlap.low > 0.05
    mrr = only(second, first, table="search", metric="mrr", augmentation="noise", may_fall=0.1)
    before, after = ([1 / 1] * 30 + [(1 + 1 / 7) / 2] * 10, [1.0] * 36 + [(1 / 4 + 1) / 2] * 4)
    assert mrr.value == pytest.approx(np.mean(after) - np.mean(before))
    unseen = 1 - 0.025 ** (1 / 40)
    assert mrr.low <= mrr.value - unseen + 1e-9
    assert mrr.high >= mrr.value + unseen - 1e-9


@pytest.mark.matrix
def test_degrees_that_all_differ_have_the_interval_of_their_mean(first, tmp_path):
    rng = np.random.default_rng(0)
    ranks = {"blur": [[1, 1]] * 40, "noise": [[1, 1]] * 40}
    kept = rng.uniform(0.2, 0.9, 40)
    less = np.clip(kept - rng.uniform(0, 0.6, 40), 0, 1)
    own = with_search(variant(first, tmp_path / "a"), ranks, {"blur": kept.tolist(), "noise": [1.0] * 40})
    other = with_search(variant(first, tmp_path / "b", **OTHER), ranks, {"blur": less.tolist(), "noise": [1.0] * 40})
    found = only(other, own, table="search", metric="knn_overlap@10", augmentation="blur", may_fall=0.9)
    half = 2.02 * np.std(less - kept, ddof=1) / 40**0.5
    unseen = 1 - 0.025 ** (1 / 40)
    assert found.value == pytest.approx(np.mean(less - kept))
    assert found.low == pytest.approx(found.value - max(half, unseen), abs=0.25 * half)
    assert found.high == pytest.approx(found.value + max(half, unseen), abs=0.25 * half)


def test_a_mean_is_that_of_compare(first, second):
    table = embedshift.compare([first, second]).comparison
    rows = [
        {"metric": metric, "augmentation": view}
        for metric in ("cosine_similarity", "attention_similarity")
        for view in ("blur", "noise")
    ]
    means = each(second, first, [{"table": "summary", **row, "may_fall": 0.4} for row in rows])
    compared = each(second, first, [{"table": "comparison", **row, "at_least": -0.4} for row in rows])
    for row, found, again in zip(rows, means, compared, strict=True):
        wanted = table.filter(**row).to_dicts()[0]
        assert [found.value, found.low, found.high] == pytest.approx(
            [wanted[name] for name in ("difference", "ci_low", "ci_high")]
        )
        assert [again.value, again.low] == [wanted["difference"], wanted["ci_low"]]


def test_a_relative_shift_has_each_studys_own_baseline(first, second):
    ids = sorted(first.reader().image_ids())
    found = only(
        second,
        first,
        table="summary",
        column="relative_shift",
        metric="cosine_similarity",
        augmentation="noise",
        may_rise=9,
    )
    assert found.value == pytest.approx(
        relative_shift(second, "noise", ids) - relative_shift(first, "noise", ids), abs=1e-6
    )
    assert found.low < found.value < found.high


@pytest.mark.matrix
def test_a_relative_shift_is_paired_over_the_images_that_both_measured(first, tmp_path):
    other = variant(first, tmp_path / "b", turned(2), failed=LOST, shard_size=64, **OTHER)
    ids = sorted(other.reader().image_ids())
    found = only(
        other,
        first,
        table="summary",
        column="relative_shift",
        metric="cosine_similarity",
        augmentation="noise",
        may_rise=9,
    )
    assert found.images == 38
    assert found.value == pytest.approx(
        relative_shift(other, "noise", ids) - relative_shift(first, "noise", ids), abs=1e-6
    )


def test_a_relative_shift_has_the_interval_of_the_comparison(first, second):
    rule = {"table": "summary", "column": "relative_shift", "metric": "cosine_similarity", "augmentation": "noise"}
    found = only(second, first, **rule, may_rise=9)
    again = only(second, first, table="comparison", metric="relative_shift", augmentation="noise", at_most=9)
    assert (found.value, found.low, found.high) == pytest.approx((again.value, again.low, again.high))


def test_a_relative_shift_with_a_measured_baseline_has_the_wider_interval_of_two(first, second):
    rows = [
        study.summary().filter(metric="patch_similarity", augmentation="blur").to_dicts()[0]
        for study in (first, second)
    ]
    found = only(
        second,
        first,
        table="summary",
        column="relative_shift",
        metric="patch_similarity",
        augmentation="blur",
        may_rise=9,
    )
    assert found.value == pytest.approx(rows[1]["relative_shift"] - rows[0]["relative_shift"])
    half = np.hypot(
        rows[1]["relative_shift"] - rows[1]["relative_shift_low"],
        rows[0]["relative_shift_high"] - rows[0]["relative_shift"],
    )
    assert found.low == pytest.approx(found.value - half)


EVERY_TABLE = [
    {"table": "search", "metric": "recall@1", "may_fall": 0},
    {"table": "summary", "metric": ["cosine_similarity", "l2_distance"], "may_rise": 0},
    {"table": "summary", "metric": "patch_similarity", "column": "relative_shift", "may_rise": 0},
    {"table": "comparison", "metric": "recall@1", "at_least": 0},
    {"table": "comparison", "metric": "relative_shift", "column": "ratio", "at_most": 1},
    {"table": "agreement", "at_least": 1},
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


@pytest.mark.matrix
def test_equal_rows_are_equal_whatever_the_encoders_are_called(first, tmp_path):
    ranks = {"blur": [[1, 1]] * 40, "noise": [[1, 7]] * 10 + [[1, 1]] * 30}
    twin = with_search(variant(first, tmp_path / "b", shard_size=64, **OTHER), ranks)
    checked = embedshift.check(twin, EVERY_TABLE, first)
    assert checked.passes(strict=True)
    assert {(result.note, result.low == result.high) for result in checked.results} == {(EQUAL, True)}
    assert "no difference; search finds the same originals" in embedshift.compare([first, twin]).verdict
    searched = with_search(variant(first, tmp_path / "c"), {"blur": [[9, 9]] * 40, "noise": [[1, 1]] * 40})
    assert embedshift.check(searched, EVERY_TABLE, first).of("broken"), "equal rows, another search"


@pytest.mark.matrix
def test_one_other_embedding_is_another_row(first, tmp_path):
    def one(rows):
        last = pl.int_range(pl.len()) == pl.len() - 1
        return rows.with_columns(embedding=pl.when(last).then(pl.col("embedding").reverse()).otherwise("embedding"))

    assert pair_studies([first, variant(first, tmp_path / "b", one)]).same_rows == [True, False]
    assert pair_studies([first, variant(first, tmp_path / "c", failed=LOST)]).same_rows == [True, True]


def test_rows_of_the_comparison_are_judged_with_their_own_numbers(first, second):
    table = embedshift.compare([first, second]).comparison
    for metric, column, bound in (
        ("relative_shift", "ratio", {"at_most": 9}),
        ("recall@1", "difference", {"at_least": -0.9}),
    ):
        views = ("all", "blur", "noise")
        asked = {"table": "comparison", "metric": metric, "column": column, **bound}
        for view, found in zip(
            views, each(second, first, [asked | {"augmentation": view} for view in views]), strict=True
        ):
            ends = ("ratio", "ratio_low", "ratio_high") if column == "ratio" else ("difference", "ci_low", "ci_high")
            row = table.filter(metric=metric, augmentation=view).row(0, named=True)
            assert (found.value, found.low, found.high) == pytest.approx(tuple(row[end] for end in ends))
            assert (found.outcome, found.images, found.row) == ("kept", 40, {"augmentation": view, "metric": metric})


@pytest.mark.matrix
def test_images_that_would_decide_a_ratio_by_the_root_on_the_scale_of_logarithms(first, second):
    ratio = {"table": "comparison", "metric": "relative_shift", "column": "ratio", "augmentation": "noise"}
    found = only(second, first, **ratio, at_most=9)
    bound = np.sqrt(found.value * found.high)
    in_80 = ((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) / stats.norm.ppf(0.975)) ** 2
    wanted = in_80 * 40 * (np.log(found.high / found.value) / np.log(bound / found.value)) ** 2
    open_result = only(second, first, **ratio, at_most=float(bound))
    assert (open_result.outcome, open_result.images_needed) == ("undecided", pytest.approx(wanted, abs=3))


def test_agreement_is_judged_by_its_table(first, second, tmp_path):
    ratios = {result.row["metric"]: result for result in embedshift.check(second, AGREEMENT, first).results}
    assert set(ratios) == {"neighbours@10", "cka"}
    for metric, row in (
        (row["metric"], row) for row in embedshift.compare([first, second]).agreement.iter_rows(named=True)
    ):
        found = ratios[metric]
        assert (found.value, found.low, found.high) == pytest.approx((row["value"], row["ci_low"], row["ci_high"]))
        assert found.outcome == ("kept" if row["value"] >= 0.5 else "broken"), "the value decides"


@pytest.mark.matrix
def test_few_images_decide_nothing(tmp_path):
    first = with_search(make_study(tmp_path / "a", 7, ["blur"]), {"blur": ranked(7)})
    other = with_search(variant(first, tmp_path / "b", moved(0.0, 1), **OTHER), {"blur": ranked(7)})
    rules = [
        {"table": "search", "metric": ["recall@1", "mrr"], "may_fall": 0.9},
        {"table": "summary", "metric": "cosine_similarity", "may_fall": 1},
        {"table": "summary", "metric": "cosine_similarity", "column": "relative_shift", "may_rise": 1},
        {"table": "summary", "metric": "cosine_similarity", "at_least": -0.9},
    ]
    for result in embedshift.check(other, rules, first).results:
        assert (result.outcome, result.images_needed) == ("undecided", 8), result


@pytest.mark.matrix
def test_searches_of_other_galleries_are_not_compared(tmp_path):
    first = make_study(tmp_path / "a", 24, ["blur"])
    other = variant(first, tmp_path / "b", turned(3), shard_size=64, **OTHER)
    np.save(tmp_path / "more.npy", np.ones((5, 8), np.float32))
    other.search(gallery=tmp_path / "more.npy")
    rule = {"table": "search", "metric": "recall@1", "may_fall": 0.1}
    with pytest.raises(UsageError, match=r"the gallery of .* has 5 images, that of .* 0: search both again"):
        embedshift.check(other, [rule], first)


def test_an_image_that_failed_in_one_study_is_left_out_of_the_search(tmp_path):
    first = make_study(tmp_path / "a", 24, ["blur"])
    other = variant(first, tmp_path / "b", turned(3), failed=LOST, shard_size=64, **OTHER)
    found = only(other, first, table="search", metric="recall@1", augmentation="blur", may_fall=0.9)
    assert (found.images, found.outcome) == (22, "kept")
