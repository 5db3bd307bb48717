"""Studies beside each other: tables, orders, figures and the command line."""

import copy
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from matplotlib.collections import LineCollection, PathCollection
from scipy import stats

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.statistics.summary import PAPER_METRICS
from support.command import call
from support.comparing import ENCODER_METRICS, SUITE, A, B, C, moved, variant
from support.revised import revise_shard, say_identity
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


def test_side_by_side_holds_every_mean(studies, found):
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
def test_another_order_of_the_augmentations_lowers_the_correlation(first, tmp_path):
    def swapped(rows):
        view = pl.col("view").replace({"noise": "blur", "blur": "noise"})
        views = pl.col("view") != "original"
        turned = pl.col("cosine_similarity").sort_by(view).over("image_id", "draw", views)
        return rows.with_columns(turned)

    turned = variant(first, tmp_path / "b", swapped, encoder={"name": "b"})
    found = embedshift.compare([first, turned])
    columns = found.side_by_side.filter(metric="cosine_similarity")
    expected = stats.spearmanr(columns[A], columns["b (float32)"])[0]
    assert expected < 0.95
    assert found.studies["rank_correlation_cosine"].to_list() == pytest.approx([1, expected])


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
    assert set(found["study"]) == {B}
    assert set(found["reference"]) == {A}


def test_equal_studies_do_not_differ(first, tmp_path, monkeypatch, capsys):
    found = embedshift.compare([first.folder, variant(first, tmp_path / "b").folder])
    assert found.studies["study"].to_list() == [f"{A}, a", f"{A}, b"]
    for column in ("difference", "ci_low", "ci_high"):
        assert set(found.comparison[column]) == {0.0}
    assert (found.largest["difference"] == 0).all()
    assert found.studies["rank_correlation"].to_list() == pytest.approx([1, 1])
    stored = {(r["augmentation"], r["metric"]): r["mean"] for r in first.summary().iter_rows(named=True)}
    metrics = found.comparison.filter(pl.col("metric").is_in(PAPER_METRICS), pl.col("augmentation") != "all")
    for row in metrics.iter_rows(named=True):
        assert row["mean"] == pytest.approx(stored[row["augmentation"], row["metric"]], rel=1e-12)
    printed = call(monkeypatch, capsys, "compare", first.folder, tmp_path / "b").out
    assert printed.splitlines()[0] == found.verdict
    assert printed.endswith("No difference: every metric has the same means in all studies, over 24 images.\n")


def test_images_that_failed_somewhere_are_left_out_of_all_and_counted(studies, caplog):
    found = embedshift.compare(studies)
    assert f"skipping 2 of 24 images: 2 failed in {studies[2].folder}" in caplog.text
    assert found.studies["measured"].to_list() == [24, 24, 22]
    assert found.studies["compared"].to_list() == [22, 22, 22]
    caplog.clear()
    embedshift.compare(studies[:2])
    assert caplog.text == ""


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


@pytest.mark.matrix
def test_a_metric_of_one_study_alone_is_left_out_and_named(first, tmp_path, caplog):
    other = variant(first, tmp_path / "b", moved(0.01, 1), encoder={"name": "b"})
    for index in range(4):
        revise_shard(other.folder, index, lambda rows: rows.drop_columns([PAPER_METRICS[-1]]))
    content = copy.deepcopy(other.info())
    content["identity"]["metrics"] = list(PAPER_METRICS[:-1])
    say_identity(other.folder, content)
    metrics = set(embedshift.compare([first, other]).comparison["metric"])
    assert metrics & {*PAPER_METRICS} == set(PAPER_METRICS[:-1])
    assert "skipping metrics that not every study has: detail_preservation" in caplog.text


def test_command_line_prints_and_writes(studies, found, tmp_path, monkeypatch, capsys):
    folders = [study.folder for study in studies]
    done = call(monkeypatch, capsys, "compare", *folders, "--out", tmp_path / "new" / "out")
    assert done.code == 0
    assert done.out.startswith(found.verdict + "\n")
    page = (tmp_path / "new" / "out" / "comparison.md").read_text()
    assert page.replace("\\", "").split("\n\n")[1:3] == found.verdict.splitlines()
    assert "](figures/compare_ratios.svg)" in page
    assert "cosine_similarity" in done.out
    assert "patch_similarity" not in done.out, "equal in all"
    row = found.comparison.filter(study=B, metric="l2_distance", augmentation="noise").row(0, named=True)
    interval = f"{row['difference']:+#.2g} ({row['ci_low']:+#.2g} to {row['ci_high']:+#.2g})"
    assert interval in done.out
    assert (f"{interval} *" in done.out) == row["significant"]
    assert "warning: skipping 2 of 24 images" in done.err
    for name in ("studies", "comparison", "side_by_side", "ranking", "largest", "agreement"):
        stored = pl.read_parquet(tmp_path / "new" / "out" / f"{name}.parquet")
        assert stored.equals(getattr(found, name))
        assert pl.read_csv(tmp_path / "new" / "out" / f"{name}.csv", infer_schema=False).shape == stored.shape
    drawn = sorted(path.name for path in (tmp_path / "new" / "out" / "figures").iterdir())
    assert drawn == [
        f"compare_{name}.{ending}" for name in ("differences", "means", "ratios") for ending in ("png", "svg")
    ]


