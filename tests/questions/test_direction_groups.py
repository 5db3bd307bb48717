"""Which way, of images in groups, against loops; and of more images than are read at once."""

import itertools

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.questions.direction.tables import mean_cosines
from embedshift.statistics.layout import image_rows


def unit(vector):
    return vector / np.sqrt((vector * vector).sum())


@pytest.mark.slow
def test_numbers_of_groups_are_those_of_loops_over_groups(tmp_path):
    """A group counts as an image: for halves, for chance, and for what another original is."""
    rng, groups = np.random.default_rng(5), np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 4])
    original = rng.normal(size=(14, 7)) + 1
    views = {name: original + width * rng.normal(size=(14, 7)) for name, width in (("blur", 0.3), ("noise", 1.0))}
    study = embedshift.from_vectors(original, views, out=tmp_path / "study", groups=groups)
    table = study.table("shifts")
    assert table["augmentation"].to_list() == [*views]
    origins = [unit(each) for each in original]
    for row, view in zip(table.iter_rows(named=True), views.values(), strict=True):
        ends = [unit(each) for each in view]
        shifts = [end - origin for end, origin in zip(ends, origins, strict=True)]
        length = np.mean([np.sqrt(shift @ shift) for shift in shifts])
        of_groups = [sum(shift for shift, of in zip(shifts, groups, strict=True) if of == group) for group in range(6)]
        chance = np.sqrt(sum(total @ total for total in of_groups)) / len(shifts) / length
        inner, square = [], []
        for half in itertools.combinations(range(6), 3):
            first, second = (sum(of_groups[i] for i in range(6) if (i in half) == side) for side in (True, False))
            inner.append(first @ second)
            square.append(first @ first)
        own = np.mean([1 - end @ origin for end, origin in zip(ends, origins, strict=True)])
        pairs = [(i, j) for i, j in itertools.permutations(range(14), 2) if groups[i] != groups[j]]
        others = np.mean([1 - ends[i] @ origins[j] for i, j in pairs])
        assert row["images"] == 14
        assert row["resultant_by_chance"] == pytest.approx(chance, rel=1e-5)
        assert row["split_half"] == pytest.approx(np.mean(inner) / np.mean(square), abs=1e-5)
        assert row["relative_to_others"] == pytest.approx(own / others, rel=1e-5)


def test_an_augmentation_that_moves_the_first_block_alone_has_cosines():
    """Rows are read in blocks of 512 images."""
    first, second = np.where(np.arange(600) < 512, 0.8, 1.0), np.full(600, 0.5)
    columns = {"view": ["original", "a", "b"] * 600, "draw": [0, 0, 0] * 600}
    columns["cosine_similarity"] = np.stack([np.full(600, np.nan), first, second], axis=1).ravel()
    distances = pl.Series([[0.4], None, None] * 600, dtype=pl.List(pl.Float32))
    found = mean_cosines(image_rows(pl.DataFrame(columns | {"pairwise": distances}).lazy()), ["a", "b"])
    wanted = (0.2 + 0.5 - 0.4) / np.sqrt(4 * 0.2 * 0.5)
    np.testing.assert_allclose(found, [[1, wanted], [wanted, 1]], rtol=1e-6)
