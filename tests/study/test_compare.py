"""Studies beside each other: differences and intervals against loops, orders, figures and the command line."""

import functools
import json
import math

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import LineCollection, PathCollection
from scipy import stats

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.statistics.summary import PAPER_METRICS
from support.comparing import ENCODER_METRICS, SUITE, A, B, C, moved, variant
from support.overlap import overlaps
from support.report_fixtures import LONG
from support.studies import compared
from support.synthetic import make_study

pytestmark = pytest.mark.slow

RADAR = [name for name in PAPER_METRICS if name != "l2_distance"]


@pytest.fixture(scope="module")
def first(studies):
    return studies[0]


@pytest.fixture(scope="module")
def studies():
    return compared()


@pytest.fixture(scope="module")
def found(studies):
    return embedshift.compare(studies)


@pytest.mark.matrix
def test_side_by_side_holds_every_mean(found):
    assert found.side_by_side.columns == ["augmentation", "metric", A, B, C]
    order = [(name, metric) for name in SUITE for metric in PAPER_METRICS]
    assert found.side_by_side.select("augmentation", "metric").rows() == order
    told = {(r["augmentation"], r["metric"], r["study"]): r for r in found.comparison.iter_rows(named=True)}
    for row in found.side_by_side.iter_rows(named=True):
        key = row["augmentation"], row["metric"]
        assert [row[B], row[C]] == [told[*key, B]["mean"], told[*key, C]["mean"]]
        assert row[A] == told[*key, B]["reference_mean"] == told[*key, C]["reference_mean"]


def test_ranks_and_their_correlations_equal_scipys(found):
    means = {(r["augmentation"], r["metric"]): r for r in found.side_by_side.iter_rows(named=True)}
    performance = {s: [np.mean([means[name, m][s] for m in RADAR]) for name in SUITE] for s in (A, B, C)}
    cosine = {s: [means[name, "cosine_similarity"][s] for name in SUITE] for s in (A, B, C)}
    for study in (A, B, C):
        part = found.ranking.filter(study=study)
        assert part["augmentation"].to_list() == SUITE
        np.testing.assert_allclose(part["mean_performance"], performance[study], rtol=1e-12)
        assert part["rank"].to_list() == stats.rankdata(-np.array(performance[study])).tolist()
        row = found.studies.row(by_predicate=pl.col("study") == study, named=True)
        assert row["rank_correlation"] == pytest.approx(stats.spearmanr(performance[A], performance[study])[0])
        assert row["rank_correlation_cosine"] == pytest.approx(stats.spearmanr(cosine[A], cosine[study])[0])


@pytest.mark.matrix
def test_largest_difference_of_the_summary_equals_a_search(first, tmp_path):
    other = variant(first, tmp_path / "b", moved(-0.01, 5), encoder={"precision": "bfloat16"})
    found = embedshift.compare([first, other]).largest
    tables = [{(r["augmentation"], r["metric"]): r for r in s.summary().iter_rows(named=True)} for s in (other, first)]
    expected = {}
    for key, row in tables[0].items():
        for column in ("mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"):
            apart = row[column] - tables[1][key][column]
            if abs(apart) > abs(expected.get(key[1], (0.0,))[0]):
                expected[key[1]] = (apart, key[0], column, row[column], tables[1][key][column])
    told = found.filter(pl.col("difference") != 0)
    columns = ("difference", "augmentation", "column", "value", "reference_value")
    assert {row["metric"]: tuple(row[c] for c in columns) for row in told.iter_rows(named=True)} == expected
    assert set(expected) == {*ENCODER_METRICS}
    assert found["difference"].abs().is_sorted(descending=True)
    assert found.select("study", "reference").unique().rows() == [(B, A)]