def test_json_is_one_object(studies, found, monkeypatch, capsys):
    done = call(monkeypatch, capsys, "compare", *(study.folder for study in studies), "--json", "--quiet")
    told = json.loads(done.out, parse_constant=pytest.fail)
    assert set(told) == {"verdict", "studies", "comparison", "side_by_side", "ranking", "largest", "agreement"}
    assert told["verdict"] == found.verdict
    assert told["comparison"] == found.comparison.to_dicts()


@pytest.mark.matrix
def test_it_needs_no_torch(studies, tmp_path):
    text = "import sys, embedshift; embedshift.compare(sys.argv[1:3], out=sys.argv[3]); print('torch' in sys.modules)"
    arguments = [str(study.folder) for study in studies[:2]] + [str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", text, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_figures_draw_the_tables(found):
    bars, dots = found.figure("means"), found.figure("differences")
    labels = ["cosine similarity", "L2 distance", "attention similarity"]
    panels = [axes for axes in bars.axes if axes.get_xlabel()]
    assert [axes.get_xlabel().split("\n")[0] for axes in panels] == [f"mean {label}" for label in labels]
    for axes, metric in zip(panels, ("cosine_similarity", "l2_distance", "attention_similarity"), strict=True):
        part = found.side_by_side.filter(metric=metric)
        for container, name in zip(axes.containers, (A, B, C), strict=True):
            widths = [bar.get_width() for bar in container]
            expected = part[name].to_numpy() if (metric, name) != ("l2_distance", C) else np.full(5, np.nan)
            np.testing.assert_allclose(widths, expected, rtol=1e-12)
    panels = [axes for axes in dots.axes if axes.get_xlabel()]
    assert [axes.get_xlabel() for axes in panels] == [f"difference of\n{label}" for label in labels]
    for axes, metric in zip(panels, ("cosine_similarity", "l2_distance", "attention_similarity"), strict=True):
        marks = [each for each in axes.collections if isinstance(each, PathCollection)]
        spans = [each for each in axes.collections if isinstance(each, LineCollection)][-2:]
        for mark, span, name in zip(marks, spans, (B, C), strict=True):
            part = found.comparison.filter(pl.col("augmentation") != "all", metric=metric, study=name)
            expected = np.ma.masked_invalid(part["difference"].fill_null(np.nan))
            np.testing.assert_allclose(mark.get_offsets()[:, 0].filled(np.nan), expected.filled(np.nan), rtol=1e-12)
            filled = [tuple(colour[:3]) != (1.0, 1.0, 1.0) for colour in mark.get_facecolors()]
            assert filled == part["significant"].to_list()
            if part["difference"].null_count():
                continue
            ends = np.array([path[:, 0] for path in span.get_segments()])
            np.testing.assert_allclose(ends, part.select("ci_low", "ci_high").to_numpy(), rtol=1e-12)


def test_an_unknown_figure_is_named(found):
    with pytest.raises(EmbedshiftError, match="unknown comparison figure 'mean'; did you mean 'means'"):
        found.figure("mean")


@pytest.mark.matrix
def test_metrics_against_other_texts_are_left_out(tmp_path, caplog):
    one = make_study(tmp_path / "a", 8, ["noise", "blur"], text=True)
    same = variant(one, tmp_path / "b", encoder={"name": "b"})
    labels = {"count": 3, "hash": "1" * 64}
    other = variant(one, tmp_path / "c", encoder={"name": "c"}, questions={"text": {"labels": labels}})
    both, fewer = (set(embedshift.compare([one, study]).comparison["metric"]) for study in (same, other))
    assert both - fewer == {"zero_shot_flip"}
    assert "text_alignment_shift" in fewer
    assert "labels differ between the studies; skipping these metrics: zero_shot_flip" in caplog.text
