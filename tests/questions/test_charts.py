"""The interactive charts: what they draw, against scipy; their size, against the number of images."""

import json

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform
from scipy.stats import gaussian_kde

from embedshift.figures import figure_input
from embedshift.questions.embedding import section as charts
from embedshift.questions.shape import Tree
from support.synthetic import make_study


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return figure_input(make_study(tmp_path_factory.mktemp("charts") / "study", 40))


@pytest.mark.parametrize("metric", ["cosine_similarity", "l2_distance"])
def test_ridges_are_scipys_density_and_dots_the_means(data, metric):
    chart = charts.distributions(data, metric)
    order = data.ranking.sort("rank")["augmentation"].to_list()
    *ridges, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == order
    assert len(ridges) == len(order)
    rows = data.rows.collect()
    for place, (name, ridge) in enumerate(zip(order, ridges, strict=True)):
        values = rows.filter(pl.col("view") == name)[metric].to_numpy()
        half = len(ridge["x"]) // 2
        x, tops = np.array(ridge["x"][:half]), place - np.array(ridge["y"][:half])
        expected = gaussian_kde(values)(x)
        assert tops / tops.max() == pytest.approx(expected / expected.max(), abs=2e-3)
        assert ridge["line"]["color"] == data.colours[name]
        assert dots["x"][place] == pytest.approx(values.mean())
        assert f"mean {values.mean():.3f}"[:10] in dots["text"][place]
    assert min(min(ridge["x"]) for ridge in ridges) >= (-1 if metric == "cosine_similarity" else 0)


@pytest.mark.parametrize("tree", [Tree(), Tree("average", include_original=True), Tree("single", on="means")])
def test_dendrogram_is_scipys(tmp_path, tree):
    study = make_study(tmp_path / "study", 30)
    data = figure_input(study, tree)
    chart = charts.dendrogram(data)
    matrix = hierarchy.linkage(squareform(data.distances, checks=False), tree.linkage)
    labels = hierarchy.dendrogram(matrix, no_plot=True, labels=data.clusters["augmentation"].to_list())["ivl"]
    lines, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == labels
    heights = sorted({x for x in lines["x"] if x})
    assert heights == pytest.approx(sorted(matrix[:, 2]), rel=1e-4)
    assert chart["layout"]["shapes"][0]["x0"] == pytest.approx(0.7 * matrix[:, 2].max())
    assert len(dots["x"]) == len(labels)
    found = hierarchy.fcluster(matrix, 0.7 * matrix[:, 2].max(), "distance")
    named = [text["text"] for text in chart["layout"]["annotations"] if "cluster" in text["text"]]
    assert len(named) == len(set(found))


def test_plotly_accepts_every_key(data):
    for chart in (charts.distributions(data, "cosine_similarity"), charts.dendrogram(data)):
        go.Figure(chart)  # raises for a name that plotly does not know
        json.dumps(chart, allow_nan=False)


def test_equal_values_have_no_curve_and_one_leaf_no_tree(tmp_path):
    one = figure_input(make_study(tmp_path / "one", 5, ["noise"], effect={"noise": 0.0}))
    assert charts.dendrogram(one) is None
    assert len(charts.distributions(one, "l2_distance")["data"]) == 1


def test_size_does_not_grow_with_images(tmp_path):
    small, large = (figure_input(make_study(tmp_path / str(n), n, ["noise", "blur"])) for n in (30, 3000))
    sizes = [len(json.dumps(charts.distributions(each, "l2_distance"))) for each in (small, large)]
    assert sizes[1] < 1.1 * sizes[0]


def test_names_are_text_to_plotly(tmp_path):
    data = figure_input(make_study(tmp_path / "study", 5, ["<b>x</b>", "noise"]))
    said = json.dumps([charts.distributions(data, "l2_distance"), charts.dendrogram(data)])
    assert "<b>x</b>" not in said
    assert "&lt;b&gt;x&lt;/b&gt;" in said
