"""The interactive tree of augmentations, against scipy's."""

import json

import plotly.graph_objects as go
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from embedshift.figures import FigureInput
from embedshift.questions.clusters import Tree, tables
from embedshift.questions.clusters.section import dendrogram
from support import studies
from support.synthetic import make_study


@pytest.mark.slow
@pytest.mark.parametrize("tree", [Tree(), Tree("average", include_original=True), Tree("single", on="means")])
def test_dendrogram_is_scipys(tree):
    reader = studies.paper().reader(tree)
    chart = dendrogram(FigureInput(reader))
    matrix = hierarchy.linkage(squareform(tables.distances(reader), checks=False), tree.linkage)
    labels = hierarchy.dendrogram(matrix, no_plot=True, labels=tables.clusters(reader)["augmentation"].to_list())["ivl"]
    lines, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == labels
    heights = sorted({x for x in lines["x"] if x})
    assert heights == pytest.approx(sorted(matrix[:, 2]), rel=1e-4)
    assert chart["layout"]["shapes"][0]["x0"] == pytest.approx(0.7 * matrix[:, 2].max())
    assert len(dots["x"]) == len(labels)
    found = hierarchy.fcluster(matrix, 0.7 * matrix[:, 2].max(), "distance")
    named = [text["text"] for text in chart["layout"]["annotations"] if "cluster" in text["text"]]
    assert len(named) == len(set(found))


def test_plotly_accepts_every_key_of_the_tree():
    chart = dendrogram(FigureInput(studies.paper().reader()))
    figure = go.Figure(chart)  # raises for a name that plotly does not know
    assert len(figure.data) == len(chart["data"])
    assert json.loads(json.dumps(chart, allow_nan=False)).keys() == chart.keys()


@pytest.mark.slow
def test_one_leaf_is_no_tree(tmp_path):
    one = FigureInput(make_study(tmp_path / "one", 5, ["noise"], effect={"noise": 0.0}).reader())
    assert dendrogram(one) is None


@pytest.mark.slow
def test_names_of_leaves_are_text_to_plotly(tmp_path):
    study = make_study(tmp_path / "study", 5, ["<b>x</b>", "noise"])
    said = json.dumps(dendrogram(FigureInput(study.reader())))
    assert "<b>x</b>" not in said
    assert "&lt;b&gt;x&lt;/b&gt;" in said