def test_equal_studies_do_not_differ(first, tmp_path, cli):
    found = embedshift.compare([first.folder, variant(first, tmp_path / "b").folder])
    assert found.studies["study"].to_list() == [f"{A}, a", f"{A}, b"]
    for column in ("difference", "ci_low", "ci_high"):
        assert set(found.comparison[column]) == {0.0}
    shifts = found.comparison.filter(metric="relative_shift")
    assert shifts.select("ratio", "ratio_low", "ratio_high").unique().rows() == [(1.0, 1.0, 1.0)]
    assert found.agreement.select("value", "ci_low", "ci_high").unique().rows() == [(1.0, 1.0, 1.0)]
    assert (found.largest["difference"] == 0).all()
    assert found.studies["rank_correlation"].to_list() == pytest.approx([1, 1])
    stored = {(r["augmentation"], r["metric"]): r["mean"] for r in first.summary().iter_rows(named=True)}
    for row in of_metrics(found).iter_rows(named=True):
        assert row["mean"] == pytest.approx(stored[row["augmentation"], row["metric"]], rel=1e-12)
    printed = cli("compare", first.folder, tmp_path / "b").out
    assert printed.splitlines()[0] == found.verdict
    for words in ("moves 1.00 times as far", ": no difference; ", "same originals; 100 % of neighbours are kept"):
        assert words in found.verdict
    assert printed.endswith("No difference: every metric has the same means in all studies, over 24 images.\n")


def of_metrics(found):
    """The rows of metrics, by augmentation."""
    return found.comparison.filter(pl.col("metric").is_in(PAPER_METRICS), pl.col("augmentation") != "all")


@functools.cache
def rows_of(folder):
    return pq.read_table(folder / "shards").to_pylist()


def values_of(study, name, metric):
    """(image, draw) → value, from the shards."""
    return {(row["image_id"], row["draw"]): row[metric] for row in rows_of(study.folder) if row["view"] == name}


def deviations(pairs, images, resamples):
    """Difference of the means, its standard error, and resamples' deviations in their own errors.

    Args:
        pairs: (image, draw) → own value, the reference's.
        images: In order.
        resamples: How many.
    """
    apart = {
        image: [pairs[image, d][0] - pairs[image, d][1] for d in (0, 1) if (image, d) in pairs] for image in images
    }
    total, n = sum(map(len, apart.values())), len(images)
    mean = sum(map(sum, apart.values())) / total
    each = np.array([mean + (sum(apart[i]) - mean * len(apart[i])) * n / total for i in images])
    error = each.std(ddof=1) / np.sqrt(n)
    drawn = each[np.random.default_rng(3).integers(n, size=(resamples, n))]
    return mean, error, (drawn.mean(axis=1) - mean) / (drawn.std(axis=1, ddof=1) / np.sqrt(n))


def test_differences_and_intervals_equal_a_loop_over_the_same_resamples(studies, found):
    seen, every = set(), {}
    for row in of_metrics(found).iter_rows(named=True):
        name, metric = row["augmentation"], row["metric"]
        all_values = [values_of(study, name, metric) for study in studies]
        images = sorted(set.intersection(*({image for image, _ in values} for values in all_values)))
        assert len(images) == 22
        used = {
            (image, draw): [values[image, draw] for values in all_values]
            for image in images
            for draw in (0, 1)
            if not any(np.isnan(values[image, draw]) for values in all_values)
        }
        other = {B: 1, C: 2}[row["study"]]
        sides = {index: np.array([values[index] for values in used.values()]) for index in (0, other)}
        assert row["n"] == len(used) == (40 if (name, metric) == ("blur", "detail_preservation") else 44)
        assert row["reference"] == A
        assert row["mean"] == pytest.approx(sides[other].mean(), abs=1e-12)
        assert row["reference_mean"] == pytest.approx(sides[0].mean(), abs=1e-12)
        if (metric, other) == ("l2_distance", 2):
            assert [row[end] for end in ("difference", "ci_low", "ci_high", "significant")] == [None, None, None, False]
            continue
        assert row["difference"] == pytest.approx((sides[other] - sides[0]).mean(), abs=1e-12)
        seen.add((name, metric, other))
        if metric not in ENCODER_METRICS:  # of equal views
            assert (row["difference"], row["ci_low"], row["ci_high"], row["significant"]) == (0, 0, 0, False)
            continue
        pairs = {key: (values[other], values[0]) for key, values in used.items()}
        mean, error, t = deviations(pairs, [image for image in images if {(image, 0), (image, 1)} & {*pairs}], 2000)
        ordered = np.sort(t)
        assert row["ci_low"] == pytest.approx(mean - ordered[1950] * error, abs=1e-12)
        assert row["ci_high"] == pytest.approx(mean - ordered[49] * error, abs=1e-12)
        mean, error, t = deviations(pairs, images, 9999)
        every.setdefault((metric, other), {})[name] = np.abs(t)
    assert len(seen) == 5 * 6 * 2 - 5
    significant = set()
    for row in of_metrics(found).filter(pl.col("metric").is_in(ENCODER_METRICS)).drop_nulls("difference").to_dicts():
        name, metric, other = row["augmentation"], row["metric"], {B: 1, C: 2}[row["study"]]
        values = [values_of(study, name, metric) for study in (studies[other], studies[0])]
        pairs = {key: (own, values[1][key]) for key, own in values[0].items() if key in values[1]}
        pairs = {k: v for k, v in pairs.items() if not np.isnan(v).any() and k[0] in images}
        mean, error, _ = deviations(pairs, images, 1)
        critical = np.sort(np.max([*every[metric, other].values()], axis=0))[9499]
        assert row["significant"] == (abs(mean) > critical * error), row
        significant.add(row["significant"])
    assert significant == {True, False}


