"""How many times as far: the rows of ratios, search and agreement, and the sentence that they come down to."""

import itertools

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from scipy import stats

import embedshift
from embedshift.questions.compare.verdict import Judgement, verdict
from support.comparing import EFFECT, SUITE, farther, variant
from support.sentences import ends_outward
from support.synthetic import make_study

pytestmark = pytest.mark.slow

B = "b (float32)"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """24 images, five augmentations, two draws, and a noise that moves views as far as another image."""
    folder = tmp_path_factory.mktemp("ratios")
    study = make_study(folder / "made", 24, SUITE, effect=EFFECT, draws=2, seed=3)
    return variant(study, folder / "a", farther({"noise": 3.0}))


@pytest.fixture(scope="module")
def other(first, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    factors = {"noise": 0.8, "blur": 1.5, "horizontal_flip": 1.4, "elastic": 1.2, "perspective": 2.6}
    return variant(
        first, folder / "b", farther(factors, 0.2), encoder={"name": "b"}, identity={"weights_hash": "2" * 64}
    )


@pytest.fixture(scope="module")
def found(first, other):
    return embedshift.compare([first, other])


def distances(study):
    """Image → its original, and augmentation → distances of its views, from the shards."""
    images = {}
    for row in pq.read_table(study.folder / "shards").to_pylist():
        views = images.setdefault(row["image_id"], [None, {}])[1]
        if row["view"] == "original":
            images[row["image_id"]][0] = np.array(row["embedding"]) / np.linalg.norm(row["embedding"])
        else:
            views.setdefault(row["view"], []).append(1 - row["cosine_similarity"])
    return images


def log_ratio(sides, names, augmentation):
    """The mean logarithm over some images; each side has its own baseline of the same images."""
    logs = []
    for images in sides:
        pairs = [np.sum(images[i][0] * images[j][0]) for i, j in itertools.combinations(names, 2)]
        moved = np.array([images[name][1][augmentation] for name in names])
        logs.append(np.log(moved / (1 - np.mean(pairs)) + 1e-6).mean())
    return logs[1] - logs[0]


def jackknifed(sides, names, augmentations, units):
    """Value and standard error of the mean over augmentations, without each unit."""

    def value(chosen):
        return np.mean([log_ratio(sides, chosen, augmentation) for augmentation in augmentations])

    without = [value([name for name in names if units[name] != unit]) for unit in sorted(set(units.values()))]
    count = len(without)
    return value(names), np.sqrt((count - 1) / count * np.square(np.array(without) - np.mean(without)).sum()), count


def row_of(found, augmentation, metric):
    return found.comparison.row(
        by_predicate=(pl.col("augmentation") == augmentation) & (pl.col("metric") == metric), named=True
    )


def test_ratios_equal_a_loop_that_leaves_out_each_image(first, other, found):
    sides, names = [distances(first), distances(other)], sorted(distances(first))
    value, error, count = jackknifed(sides, names, SUITE[1:], {name: name for name in names})
    row = row_of(found, "all", "relative_shift")
    expected = np.exp(stats.t.interval(0.95, count - 1, loc=value, scale=error))
    assert row["ratio"] == pytest.approx(np.exp(value), rel=1e-9)
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx(tuple(expected), rel=1e-4)
    assert row["significant"]
    for name in SUITE[:2]:
        value, error, _ = jackknifed(sides, names, [name], {name: name for name in names})
        row = row_of(found, name, "relative_shift")
        assert row["ratio"] == pytest.approx(np.exp(value), rel=1e-9)
        low, high = np.exp(stats.t.interval(0.95, 23, loc=value, scale=error))
        assert row["ratio_low"] < low < high < row["ratio_high"], "for all augmentations at once"
        moved = [np.mean([images[image][1][name] for image in names]) for images in sides]
        assert row["mean"] / row["reference_mean"] == pytest.approx(moved[1] / moved[0], rel=1e-9), "equal baselines"
        assert row["difference"] == pytest.approx(row["mean"] - row["reference_mean"], abs=1e-12)


def test_the_fraction_that_moves_twice_as_far_is_counted(first, other, found):
    sides = [distances(first), distances(other)]
    far = {
        name: np.concatenate([np.array(sides[1][i][1][name]) / sides[0][i][1][name] for i in sorted(sides[0])])
        for name in SUITE
    }
    for name in SUITE:
        row = row_of(found, name, "tail")
        assert row["mean"] == pytest.approx((far[name] > 2).mean(), abs=1e-9)
        assert row["reference_mean"] == pytest.approx((far[name] < 0.5).mean(), abs=1e-9)
    row = row_of(found, "all", "tail")
    assert row["difference"] == pytest.approx(np.mean([(far[n] > 2).mean() - (far[n] < 0.5).mean() for n in SUITE[1:]]))


def test_search_rows_hold_the_tables_of_both_studies(first, other, found):
    tables = [{(r["augmentation"], r["metric"]): r for r in s.table("search").to_dicts()} for s in (first, other)]
    metrics = [metric for metric in first.table("search")["metric"].unique() if metric != "auc"]
    for metric in metrics:
        for name in SUITE:
            row = row_of(found, name, metric)
            assert row["mean"] == pytest.approx(tables[1][name, metric]["value"], abs=1e-12)
            assert row["reference_mean"] == pytest.approx(tables[0][name, metric]["value"], abs=1e-12)
        mean = np.mean([tables[1][name, metric]["value"] for name in SUITE[1:]])
        assert row_of(found, "all", metric)["mean"] == pytest.approx(mean, abs=1e-12)
    assert set(found.comparison["augmentation"]) == {"all", *SUITE}
    cosines = found.comparison.filter(pl.col("augmentation") != "all", metric="cosine_similarity")
    correlation = stats.spearmanr(cosines["reference_mean"], cosines["mean"])[0]
    assert found.studies["rank_correlation_cosine"][1] == pytest.approx(correlation)
    assert correlation < 1, "the order is another"


def test_the_sentence_names_what_is_saturated_and_both_sides(first, found, tmp_path):
    assert found.verdict.startswith(f"{B} moves 1.")
    row = row_of(found, "all", "relative_shift")
    ends = ends_outward(row["ratio_low"], row["ratio_high"], 2)
    assert f"[{ends}] over 4 augmentations; noise is left out" in found.verdict
    assert "% of neighbours are kept" in found.verdict
    factors = {"blur": 1.4, "horizontal_flip": 1.4, "elastic": 1 / 1.4, "perspective": 1 / 1.4}
    even = embedshift.compare([first, variant(first, tmp_path / "c", farther(factors, 0.05), encoder={"name": "c"})])
    assert row_of(even, "all", "relative_shift")["ratio"] == pytest.approx(1, abs=0.02)
    assert "equal within" in even.verdict
    low, high = (
        even.comparison.filter(metric="relative_shift", study="c (float32)")
        .filter(~pl.col("augmentation").is_in(["all", "noise"]))["ratio"]
        .sort()[[0, -1]]
    )
    assert f"its ratios lie on both sides of 1, from {low:.3f} under " in even.verdict
    assert f" to {high:.3f} under " in even.verdict
    assert "% by chance" in even.verdict, "10 of 23 others"


NOT, WIDE = (0.99, 0.9, 1.09), (1.07, 0.98, 1.17)
OVER = "over 2 augmentations"
# The ratio of all augmentations with its ends, those of each (none = as of all), and how the sentence ends.
SENTENCES = [
    ((1.17, 1.04, 1.33), {}, f"b moves 1.17 times as far as a [1.04 to 1.33] {OVER}"),
    ((1.03, 1.00 - 1e-4, 1.06), {}, f"{OVER}: not decided"),
    ((1.001, 0.995, 1.01), {}, f"{OVER}: equal within 1 %"),
    ((1.0007, 1.0004, 1.001), {}, f"{OVER}: equal within 0.1 %"),
    ((1.01, 0.99, 1.045), {}, f"moves 1.010 times as far as a [0.990 to 1.045] {OVER}: equal within 5 %"),
    ((1.01, 0.958, 1.021), {}, f"moves 1.010 times as far as a [0.958 to 1.021] {OVER}: equal within 5 %"),
    ((1.0, 0.9987, 1.0011), {}, f"{OVER}: equal within 0.2 %"),
    ((1.2, 1.0068, 1.4), {}, f"[1.006 to 1.400] {OVER}"),
    ((0.5, None, None), {}, f"b moves 0.50 times as far as a {OVER}: not decided"),
    (NOT, {"x": (0.9, 0.8, 1.02), "y": (1.13, 0.97, 1.3)}, f"{OVER}: not decided"),
    (NOT, {"x": (0.8, 0.7, 0.9), "y": (1.3, 1.2, 1.4)},
     "; its ratios lie on both sides of 1, from 0.80 under x [0.70 to 0.90] to 1.30 under y [1.20 to 1.40]"),
    (NOT, {"x": (0.8, 0.7, 0.9), "y": (1.3, 0.9, 1.7)}, f"{OVER}: not decided"),
    ((1.2, 1.1, 1.31), {"x": (1.25, 1.15, 1.36), "y": (1.15, 1.05, 1.26)},
     f"b moves 1.20 times as far as a [1.10 to 1.31] {OVER}"),
]  # fmt: skip
SEARCHES = [((-0.0046, 0.0021), "equal within 0.5 points"), ((-0.01, 0.002), "equal within 1 points"),
            ((-0.0112, 0.0), "not decided")]  # fmt: skip


def said(ends, of_each, search, apart=()):
    """The sentence of two studies, from rows as a comparison has them, where a joint test tells some ratios apart."""

    def shift(augmentation, ends):
        significant = None not in ends and not ends[1] <= 1 <= ends[2]
        row = {"augmentation": augmentation, "metric": "relative_shift", "reference_mean": 0.2}
        return row | {"significant": significant, "ratio": ends[0], "ratio_low": ends[1], "ratio_high": ends[2]}

    recall = {"augmentation": "all", "metric": "recall@1", "difference": -0.004, "significant": False}
    recall |= {"ci_low": search[0], "ci_high": search[1]}
    others = of_each or dict.fromkeys("xy", ends)
    rows = [shift("all", ends), *(shift(name, each) for name, each in others.items()), recall]
    table = pl.DataFrame([{"study": "b", "reference": "a"} | row for row in rows], infer_schema_length=None)
    kept = {"study": "b", "metric": "neighbours@10", "value": 0.612, "ci_low": 0.57, "ci_high": 0.651}
    judged = {"b": Judgement(apart)}
    return verdict(table, pl.DataFrame([kept]), 10 / 49, judged).partition("; search finds ")


def test_a_sentence_is_true_to_its_intervals():
    for ends, of_each, words in SENTENCES:
        shifts, _, others = said(ends, of_each, (-0.011, 0.0031))
        assert shifts.endswith(words), (ends, of_each)
        assert others == (
            "0.4 percentage points fewer originals [-0.4 to 1.1]: not decided; "
            "61 % of neighbours are kept [57 to 66], 20 % by chance."
        )
    for ends, words in SEARCHES:
        assert f"]: {words}; 61 % of" in said(NOT, {}, ends)[2], ends


def test_augmentations_are_named_only_where_a_joint_test_tells_them_apart():
    two = {"x": (1.38, 1.3, 1.46), "y": (1.0, 0.9, 1.1)}
    assert said(WIDE, two, (0, 0))[0].endswith(f"{OVER}: not decided")
    words = "; its ratio is not the same under all: 1.38 under x [1.30 to 1.46] and 1.00 under y [0.90 to 1.10]"
    assert said(WIDE, two, (0, 0), ["x", "y"])[0].endswith(f"{OVER}: not decided{words}")
    three = {"x": (0.8, 0.7, 0.9), "y": (1.3, 1.2, 1.4), "z": (0.9, 0.85, 0.95)}
    both = "on both sides of 1, from 0.80 under x [0.70 to 0.90] to 1.30 under y [1.20 to 1.40]"
    assert said(NOT, three, (0, 0))[0].endswith(both)
    assert said(NOT, three, (0, 0), ["x", "y"])[0].endswith(both)
    assert said(NOT, three, (0, 0), "xyz")[0].endswith(f"{both}; its ratio is apart from the mean under z, too")
