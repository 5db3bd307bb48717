"""The table `duplicates`: pairs of different images of the study that reach the strictest threshold."""

import itertools

import numpy as np
import polars as pl
import pytest

from support.revised import revise_embeddings
from support.synthetic import make_study


def copies(first, count, views=2):
    """Gives some images the same original."""

    def change(vectors):
        vectors[first * views : (first + count) * views : views] = vectors[first * views]
        return vectors

    return change


def pairs_of(study):
    """All pairs of originals with their cosines, in a loop."""
    rows = study.rows().filter(pl.col("view") == "original").select("image_id", "embedding").collect()
    units = {name: np.array(v, np.float64) / np.linalg.norm(v) for name, v in rows.iter_rows()}
    found = [(min(a, b), max(a, b), float(units[a] @ units[b])) for a, b in itertools.combinations(units, 2)]
    return sorted(found, key=lambda pair: -pair[2])


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path / "study", 60, ("blur",), dim=6, with_tables=False)


def test_they_are_the_pairs_that_reach_the_strictest_threshold(study):
    study.write_tables()
    study.search(false_match_rate=[0.1, 0.05])
    least = study.thresholds().filter(false_match_rate=0.05)["threshold"][0]
    expected = [pair for pair in pairs_of(study) if pair[2] >= least - 1e-7]
    assert len(expected) == int(0.05 * 60 * 59 / 2)
    assert [row[:2] for row in study.duplicates().rows()] == [pair[:2] for pair in expected]
    np.testing.assert_allclose(study.duplicates()["cosine"], [pair[2] for pair in expected], atol=1e-6)


def test_a_cluster_of_copies_has_all_its_pairs(study):
    revise_embeddings(study, copies(10, 15))
    study.write_tables()
    study.search(false_match_rate=[0.1])
    equal = study.duplicates().filter(pl.col("cosine") > 1 - 1e-6)
    assert len(equal) == 15 * 14 / 2


def test_copies_are_listed_where_no_rate_has_a_threshold(study):
    revise_embeddings(study, copies(0, 20))
    study.write_tables()
    study.search(false_match_rate=[0.01])
    assert study.thresholds()["threshold"].to_list() == [None]
    assert len(study.duplicates()) == 20 * 19 / 2
    assert study.duplicates()["cosine"].min() > 1 - 1e-6


def test_images_of_a_gallery_are_not_listed(study, tmp_path):
    study.write_tables()
    before = study.duplicates()
    np.save(tmp_path / "own.npy", np.stack(study.rows().collect()["embedding"].to_list()))
    study.search(gallery=tmp_path / "own.npy")
    assert study.duplicates().equals(before)


def test_few_queries_list_the_same_pairs(study):
    study.write_tables()
    before = study.duplicates()
    study.search(queries=9)
    assert study.duplicates().equals(before)
