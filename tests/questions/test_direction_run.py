"""Two augmentations along one direction, two along others: what the two trees join, through a whole run."""

import numpy as np
import pytest

import embedshift
from embedshift.questions.direction.figures import tree_of
from support.shifts import shift_sums
from support.ways import WAYS, Ways, suite, write_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("ways") / "images", 40)


@pytest.fixture(scope="module")
def both(images, tmp_path_factory):
    """The same study with vectors and without, two draws, shards of 8."""
    out = tmp_path_factory.mktemp("studies")
    settings = {"model": Ways(), "augmentations": suite(), "draws": 2, "shard_size": 8, "workers": 0}
    return [embedshift.run(images, out=out / store, store=store, **settings) for store in ("all", "metrics")]


def matrix(study, name):
    table = study.table(name)
    assert table["augmentation"].to_list() == list(WAYS)
    return table.drop("augmentation").to_numpy()


def first_join(linkage):
    return {list(WAYS)[int(leaf)] for leaf in linkage[0, :2]}


def test_the_tree_of_directions_joins_a_and_b_and_the_tree_of_distances_does_not(both):
    study = both[0]
    linkage, order = tree_of(matrix(study, "directions"))
    assert first_join(linkage) == {"a", "b"}
    names = [list(WAYS)[index] for index in order]
    assert abs(names.index("a") - names.index("b")) == 1
    cluster = dict(study.clusters().select("augmentation", "cluster").iter_rows())
    assert cluster["b"] == cluster["d"] != cluster["a"]
    labels = [label.get_text() for axes in study.figure("directions").axes for label in axes.get_yticklabels()]
    assert [label for label in labels if label in WAYS] == names
    for name, least in (("directions", 0.9), ("directions_of_images", 0.6)):
        cosines = matrix(study, name)
        others = [cosines[i, j] for i in range(4) for j in range(i) if {i, j} != {0, 1}]
        assert cosines[0, 1] > least > max(others) + 0.2


@pytest.mark.matrix
def test_the_report_says_so(both):
    text = both[0].report(figures=["directions", "dendrogram"], formats=["svg"]).read_text()
    assert '<section id="direction"' in text
    assert "In which direction augmentations move the embedding" in text
    assert "Distances between the views of augmentations" in text
    assert "move the embedding alike" not in text
    section = text[text.index('<section id="direction"') : text.index('<section id="geometry"')]
    shifts = both[0].table("shifts")
    for row in shifts.iter_rows(named=True):
        assert f'{row["resultant"]:.2f}</td><td class="number">{row["resultant_by_chance"]:.2f}' in " ".join(
            section.split()
        )
    shown = [f"{value:.2f}" for value in shifts["relative_to_others"] if value > 0.5]
    assert 0 < len(shown) < 4
    assert all(f'<td class="number">{value}</td></tr>' in section for value in shown)


def test_the_sums_are_those_of_the_stored_embeddings(both):
    embedding = both[0].rows().collect()["embedding"].to_numpy().reshape(40, 9, -1)
    found, wanted = both[0].reader().sums("shifts"), shift_sums(embedding, 4, 2)
    assert set(found) == set(wanted)
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], atol=1e-5 if name == "shifts" else 1e-11, err_msg=name)


def test_numbers_do_not_need_the_vectors(both):
    full, lean = both
    for name in ("directions", "directions_of_images", "shifts"):
        assert lean.table(name).equals(full.table(name)), name
    offsets = [study.summary().filter(metric="cosine_similarity")["common_offset"] for study in both]
    assert offsets[0].null_count() == 0
    assert offsets[0].equals(offsets[1])
    assert full.summary()["centred_shift"].drop_nulls().len() == 4
    assert lean.summary()["centred_shift"].drop_nulls().is_empty()


@pytest.mark.matrix
def test_the_size_of_shards(images, tmp_path):
    settings = {"model": Ways(), "augmentations": suite("a", "b"), "workers": 0}
    first, second = (embedshift.run(images, out=tmp_path / str(size), shard_size=size, **settings) for size in (4, 64))
    np.testing.assert_allclose(
        first.table("directions").drop("augmentation").to_numpy().astype(float),
        second.table("directions").drop("augmentation").to_numpy().astype(float),
        rtol=0, atol=1e-7,
    )  # fmt: skip
    one, other = (study.table("shifts") for study in (first, second))
    for name in ("images", "resultant", "resultant_by_chance", "relative_to_others", "split_half"):
        np.testing.assert_allclose(
            one[name].to_numpy().astype(float), other[name].to_numpy().astype(float), rtol=0, atol=1e-6
        )
    assert one["images"].to_list() == [40, 40]
    assert first.figure("directions").axes
    assert '<section id="direction"' in first.report(figures=[]).read_text()
