"""Above twenty augmentations rows hold no distances between views, and whatever reads them goes without."""

import pytest

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.clusters import Tree
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow


def darker(number):
    return lambda image, rng: (image * (1 - 0.02 * number)).astype(image.dtype)


def run(tmp_path, count):
    """With two of the paper's names, which claims are about."""
    suite = {f"dark{number}": darker(number) for number in range(2, count)} | {"noise": darker(30), "blur": darker(40)}
    images, settings = pictures(tmp_path / "images", 8), {"model": MeanColour(), "workers": 0}
    return embedshift.run(images, out=tmp_path / "study", augmentations=suite, **settings)


@pytest.mark.parametrize("count", first_only([20, 21]))
def test_rows_hold_the_distances_of_twenty_augmentations_at_most(count, tmp_path):
    study = run(tmp_path, count)
    few = count <= 20
    columns = study.rows().collect_schema().names()
    assert ("pairwise" in columns) == few
    assert study.info()["identity"]["questions"].get("clusters") == (None if few else {"pairwise": False})
    assert {"pairwise", "clusters", "differences", "directions"} <= set(study.table_names) or not few
    if few:
        return
    assert not {"pairwise", "clusters", "differences", "directions"} & set(study.table_names)
    trees = (lambda: study.pairwise(include_original=True), lambda: study.clusters(Tree(on="means")))
    for made in (study.pairwise, study.clusters, study.differences, study.directions, *trees):
        with pytest.raises(EmbedshiftError, match=r"it needs at most 20 augmentations"):
            made()
    # Claims on means are tested all the same; those on trees are not testable.
    assert len(study.claims()) == 31
    assert study.report(figures=["heatmap"], formats=["svg"]).is_file()
