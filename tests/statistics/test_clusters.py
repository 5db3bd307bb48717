"""Clusters and leaves against scipy's dendrogram and scikit-learn."""

import numpy as np
import pytest
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform

from embedshift import EmbedshiftError
from embedshift.questions.clusters import Tree
from embedshift.statistics.clusters import branches, clusters_of, distances_of_means, linkage_matrix, threshold

LINKAGES = ("ward", "average", "complete", "single")
NAMES = [f"augmentation {number}" for number in range(9)]


def points(seed, groups=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(groups, 4))[rng.integers(0, groups, 9)] * 3 + rng.normal(size=(9, 4)) / 2


def partition(labels):
    return {frozenset(np.flatnonzero(np.asarray(labels) == label).tolist()) for label in set(labels)}


@pytest.mark.parametrize("linkage", LINKAGES)
@pytest.mark.parametrize("seed", range(6))
def test_leaves_are_in_the_order_of_the_dendrogram(linkage, seed):
    square = squareform(pdist(points(seed)))
    found = clusters_of(square, NAMES, linkage)
    tree = hierarchy.linkage(pdist(points(seed)), linkage)
    leaves = hierarchy.dendrogram(tree, no_plot=True)["leaves"]
    assert found["augmentation"].to_list() == NAMES
    assert found.sort("leaf")["augmentation"].to_list() == [NAMES[leaf] for leaf in leaves]
    assert sorted(found["leaf"]) == list(range(9))
    np.testing.assert_allclose(linkage_matrix(square, linkage), tree)
    wanted = hierarchy.fcluster(tree, 0.7 * tree[:, 2].max(), "distance")
    assert partition(found["cluster"].to_list()) == partition(wanted.tolist())


@pytest.mark.parametrize("seed", range(6))
def test_clusters_count_from_1_by_first_appearance(seed):
    numbers = clusters_of(squareform(pdist(points(seed, groups=4))), NAMES)["cluster"].to_list()
    first = [number for place, number in enumerate(numbers) if number not in numbers[:place]]
    assert first == list(range(1, len(first) + 1))


def test_the_first_augmentation_is_in_cluster_1_wherever_its_leaf_is():
    far_first, far_last = np.ones((4, 4)), np.ones((4, 4))
    far_first[0, 1:] = far_first[1:, 0] = 9
    far_last[3, :3] = far_last[:3, 3] = 9
    for matrix in (far_first, far_last):
        np.fill_diagonal(matrix, 0)
    assert clusters_of(far_first, NAMES[:4])["cluster"].to_list() == [1, 2, 2, 2]
    assert clusters_of(far_last, NAMES[:4])["cluster"].to_list() == [1, 1, 1, 2]


def test_ward_is_the_default_and_differs_from_the_others():
    square = squareform(pdist(points(1)))
    np.testing.assert_array_equal(linkage_matrix(square), linkage_matrix(square, "ward"))
    heights = {linkage: threshold(linkage_matrix(square, linkage)) for linkage in LINKAGES}
    assert len(set(heights.values())) == 4
    assert Tree() == Tree(linkage="ward", on="images", metric="euclidean", include_original=False)


def test_the_cut_is_at_seven_tenths_of_the_height():
    tree = linkage_matrix(squareform(pdist(points(2))))
    assert threshold(tree) == pytest.approx(0.7 * max(row[2] for row in tree.tolist()))
    # Two pairs, each 1 apart; their gap puts the pairs on this or that side of the cut.
    for gap, clusters in ((1.42, 4), (1.44, 2)):
        line = np.array([[0.0], [1.0], [1.0 + gap], [2.0 + gap]])
        assert clusters_of(squareform(pdist(line)), NAMES[:4], "single")["cluster"].n_unique() == clusters


def test_one_and_two_augmentations():
    assert clusters_of([[0.0]], ["blur"]).rows() == [("blur", 1, 0)]
    assert clusters_of([[0.0, 0.3], [0.3, 0.0]], ["blur", "noise"])["cluster"].to_list() == [1, 2]


def test_no_distance_at_all_is_one_cluster():
    assert clusters_of(np.zeros((4, 4)), NAMES[:4])["cluster"].to_list() == [1, 1, 1, 1]


def test_a_distance_that_is_not_a_number_is_refused_in_words():
    square = squareform(pdist(points(0)))
    square[2, 3] = square[3, 2] = np.nan
    with pytest.raises(EmbedshiftError, match="a distance undefined"):
        clusters_of(square, NAMES)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "cityblock", "correlation", "chebyshev"])
def test_distances_of_means_equal_pdist(metric):
    of = points(3)
    found = distances_of_means(of.astype(np.float32), metric)
    np.testing.assert_allclose(found[np.triu_indices(9, 1)], pdist(of.astype(np.float32).astype(float), metric))
    np.testing.assert_array_equal(found, found.T)


def test_an_unknown_distance_is_refused():
    with pytest.raises(EmbedshiftError, match="'euclid-ish'") as caught:
        distances_of_means(points(0), "euclid-ish")
    assert caught.value.exit_code == 2


def test_branches_are_the_lines_between_the_leaves():
    # By hand: 1 and 2 meet at 1, and 0 joins them at 4; leaves stand at 0, 1 and 2.
    found = branches(np.array([[1, 2, 1.0, 2], [0, 3, 4.0, 3]]))
    assert found.leaves == [0, 1, 2]
    assert found.positions.tolist() == [[1, 1, 2, 2], [0, 0, 1.5, 1.5]]
    assert found.heights.tolist() == [[0, 1, 1, 0], [0, 4, 4, 1]]
