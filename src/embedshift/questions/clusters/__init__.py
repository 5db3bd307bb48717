from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, one_of, setting


@dataclass(frozen=True)
class Tree:
    linkage: str = setting("ward", "Linkage of the tree: ward, average, complete or single.")
    on: str = setting("images", "Cluster by the distances between images or means.", flag="clusters_on")
    metric: str = setting("euclidean", "With means: any metric of scipy's pdist.", flag="pdist_metric")
    include_original: bool = setting(False, "Add the original as a leaf of the tree.")

    def __post_init__(self) -> None:
        one_of("linkage", self.linkage, ("ward", "average", "complete", "single"))
        one_of("clusters on", self.on, ("images", "means"))


FIGURES = {
    "dendrogram": ("04d", "Tree of augmentations, by the distances between their views"),
    "clustermap": ("08a", "Augmentations and metrics, clustered by their profiles"),
}
SENTENCE = "How far apart are the views of different augmentations?"
QUESTIONS.add("clusters", Question(__name__, SENTENCE, order=54, choices=Tree, figures=FIGURES))