def test_fewer_than_eight_images_have_no_interval_and_settle_nothing(first, tmp_path, cli):
    names = sorted(first.reader().image_ids())
    for left, there in ((8, True), (7, False)):
        other = variant(first, tmp_path / str(left), moved(-0.5, 1), failed=tuple(names[left:]), encoder={"name": "b"})
        found = embedshift.compare([first, other])
        rows = of_metrics(found).filter(pl.col("metric") == "cosine_similarity")
        assert rows["n"].to_list() == [2 * left] * 5
        assert rows["difference"].null_count() == 0
        assert rows["significant"].to_list() == [there] * 5
        assert rows["ci_low"].null_count() == rows["ci_high"].null_count() == (0 if there else 5)
    assert found.comparison["ratio_low"].null_count() == len(found.comparison)
    recall = found.comparison.filter(pl.col("metric").is_in(["recall@1", "mrr"]))
    assert recall["ci_low"].null_count() == len(recall) == 2 * 6
    assert found.agreement["ci_low"].null_count() == 2
    assert ("times as far" in found.verdict, ": not decided" in found.verdict) == (True, True)
    done = cli("compare", first.folder, tmp_path / "7")
    assert f"{rows['difference'][0]:+#.2g}".replace("-", "−") in done.out
    assert " to " not in done.out.partition("mean: ")[2]
    for name in ("differences", "ratios"):
        found.figure(name)


@pytest.mark.matrix
def test_an_encoder_without_attention_is_compared_in_the_rest(first, tmp_path):
    def blind(rows):
        return moved(0.01, 1)(rows).with_columns(attention_similarity=pl.lit(None, pl.Float64))

    other = variant(first, tmp_path / "b", blind, encoder={"name": "b"})
    third = variant(first, tmp_path / "c", moved(0.02, 2), encoder={"name": "c"})
    found = embedshift.compare([first, other, third])
    rows = found.comparison.filter(pl.col("augmentation") != "all", metric="attention_similarity")
    assert rows.filter(study="b (float32)").select("n", "mean", "difference").unique().rows() == [(0, None, None)]
    assert rows.filter(study="c (float32)")["n"].to_list() == [48] * 5
    four = [metric for metric in RADAR if metric != "attention_similarity"]
    for study in found.studies["study"]:
        part = found.side_by_side.filter(pl.col("metric").is_in(four)).group_by("augmentation", maintain_order=True)
        expected = part.agg(pl.col(study).mean())[study]
        np.testing.assert_allclose(found.ranking.filter(study=study)["mean_performance"], expected, rtol=1e-12)
    for name in ("ratios", "means", "differences"):
        found.figure(name)


