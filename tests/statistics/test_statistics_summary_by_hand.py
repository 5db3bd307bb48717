"""Small cases worked by hand."""

import polars as pl

from embedshift.statistics import summary as summary_module


def test_ranking():
    rows = [("flip", m, 0.9) for m in summary_module.RADAR_METRICS] + [
        ("noise", m, 0.5) for m in summary_module.RADAR_METRICS
    ]
    assert summary_module.ranking(pl.DataFrame(rows, schema=["augmentation", "metric", "mean"], orient="row"))[
        "rank"
    ].to_list() == [1, 2]
