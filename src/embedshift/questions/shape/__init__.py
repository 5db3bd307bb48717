"""How far apart do the views of augmentations lie?"""

from dataclasses import dataclass

from embedshift.registry import QUESTIONS, Question, one_of, setting


@dataclass(frozen=True)
class Tree:
    """Settings of the tree of augmentations.

    Args:
        linkage: "ward" (the authors' choice), "average", "complete" or "single".
        on: "images" = mean distance between views of the same image; "means" = distance between the mean embeddings of
            the augmentations, as in the paper's appendix.
        metric: For "means": any metric of `scipy.spatial.distance.pdist`.
        include_original: Whether the original view is a leaf too.

    Raises:
        UsageError: `linkage` or `on` has another value.
    """

    linkage: str = setting("ward", "ward, average, complete or single.")
    on: str = setting("images", "Distances of images, or of the means.", flag="clusters_on")
    metric: str = setting("euclidean", "For clusters on means: any of scipy's pdist.", flag="pdist_metric")
    include_original: bool = setting(False, "The original as a leaf.")

    def __post_init__(self) -> None:
        one_of("linkage", self.linkage, ("ward", "average", "complete", "single"))
        one_of("clusters on", self.on, ("images", "means"))


FIGURES = {
    "dendrogram": ("04d", "How far apart the views of augmentations lie"),
    "clustermap": ("08a", "Augmentations and metrics by likeness of their profiles"),
}
QUESTIONS.add(
    "shape",
    Question(__name__, "How far apart do the views of augmentations lie?", place=50, choices=Tree, figures=FIGURES),
)
