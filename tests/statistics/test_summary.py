"""Summary and ranking against pandas, scipy and plain loops."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from embedshift.statistics import summary as tables
from embedshift.statistics.summary import RADAR_METRICS
from support.records import METRICS, SUITE, holes, records, summarised

# Summary.


@pytest.mark.parametrize(
    "rows",
    [records(), records(draws=1), holes(records()), holes(records(draws=3, images=5)), records(images=2, draws=1)],
)
def test_summary_equals_pandas(rows):
    found = summarised(rows)
    frame = pd.DataFrame(rows)
    assert found.columns == ["augmentation", "metric", "n", "mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"]
    assert found.select("augmentation", "metric").rows() == list(itertools.product(SUITE, METRICS))
    for row in found.iter_rows(named=True):
        values = frame.loc[frame["view"] == row["augmentation"], row["metric"]].astype(float).dropna()
        assert row["n"] == len(values)
        if not len(values):
            assert {row[name] for name in found.columns[3:]} == {None}
            continue
        wanted = {
            "mean": values.mean(), "sd": values.std(), "median": values.median(), "q05": values.quantile(0.05),
            "q95": values.quantile(0.95),
        }  # fmt: skip
        assert {name: row[name] for name in wanted} == pytest.approx(wanted, rel=1e-12, abs=1e-12)
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]


def test_summary_is_in_the_order_of_the_suite_and_of_the_metrics():
    found = summarised(records(), suite=SUITE[::-1], metrics=METRICS[::-1])
    assert found.select("augmentation", "metric").rows() == list(itertools.product(SUITE[::-1], METRICS[::-1]))


def test_one_image_one_draw():
    found = summarised(records(images=1, draws=1))
    assert found["n"].to_list() == [1] * len(found)
    assert found["sd"].is_null().all()
    for column in ("median", "q05", "q95", "ci_low", "ci_high"):
        assert found[column].to_list() == found["mean"].to_list()


def test_no_rows_at_all():
    found = summarised(records(images=0))
    assert found["n"].to_list() == [0] * 24
    assert found["mean"].is_null().all()


def test_no_value_is_nan():
    found = summarised(holes(records()))
    for column in found.columns[3:]:
        assert not found[column].is_nan().any()


def test_without_resamples_there_is_no_interval_and_nothing_else_is_missing():
    rows, ends = holes(records()), ["ci_low", "ci_high"]
    found = summarised(rows, resamples=0)
    assert found.drop(ends).equals(summarised(rows).drop(ends), null_equal=True)
    assert found.select(ends).null_count().row(0) == (len(found), len(found))


# Ranking.


def test_ranking_equals_a_loop():
    rows = holes(records())
    summary = summarised(rows)
    found = tables.ranking(summary)
    assert found.columns == ["augmentation", "mean_performance", "rank"]
    assert found["augmentation"].to_list() == SUITE
    frame = pd.DataFrame(rows)
    wanted = [
        np.nanmean([frame.loc[frame["view"] == name, metric].astype(float).mean() for metric in RADAR_METRICS])
        for name in SUITE
    ]
    np.testing.assert_allclose(found["mean_performance"], wanted, rtol=1e-12)
    np.testing.assert_array_equal(found["rank"], stats.rankdata([-value for value in wanted]))


def test_ranking_without_attention_is_over_the_four_that_exist():
    rows = [row | {"attention_similarity": None} for row in records()]
    found = tables.ranking(summarised(rows))
    means = summarised(rows).filter(pl.col("metric").is_in(sorted(set(RADAR_METRICS) - {"attention_similarity"})))
    for name, value in zip(found["augmentation"], found["mean_performance"], strict=True):
        assert value == pytest.approx(np.mean(means.filter(pl.col("augmentation") == name)["mean"].to_list()))


def test_ranking_ignores_distance_and_optional_metrics():
    rows = records()
    ranking = tables.ranking(summarised(rows))
    changed = [row | {"l2_distance": None if row["l2_distance"] is None else 1e6} for row in rows]
    assert tables.ranking(summarised(changed)).equals(ranking)
    optional = summarised(rows).head(1).with_columns(pl.lit("patch_similarity_uint8").alias("metric"), pl.lit(9.0).alias("mean"))  # fmt: skip  # noqa: E501
    assert tables.ranking(pl.concat([summarised(rows), optional])).equals(ranking)


def test_rank_1_is_the_least_changed_and_ranks_are_a_permutation():
    summary = pl.DataFrame(
        [(name, metric, value) for name, value in (("a", 0.2), ("b", 0.9), ("c", 0.2)) for metric in RADAR_METRICS],
        schema=["augmentation", "metric", "mean"],
        orient="row",
    )
    assert tables.ranking(summary)["rank"].to_list() == [2, 1, 3]