def test_command_line_prints_and_writes(studies, found, tmp_path, cli):
    folders, out = [study.folder for study in studies], tmp_path / "new" / "out"
    done = cli("compare", *folders, "--out", out)
    assert (done.code, done.out.startswith(found.verdict + "\n")) == (0, True)
    page = (out / "comparison.md").read_text()
    _, first, table, *sentences = page.replace("\\", "").split("\n\n")
    assert sentences[:2] == found.verdict.splitlines()
    assert [line[4] for line in first.splitlines()] == ["A", "B", "C"]
    assert len(table.splitlines()) == 2 + 5
    assert "](figures/compare_ratios.svg)" in page
    assert "cosine_similarity" in done.out
    assert "patch_similarity" not in done.out, "equal in all"
    row = found.comparison.filter(study=B, metric="l2_distance", augmentation="noise").row(0, named=True)
    low, high = math.floor(1e3 * row["ci_low"]) / 1e3, math.ceil(1e3 * row["ci_high"]) / 1e3
    interval = f"{row['difference']:+.3f} ({low:+.3f} to {high:+.3f})"
    assert interval in done.out
    assert (f"{interval} *" in done.out) == row["significant"]
    assert f"warning: skipping 2 of 24 images: 2 failed in {folders[2]}" in done.err
    assert found.studies.select("measured", "compared").rows() == [(24, 22), (24, 22), (22, 22)]
    tables = ("studies", "comparison", "side_by_side", "ranking", "largest", "agreement")
    for name in tables:
        stored = pl.read_parquet(out / f"{name}.parquet")
        assert stored.equals(getattr(found, name))
        assert pl.read_csv(out / f"{name}.csv", infer_schema=False).shape == stored.shape
    assert {path.stem for path in out.iterdir()} == {*tables, "comparison", "figures"}
    drawn = {f"compare_{name}.svg" for name in ("differences", "means", "ratios")}
    assert {path.name for path in (out / "figures").iterdir()} == drawn
    told = json.loads(cli("compare", *folders, "--json", "--quiet").out, parse_constant=pytest.fail)
    assert set(told) == {"written", "verdict", *tables}
    assert (told["verdict"], told["comparison"]) == (found.verdict, found.comparison.to_dicts())


def test_figures_draw_the_tables(found):
    bars, dots = found.figure("means"), found.figure("differences")
    metrics = {"cosine_similarity": "cosine similarity", "l2_distance": "L2 distance"}
    metrics |= {"attention_similarity": "attention similarity"}
    panels = [axes for axes in bars.axes if axes.get_xlabel()]
    assert [axes.get_xlabel().split("\n")[0] for axes in panels] == [f"mean {label}" for label in metrics.values()]
    for axes, metric in zip(panels, metrics, strict=True):
        part = found.side_by_side.filter(metric=metric)
        for container, name in zip(axes.containers, (A, B, C), strict=True):
            expected = part[name].to_numpy() if (metric, name) != ("l2_distance", C) else np.full(5, np.nan)
            np.testing.assert_allclose([bar.get_width() for bar in container], expected, rtol=1e-12)
    panels = [axes for axes in dots.axes if axes.get_xlabel()]
    assert [axes.get_xlabel() for axes in panels] == [f"difference of\n{label}" for label in metrics.values()]
    for axes, metric in zip(panels, metrics, strict=True):
        marks = [each for each in axes.collections if isinstance(each, PathCollection)]
        spans = [each for each in axes.collections if isinstance(each, LineCollection)][-2:]
        for mark, span, name in zip(marks, spans, (B, C), strict=True):
            part = found.comparison.filter(pl.col("augmentation") != "all", metric=metric, study=name)
            expected = np.ma.masked_invalid(part["difference"].fill_null(np.nan))
            np.testing.assert_allclose(mark.get_offsets()[:, 0].filled(np.nan), expected.filled(np.nan), rtol=1e-12)
            filled = [tuple(colour[:3]) != (1.0, 1.0, 1.0) for colour in mark.get_facecolors()]
            assert filled == part["significant"].to_list()
            if not part["difference"].null_count():
                ends = np.array([path[:, 0] for path in span.get_segments()])
                np.testing.assert_allclose(ends, part.select("ci_low", "ci_high").to_numpy(), rtol=1e-12)
    with pytest.raises(EmbedshiftError, match="unknown comparison figure 'mean'; did you mean 'means'"):
        found.figure("mean")


@pytest.mark.matrix
@pytest.mark.parametrize(("number", "suite"), [(2, ["noise"]), (4, LONG)], ids=["2-one", "4-twenty"])
def test_no_words_of_a_figure_overlap(tmp_path, suite, number):
    first = make_study(tmp_path / "a", 12, suite, encoder="someone/with_a-long_name-$of-the-encoder-" * 2)
    changes = [moved(1e-5 * k, k, 2e-6) for k in range(1, number)]
    others = [variant(first, tmp_path / str(k), by, encoder={"name": f"o_{k}"}) for k, by in enumerate(changes)]
    found = embedshift.compare([first, *others])
    with pytest.raises(EmbedshiftError, match="Known: ") as error:
        found.figure("none")
    known = str(error.value).partition("Known: ")[2].split(", ")
    assert {name: overlaps(found.figure(name)) for name in known if name != "tolerances"} == {
        "ratios": [], "means": [], "differences": [],
    }  # fmt: skip
