"""Distances between views of the same image, their tree, and studies of more augmentations than rows hold pairs of."""

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest
from scipy.cluster import hierarchy
from scipy.spatial import distance
from scipy.spatial.distance import squareform

import embedshift
from embedshift import EmbedshiftError
from embedshift.figures import FigureInput
from embedshift.questions.clusters import Tree, tables
from embedshift.questions.clusters.section import dendrogram
from embedshift.statistics import clusters
from embedshift.statistics.layout import image_rows
from support import studies
from support.mean_colour import MeanColour
from support.models import pictures
from support.records import SUITE, lazy, records


def pairwise_by_loops(rows, suite, *, original):
    """From the embeddings: mean over images and draws of the cosine distance of two views of one image and draw."""
    vectors = {(row["image_id"], row["view"], row["draw"]): row["embedding"].astype(float) for row in rows}
    images = sorted({row["image_id"] for row in rows})
    draws = sorted({row["draw"] for row in rows})
    names = ["original", *suite] if original else suite
    matrix = np.zeros((len(names), len(names)))
    for (i, first), (j, second) in itertools.product(enumerate(names), repeat=2):
        if i != j:
            of = [
                distance.cosine(*(vectors[image, name, 0 if name == "original" else d] for name in (first, second)))
                for image in images
                for d in draws
            ]
            matrix[i, j] = np.mean(of)
    return names, matrix


@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("rows", [records(), records(draws=1), records(images=1, draws=3)])
def test_pairwise_equals_loops_over_embeddings(rows, original):
    found = tables.distances_of_images(image_rows(lazy(rows)), SUITE, include_original=original)
    names, wanted = pairwise_by_loops(rows, SUITE, original=original)
    assert found["augmentation"].to_list() == names
    assert found.columns == ["augmentation", *names]
    matrix = found.drop("augmentation").to_numpy()
    np.testing.assert_allclose(matrix, wanted, rtol=0, atol=1e-7)  # the lists are float32
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 0).all()


def test_pairwise_leaves_out_what_is_not_a_number():
    rows = records(images=4, draws=2)
    originals = [row for row in rows if row["view"] == "original"]
    wanted = np.array([row["pairwise"] for row in originals]).reshape(-1, 6)
    wanted[3, 2] = wanted[:, 4] = np.nan
    for number, row in enumerate(originals):
        row["pairwise"] = wanted[2 * number : 2 * number + 2].ravel().tolist()
    matrix = tables.distances_of_images(image_rows(lazy(rows)), SUITE).drop("augmentation").to_numpy()
    upper = matrix[np.triu_indices(4, 1)]
    expected = [np.nan if np.isnan(column).all() else np.nanmean(column) for column in wanted.T]
    np.testing.assert_allclose(upper, expected, rtol=1e-6)
    assert np.isnan(matrix).sum() == 2
    blank = [row for row in rows if row["view"] == "blur"]
    blank[0]["cosine_similarity"] = np.nan
    edge = tables.distances_of_images(image_rows(lazy(rows)), SUITE, include_original=True)["blur"][0]
    assert edge == pytest.approx(1 - np.mean([row["cosine_similarity"] for row in blank[1:]]))


def test_mean_embeddings_equal_numpy():
    rows = records(images=5, draws=3)
    found = tables.mean_embeddings(lazy(rows), ["original", *SUITE[::-1]])
    assert found.dtype == np.float64
    for name, mean in zip(["original", *SUITE[::-1]], found, strict=True):
        of = np.array([row["embedding"] for row in rows if row["view"] == name], np.float64)
        np.testing.assert_allclose(mean, of.mean(axis=0), rtol=0, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("tree", [Tree(), Tree("average", include_original=True), Tree("single", on="means")])
def test_dendrogram_is_scipys(tree):
    reader = studies.paper().reader(tree)
    chart = dendrogram(FigureInput(reader))
    matrix = hierarchy.linkage(squareform(tables.distances(reader), checks=False), tree.linkage)
    labels = hierarchy.dendrogram(matrix, no_plot=True, labels=tables.clusters(reader)["augmentation"].to_list())["ivl"]
    go.Figure(chart)  # raises for a name that plotly does not know
    lines, dots = chart["data"]
    assert chart["layout"]["yaxis"]["ticktext"] == labels
    heights = sorted({x for x in lines["x"] if x})
    assert heights == pytest.approx(sorted(matrix[:, 2]), rel=1e-4)
    assert chart["layout"]["shapes"][0]["x0"] == pytest.approx(0.7 * matrix[:, 2].max())
    assert len(dots["x"]) == len(labels)
    found = hierarchy.fcluster(matrix, 0.7 * matrix[:, 2].max(), "distance")
    named = [text["text"] for text in chart["layout"]["annotations"] if "cluster" in text["text"]]
    assert len(named) == len(set(found))
    assert dendrogram(FigureInput(studies.synthetic(5, ["noise"]).reader())) is None, "one leaf"


def darker(number):
    return lambda image, rng: (image * (1 - 0.02 * number)).astype(image.dtype)


@pytest.mark.slow
@pytest.mark.parametrize("count", [20, 21])
def test_rows_hold_the_distances_of_twenty_augmentations_at_most(count, tmp_path, caplog):
    """With two of the paper's names, which claims are about."""
    suite = {f"dark{number}": darker(number) for number in range(2, count)} | {"noise": darker(30), "blur": darker(40)}
    images, settings = pictures(tmp_path / "images", 8), {"model": MeanColour(), "workers": 0}
    clusters._left_out.cache_clear()
    study = embedshift.run(images, out=tmp_path / "study", augmentations=suite, **settings)
    square = {"pairwise", "clusters", "differences", "directions"}
    assert ("pairwise" in study.rows().collect_schema().names()) == (count == 20)
    assert square & set(study.table_names) == (square if count == 20 else set())
    assert ("21 augmentations are too many for the tables, trees and figures" in caplog.text) == (count == 21)
    if count == 20:
        return
    assert study.info()["identity"]["questions"]["clusters"] == {"pairwise": False}
    trees = (lambda: study.pairwise(include_original=True), lambda: study.clusters(Tree(on="means")))
    for made in (study.pairwise, study.clusters, study.differences, study.directions, *trees):
        with pytest.raises(EmbedshiftError, match=r"it needs at most 20 augmentations"):
            made()
    # Claims on means are tested all the same; those on trees are not testable.
    assert len(study.claims()) == 31
    assert "The tree joins" not in study.report(figures=["heatmap"], formats=["svg"]).read_text()
