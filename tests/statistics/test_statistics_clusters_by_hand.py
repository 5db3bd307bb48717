"""Small cases worked by hand."""

from embedshift.statistics import clusters


def test_has_pairs():
    assert clusters.has_pairs(["noise", "blur"])


def test_linkage_matrix():
    assert clusters.linkage_matrix([[0.0, 1.0], [1.0, 0.0]])[0, 2].item() == 1.0


def test_clusters_of():
    assert clusters.clusters_of([[0, 9, 9], [9, 0, 1], [9, 1, 0]], ["noise", "blur", "flip"])["cluster"].to_list() == [
        1,
        2,
        2,
    ]


def test_distances_of_means():
    assert clusters.distances_of_means([[0.0, 0.0], [3.0, 4.0]])[0, 1].item() == 5.0


def test_branches():
    assert clusters.branches(clusters.linkage_matrix([[0.0, 1.0], [1.0, 0.0]])).positions.tolist() == [
        [0.0, 0.0, 1.0, 1.0]
    ]
