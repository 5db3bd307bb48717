"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.questions.profile import figures
from embedshift.questions.profile import section as section_module


def test_bars_span():
    assert figures.span(np.array([0.5, np.nan])) == (0.0, 1.0)


def test_radar_closed():
    assert figures.closed(np.array([1.0, 2.0])).tolist() == [1.0, 2.0, 1.0]


def test_radar_innermost():
    assert figures.innermost(np.array([0.56, 0.9])) == 0.4


def test_section_variance_fractions():
    rows = [
        (a, m, v)
        for m, step in (("cosine_similarity", 0.3), ("edge_preservation", 0.1))
        for a, v in (("blur", 1.0), ("noise", 1.0 - step))
    ]
    table = pl.DataFrame(rows, schema=["augmentation", "metric", "mean"], orient="row")
    assert [(name, round(part, 2)) for name, part in section_module.variance_fractions(table)] == [
        ("cosine_similarity", 0.75),
        ("edge_preservation", 0.25),
    ]
