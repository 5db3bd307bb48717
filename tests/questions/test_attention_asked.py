"""Optional metrics of attention in a study: asked for, stored, told by claims, figure and report; and not else."""

import shutil

import numpy as np
import polars as pl
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

import embedshift
from embedshift import EmbedshiftError
from embedshift.figures import FIGURES, FigureInput
from embedshift.questions.attention import ALIGNED, DIVERGENCE, PLAIN, RISE, ROLLOUT
from embedshift.questions.claims.tables import claims
from embedshift.registry import METRICS, asked_metrics
from embedshift.statistics.layout import image_rows
from embedshift.statistics.summary import PAPER_METRICS
from support import models, studies

pytestmark = pytest.mark.slow

FEW = ["noise", "blur", "shift_scale_rotate", "perspective"]
OPTIONS = ["attention", "aligned", "rollout"]
OPTIONAL = (RISE, DIVERGENCE, ALIGNED, ROLLOUT)


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(8)


@pytest.fixture(scope="module")
def clip() -> str:
    return str(studies.checkpoint("clip"))


@pytest.fixture(scope="module")
def plain(photos, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "study"
    return embedshift.run(photos, out=out, model=clip, families=FEW, shard_size=3, workers=0)


@pytest.fixture(scope="module")
def study(photos, clip, tmp_path_factory):
    out = tmp_path_factory.mktemp("more") / "study"
    return embedshift.run(photos, out=out, model=clip, families=FEW, shard_size=3, workers=0, metrics=OPTIONS)


def test_what_metrics_need_stands_for_all_optional_ones_that_need_it():
    assert asked_metrics(()) == PAPER_METRICS
    assert asked_metrics(tuple(OPTIONS)) == (*PAPER_METRICS, *OPTIONAL)
    assert asked_metrics((ROLLOUT, "attention", "rollout", RISE)) == (*PAPER_METRICS, ROLLOUT, RISE, DIVERGENCE)
    assert asked_metrics(("pixels", "l2_distance")) == (*PAPER_METRICS, "patch_similarity_uint8")
    with pytest.raises(EmbedshiftError, match="unknown metric 'attention_divergance'; did you mean 'attention_diverg"):
        asked_metrics(("attention_divergance",))


def test_the_options_add_columns_and_rows_and_change_nothing_else(plain, study):
    before, after = plain.rows().collect(), study.rows().collect()
    assert not set(OPTIONAL) & {*before.columns}
    assert set(after.columns) - set(before.columns) == set(OPTIONAL)
    assert after.select(before.columns).equals(before, null_equal=True)
    assert plain.metrics == list(PAPER_METRICS)
    assert study.metrics == [*PAPER_METRICS, *OPTIONAL]
    assert study.info()["config_hash"] != plain.info()["config_hash"]
    for name in OPTIONAL:
        views = after.filter(pl.col("view") != "original")[name].to_numpy()
        assert np.isfinite(views).all(), name
        assert after.filter(pl.col("view") == "original")[name].null_count() == 8
        assert (views >= METRICS[name].low).all()
        assert (views <= METRICS[name].high).all()
    shared = study.summary().filter(pl.col("metric").is_in(PAPER_METRICS))
    assert shared.equals(plain.summary())
    assert study.ranking().equals(plain.ranking()), "options are not part of the mean performance"


def test_entropy_and_divergence_of_the_stored_maps_by_scipy(study):
    rows = study.rows().collect()
    maps = {key: group["attention"][0].to_numpy() for key, group in rows.group_by("image_id", "view")}
    for row in rows.filter(pl.col("view") != "original").iter_rows(named=True):
        before, after = (maps[row["image_id"], view].astype(np.float64) for view in ("original", row["view"]))
        assert row[RISE] == pytest.approx(entropy(after) - entropy(before), abs=1e-12)
        assert row[DIVERGENCE] == pytest.approx(jensenshannon(before, after, base=2) ** 2, abs=1e-12)
    assert (rows[RISE].drop_nulls().abs() > 1e-3).any()


@pytest.mark.matrix
def test_a_resumed_study_is_the_whole_one(photos, clip, study, tmp_path):
    out = shutil.copytree(study.folder, tmp_path / "study")
    (out / "shards" / "part-00001.parquet").unlink()
    (out / "tables" / "summary.parquet").unlink()
    again = embedshift.run(photos, out=out, model=clip, families=FEW, shard_size=3, workers=0, metrics=OPTIONS)
    assert again.rows().collect().equals(study.rows().collect(), null_equal=True)
    assert again.summary().equals(study.summary())


def test_claims_on_the_spread_are_the_same_from_the_column_and_from_the_maps(plain, study):
    names = study.augmentations

    def spread(rows):
        table = claims(image_rows(rows), names, seed=0, resamples=200)
        return table.filter(pl.col("claim").str.starts_with("10")).drop("statement", "verdict")

    told = spread(study.rows())
    assert told["claim"].to_list() == ["10a", "10b", "10c"]
    assert told.null_count().sum_horizontal().item() == 0
    assert told.equals(spread(plain.rows()))
    # Without a map, and from the column alone.
    turned = spread(study.rows().with_columns(-pl.col(RISE), attention=pl.lit(None)))
    np.testing.assert_allclose(turned["estimate"], -told["estimate"], rtol=1e-12)


@pytest.mark.matrix
def test_an_encoder_without_attention_has_nulls(photos, tmp_path):
    options = ["attention", "aligned"]
    study = embedshift.run(photos, out=tmp_path / "s", model=models.Colours(), metrics=options, workers=0, limit=2)
    rows = study.rows().collect()
    assert [rows[name].null_count() for name in (RISE, DIVERGENCE, ALIGNED)] == [len(rows)] * 3
    assert study.summary().filter(metric=ALIGNED)["n"].to_list() == [0] * 9
    with pytest.raises(EmbedshiftError, match="gives no rollout: it has no `observing`"):
        embedshift.run(photos, out=tmp_path / "r", model=models.Colours(), metrics=["rollout"], workers=0, limit=2)


def test_the_figure_shows_the_summary(study):
    figure = study.figure("attention_change")
    panels = figure.axes
    assert len(panels) == 5
    summary, names = study.summary(), study.ranking().sort("rank")["augmentation"].to_list()
    for axes, metric in zip(panels, (PLAIN, ALIGNED, ROLLOUT, DIVERGENCE, RISE), strict=True):
        assert METRICS[metric].label in axes.get_xlabel().replace("\n", " ")
        rows = {row["augmentation"]: row for row in summary.filter(metric=metric).iter_rows(named=True)}
        dots, intervals = axes.collections[-1].get_offsets(), axes.collections[0].get_segments()
        for index, name in enumerate(names):
            np.testing.assert_allclose(dots[index], [rows[name]["mean"], index])
            np.testing.assert_allclose(np.array(intervals[index])[:, 0], [rows[name]["ci_low"], rows[name]["ci_high"]])
    assert [label.get_text().replace(" ", "_") for label in panels[0].get_yticklabels()] == names


@pytest.mark.matrix
def test_figure_and_section_are_there_only_where_the_study_has_the_metrics(plain, study):
    assert not FIGURES["attention_change"].is_available(FigureInput(plain.reader()))
    assert FIGURES["attention_change"].is_available(FigureInput(study.reader()))
    without = plain.report(figures=["l2_bars"], formats=["svg"], pictures=False).read_text()
    assert 'id="looks"' not in without
    assert 'href="#looks"' not in without
    page = study.report(figures=["attention_change"], formats=["svg"], pictures=False).read_text()
    assert (study.folder / "figures" / "fig11_attention_change.svg").is_file()
    assert 'href="#looks"' in page
    text = page.split('id="looks"')[1].split("</section>")[0]
    for term in ("attention map", "patch", "aligned", "Entropy", "Divergence", "Rollout"):
        assert f"<b>{term}</b>" in text
    assert 'data-packed="data:application/gzip' in text
    with pytest.raises(EmbedshiftError, match="`metrics` attention,aligned,rollout"):
        plain.figure("attention_change")
