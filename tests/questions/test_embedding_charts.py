"""The ridges of cosine and L2: what they draw, against scipy; their size, against the number of images."""

import json

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest

from embedshift.figures import FigureInput
from embedshift.questions.embedding.section import distributions
from support import mirrored, studies
from support.synthetic import make_study

pytestmark = pytest.mark.slow


def data_of(folder, *given, **settings) -> FigureInput:
    return FigureInput(make_study(folder, *given, **settings).reader())


@pytest.fixture(scope="module")
def data():
    return FigureInput(studies.paper().reader())


@pytest.mark.parametrize("metric", ["cosine_similarity", "l2_distance"])
def test_ridges_are_scipys_density_and_dots_the_means(data, metric):
    chart = distributions(data, metric)
    order = data.ranking.sort("rank")["augmentation"].to_list()
    *ridges, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == order
    assert len(ridges) == len(order)
    rows = data.rows.collect()
    for place, (name, ridge) in enumerate(zip(order, ridges, strict=True)):
        values = rows.filter(pl.col("view") == name)[metric].to_numpy()
        half = len(ridge["x"]) // 2
        x, tops = np.array(ridge["x"][:half]), place - np.array(ridge["y"][:half])
        expected = mirrored.density(values, x, *((-1.0, 1.0) if metric == "cosine_similarity" else (0.0,)))
        assert tops / tops.max() == pytest.approx(expected / expected.max(), abs=2e-3)
        assert ridge["line"]["color"] == data.colours[name]
        assert dots["x"][place] == pytest.approx(values.mean())
        assert f"mean {values.mean():.3f}"[:10] in dots["text"][place]
    assert min(min(ridge["x"]) for ridge in ridges) >= (-1 if metric == "cosine_similarity" else 0)


def test_plotly_accepts_every_key_of_the_ridges(data):
    chart = distributions(data, "cosine_similarity")
    go.Figure(chart)  # raises for a name that plotly does not know
    json.dumps(chart, allow_nan=False)


def test_equal_values_have_no_curve(tmp_path):
    one = data_of(tmp_path / "one", 5, ["noise"], effect={"noise": 0.0})
    assert len(distributions(one, "l2_distance")["data"]) == 1


@pytest.mark.matrix
def test_size_does_not_grow_with_images(tmp_path):
    small, large = (data_of(tmp_path / str(n), n, ["noise", "blur"]) for n in (30, 600))
    sizes = [len(json.dumps(distributions(each, "l2_distance"))) for each in (small, large)]
    assert sizes[1] < 1.1 * sizes[0]


def test_names_of_ridges_are_text_to_plotly(tmp_path):
    said = json.dumps(distributions(data_of(tmp_path / "study", 5, ["<b>x</b>", "noise"]), "l2_distance"))
    assert "<b>x</b>" not in said
    assert "&lt;b&gt;x&lt;/b&gt;" in said
