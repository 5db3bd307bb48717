"""What claims say of trees, read with SciPy from one tree at a time."""

from collections.abc import Sequence
from typing import Any

from scipy.cluster.hierarchy import fcluster, linkage, to_tree

from embedshift.arrays import Values
from support.claims_world import NAMES


def clusters(distances: Values) -> tuple[Any, Any]:
    """The ward tree of 36 distances, and the cluster of each augmentation."""
    tree = linkage(distances, "ward")
    return tree, fcluster(tree, 0.7 * tree[:, 2].max(), "distance")


def noise_alone(distances: Values) -> bool:
    """Noise is a cluster and the other eight are one."""
    _, found = clusters(distances)
    return NAMES[0] == "noise" and len(set(found[1:])) == 1 and found[0] not in found[1:]


def branch_inside(distances: Values, names: Sequence[str]) -> bool:
    """`names` are a branch within a larger cluster that does not hold noise."""
    tree, found = clusters(distances)
    wanted = {NAMES.index(name) for name in names}
    _, nodes = to_tree(tree, rd=True)
    branch = any(set(node.pre_order()) == wanted for node in nodes)
    cluster = {i for i in range(9) if found[i] == found[NAMES.index(names[0])]}
    return branch and wanted < cluster and 0 not in cluster
