"""Every figure of numbers, read back from what it draws and held against the shards."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_hex
from scipy.cluster import hierarchy
from scipy.spatial.distance import cdist, pdist, squareform

from embedshift.figures.style import PALETTE
from embedshift.questions.clusters import Tree
from support import mirrored
from support.synthetic import make_study

NAMES = ["noise", "blur", "horizontal_flip", "elastic", "perspective", "coarse_dropout"]
RADAR = ["cosine_similarity", "attention_similarity", "patch_similarity", "edge_preservation", "detail_preservation"]
LABELS = [name.replace("_", " ") for name in RADAR]
COLOURS = dict(zip(NAMES, [colour.lower() for colour in PALETTE], strict=False))
EFFECT = {"noise": 2.0, "blur": 0.2, "horizontal_flip": 0.9, "elastic": 0.1, "perspective": 0.5, "coarse_dropout": 0.3}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures") / "study"
    return make_study(folder, 70, NAMES, effect=EFFECT, seed=3, draws=2, shard_size=30)


@pytest.fixture(scope="module")
def rows(study):
    return pq.read_table(study.folder / "shards").to_pylist()


@pytest.fixture(scope="module")
def means(rows):
    """Metric x augmentation, suite order."""
    return np.array([[np.mean(values(rows, name, metric)) for name in NAMES] for metric in RADAR])


def values(rows, name, metric):
    return np.array([row[metric] for row in rows if row["view"] == name])


def human(names):
    return [name.replace("_", " ") for name in names]


def words(labels):
    return [label.get_text().replace("\n", " ") for label in labels]


def mean_distances(rows, leaves):
    """Mean cosine distance between views of the same image and draw, from the embeddings."""
    total, count = np.zeros((len(leaves), len(leaves))), 0
    original = {row["image_id"]: row["embedding"] for row in rows if row["view"] == "original"}
    for image in original:
        for draw in (0, 1):
            found = {r["view"]: r["embedding"] for r in rows if r["image_id"] == image and r["draw"] == draw}
            vectors = np.array([original[image] if name == "original" else found[name] for name in leaves])
            total, count = total + cdist(vectors, vectors, "cosine"), count + 1
    return total / count


@pytest.mark.slow
def test_heatmap_cells_are_the_means_sorted_by_mean_performance(study, means):
    figure = study.figure("heatmap")
    axes = figure.axes[0]
    order = np.argsort(-means.mean(axis=0))
    cells = axes.collections[0].get_array().reshape(5, 6)
    np.testing.assert_allclose(cells, means[:, order], rtol=1e-12)
    assert words(axes.get_xticklabels()) == human(np.array(NAMES)[order])
    assert words(axes.get_yticklabels()) == LABELS
    assert [text.get_text() for text in axes.texts] == [f"{value:.3f}" for value in means[:, order].ravel()]
    assert words(axes.child_axes[0].get_xticklabels()) == [f"{v:.3f}" for v in means.mean(axis=0)[order]]


def test_density_curves_are_scipys_and_mirrored_at_zero(study, rows):
    figure = study.figure("l2_density")
    axes = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].texts] == human(NAMES)
    lines = dict(zip(NAMES, axes.lines, strict=True))
    filled = [path.get_paths()[0].vertices for path in axes.collections]
    for (name, line), area in zip(lines.items(), filled, strict=True):
        x, y = line.get_data()
        sample = values(rows, name, "l2_distance")
        np.testing.assert_allclose(y, mirrored.density(sample, x, 0.0), rtol=1e-9)
        assert to_hex(line.get_color()) == COLOURS[name]
        assert x.min() >= 0
        assert x.min() <= sample.min()
        assert x.max() >= sample.max()
        assert area[:, 1].max() == y.max()
    assert "0 = no change" in axes.get_xlabel()


@pytest.mark.slow
def test_single_values_are_drawn_as_a_line_at_the_value(tmp_path):
    one = make_study(tmp_path / "one", 1, NAMES, effect=EFFECT)
    rows = pq.read_table(one.folder / "shards").to_pylist()
    for figure, column in (("l2_density", "l2_distance"), ("cosine_histogram", "cosine_similarity")):
        lines = [line.get_xdata() for axes in one.figure(figure).axes for line in axes.lines]
        wanted = [[values(rows, name, column)[0]] * 2 for name in NAMES]
        np.testing.assert_allclose([line for line in lines if len(line) == 2], wanted, rtol=1e-12)


def test_histograms_count_the_views_and_the_legend_gives_mean_and_sd(study, rows):
    figure = study.figure("cosine_histogram")
    assert len(figure.axes) == len(NAMES)
    for axes, name in zip(figure.axes, NAMES, strict=True):
        sample = values(rows, name, "cosine_similarity")
        counts, edges = np.histogram(sample, bins="auto")
        bars = axes.patches
        np.testing.assert_allclose([bar.get_x() for bar in bars], edges[:-1], rtol=1e-9)
        counted = [bar.get_height() * bar.get_width() * len(sample) for bar in bars]
        np.testing.assert_allclose(counted, counts, atol=1e-9)
        x, y = next(line for line in axes.lines if len(line.get_xdata()) > 2).get_data()
        np.testing.assert_allclose(y, mirrored.density(sample, x, -1.0, 1.0), rtol=1e-9)
        (said,) = axes.get_legend().get_texts()
        mean, sd = np.mean(sample), np.std(sample, ddof=1)
        assert said.get_text() == f"{name.replace('_', ' ')}\nmean {mean:.3f}, sd {sd:.3f}"


@pytest.mark.parametrize(
    "tree",
    [Tree(), Tree(linkage="average", include_original=True), Tree(linkage="complete", on="means", metric="cityblock")],
    ids=lambda tree: f"{tree.linkage}-{tree.on}",
)
def test_dendrogram_is_scipys(study, rows, tree):
    leaves = ["original", *NAMES] if tree.include_original else NAMES
    if tree.on == "images":
        condensed = squareform(mean_distances(rows, leaves), checks=False)
        says = f"{tree.linkage} linkage on mean cosine distance"
    else:
        embeddings = [np.mean([r["embedding"] for r in rows if r["view"] == name], axis=0) for name in leaves]
        condensed = pdist(np.array(embeddings), "cityblock")
        says = f"{tree.linkage} linkage on cityblock distance of mean embeddings"
    linkage = hierarchy.linkage(condensed, tree.linkage)
    wanted = hierarchy.dendrogram(linkage, no_plot=True, labels=leaves)
    axes = study.figure("dendrogram", tree=tree).axes[0]
    assert words(axes.get_yticklabels()) == human(wanted["ivl"])
    assert says in axes.get_xlabel()
    merges = [line for line in axes.lines if len(line.get_xdata()) == 4]
    np.testing.assert_allclose([line.get_xdata() for line in merges], wanted["dcoord"], rtol=1e-5)
    np.testing.assert_allclose([line.get_ydata() for line in merges], (np.array(wanted["icoord"]) - 5) / 10)
    (cut,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    at = 0.7 * linkage[:, 2].max()
    np.testing.assert_allclose(cut.get_xdata(), at, rtol=1e-5)
    labels = hierarchy.fcluster(linkage, at, "distance")
    number = {label: i for i, label in enumerate(dict.fromkeys(labels), start=1)}
    middles = {
        f"cluster {number[label]}": np.mean([wanted["leaves"].index(i) for i in np.flatnonzero(labels == label)])
        for label in set(labels)
    }
    said = {t.get_text(): t.xy[1] for t in axes.texts if t.get_text().startswith("cluster")}
    assert said == pytest.approx(middles)
    dots = [to_hex(colour) for colour in axes.collections[-1].get_facecolors()]
    assert dots == [COLOURS.get(name, "#6b6b6b") for name in wanted["ivl"]]


def test_radar_radii_are_the_means_between_worst_and_best(study, means):
    figure = study.figure("radar")
    angles = np.arange(5) * 2 * np.pi / 5
    assert [axes.get_title(loc="center") for axes in figure.axes] == human(NAMES)
    for axes, column in zip(figure.axes, means.T, strict=True):
        (line,) = axes.lines
        np.testing.assert_allclose(line.get_ydata(), [*column, column[0]], rtol=1e-12)
        np.testing.assert_allclose(line.get_xdata()[:5], angles)
        assert words(axes.get_xticklabels()) == LABELS
        corners = {tuple(corner) for corner in axes.collections[0].get_paths()[0].vertices.round(9)}
        low, high = means.min(axis=1), means.max(axis=1)
        assert {(a, r) for a, r in zip(angles.round(9), low.round(9), strict=True)} <= corners
        assert {(a, r) for a, r in zip(angles.round(9), high.round(9), strict=True)} <= corners
        assert axes.get_rmin() < means.min()
        assert axes.get_rmax() == 1


def test_profile_bars_ranks_and_best(study, means):
    figure = study.figure("profile")
    average = means.mean(axis=0)
    order = np.argsort(-average)
    for rank, (axes, index) in enumerate(zip(figure.axes, order, strict=False), start=1):
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], means[:, index], rtol=1e-12)
        assert {to_hex(bar.get_facecolor()) for bar in axes.patches} == {COLOURS[NAMES[index]]}
        name = NAMES[index].replace("_", " ")
        assert axes.get_title(loc="left") == f"{name}\nrank {rank} of 6, average {average[index]:.3f}"
        said = [text.get_text().split() for text in axes.texts]
        best = ["best"]
        assert said == [
            [f"{mean:.3f}"] + (best if mean == row.max() else [])
            for mean, row in zip(means[:, index], means, strict=True)
        ]


def test_l2_bars_are_sorted_with_whiskers_of_one_sd(study, rows):
    axes = study.figure("l2_bars").axes[0]
    sample = {name: values(rows, name, "l2_distance") for name in NAMES}
    order = sorted(NAMES, key=lambda name: -sample[name].mean())
    assert words(axes.get_yticklabels()) == human(order)
    mean = np.array([sample[name].mean() for name in order])
    sd = np.array([sample[name].std(ddof=1) for name in order])
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], mean, rtol=1e-12)
    (whiskers,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    ends = np.array([segment[:, 0] for segment in whiskers.get_segments()])
    np.testing.assert_allclose(ends, np.stack([mean - sd, mean + sd], axis=1), rtol=1e-12)
    assert [text.get_text() for text in axes.texts] == [f"{value:.3g}" for value in mean]


@pytest.mark.parametrize("method", ["ward", "average"])
def test_clustermap_is_the_matrix_in_the_order_of_scipys_trees(study, means, method):
    figure = study.figure("clustermap", tree=Tree(linkage=method))
    axes, left, top = figure.axes[:3]
    links = [hierarchy.linkage(matrix, method, "euclidean") for matrix in (means, means.T)]
    drawn = [hierarchy.dendrogram(link, no_plot=True) for link in links]
    ordered = means[np.ix_(drawn[0]["leaves"], drawn[1]["leaves"])]
    (mesh,) = [c for c in axes.collections if isinstance(c, QuadMesh)]
    np.testing.assert_allclose(mesh.get_array().reshape(5, 6), ordered, rtol=1e-12)
    assert words(axes.get_yticklabels()) == [LABELS[index] for index in drawn[0]["leaves"]]
    assert words(axes.get_xticklabels()) == human(NAMES[index] for index in drawn[1]["leaves"])
    np.testing.assert_allclose([line.get_ydata() for line in top.lines], drawn[1]["dcoord"])
    np.testing.assert_allclose([line.get_xdata() for line in top.lines], np.array(drawn[1]["icoord"]) / 10)
    np.testing.assert_allclose([line.get_xdata() for line in left.lines], drawn[0]["dcoord"])
    np.testing.assert_allclose([line.get_ydata() for line in left.lines], np.array(drawn[0]["icoord"]) / 10)


def test_metric_bars_keep_suite_order_and_dash_the_average(study, means):
    figure = study.figure("metric_bars")
    assert words(figure.axes[0].get_yticklabels()) == human(NAMES)
    for axes, label, row in zip(figure.axes, LABELS, means, strict=True):
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], row, rtol=1e-12)
        assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == list(COLOURS.values())
        (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(dashed.get_xdata(), row.mean(), rtol=1e-12)
        assert axes.get_title(loc="left") == f"{label}\naverage {row.mean():.3f}"


def test_sample_heatmap_shows_fifty_images_drawn_by_the_seed(study, rows):
    axes = study.figure("sample_heatmap").axes[0]
    ids = sorted(random.Random(3).sample(sorted({row["image_id"] for row in rows}), 50))
    assert words(axes.get_yticklabels()) == ids
    assert words(axes.get_xticklabels()) == human(NAMES)
    wanted = [
        [np.mean([r["cosine_similarity"] for r in rows if r["image_id"] == i and r["view"] == name]) for name in NAMES]
        for i in ids
    ]
    np.testing.assert_allclose(axes.collections[0].get_array().reshape(50, 6), wanted, rtol=1e-12)
