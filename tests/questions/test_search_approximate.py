"""FAISS against exact search, on 20,000 vectors; and what is said where it is not installed."""

import logging
import sys

import numpy as np
import pytest

from embedshift.questions.search.ranks import measured_recall, search_function
from embedshift.statistics.retrieval import Gallery, search

COUNT, QUERIES = 20_000, 600


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(200, 48))
    vectors = (centres[rng.integers(200, size=COUNT)] + 0.8 * rng.normal(size=(COUNT, 48)) + 0.7).astype(np.float32)
    vectors[100:120] = vectors[5_000:5_020]
    vectors[130] = 0
    own = np.arange(QUERIES)
    queries = vectors[own] + (np.linspace(0, 3, QUERIES)[:, None] * rng.normal(size=(QUERIES, 48))).astype(np.float32)
    queries[140] = 0
    return Gallery.of(vectors), queries, own


@pytest.mark.slow
def test_faiss_finds_what_an_exact_search_finds(world, caplog):
    gallery, queries, own = world
    with caplog.at_level(logging.INFO, "embedshift"):
        near = search_function(gallery, views=6_000, least=COUNT)
    found, exact = near(queries, own, 64), search(queries, own, gallery, count=64)
    assert f"FAISS index of {COUNT} images" in caplog.text
    assert "of the 10 nearest" in caplog.text
    for k in (1, 5, 10):
        hit, expected = ((each.rank > 0) & (each.rank <= k) for each in (found, exact))
        assert (hit != expected).mean() <= 0.005
    assert 0.05 < (exact.rank == 1).mean() < 0.95
    np.testing.assert_allclose(found.cosine, exact.cosine, rtol=0, atol=1e-12)
    assert (found.rank == 0).tolist() == (exact.rank == 0).tolist()
    # What lies below all that FAISS gives is counted exactly.
    deep = exact.rank > 100
    assert deep.sum() > 20
    assert (found.rank[deep] == exact.rank[deep]).mean() > 0.9
    both = (found.positions[:, :10, None] == exact.positions[:, None, :10]).any(axis=2).mean()
    assert both > 0.97


def test_its_recall_is_measured_against_exact_search(world):
    gallery, *_ = world
    assert measured_recall(gallery, lambda queries, own, count: search(queries, own, gallery, count=count)) == 1.0

    def wrong(queries, own, count):
        return search(np.roll(queries, 7, axis=0), own, gallery, count=count)

    assert measured_recall(gallery, wrong) < 0.5


def test_below_the_limit_the_search_is_exact(world, monkeypatch):
    gallery, queries, own = world
    monkeypatch.setitem(sys.modules, "faiss", None)
    look = search_function(gallery, views=9, least=COUNT + 1)
    assert look(queries, own, 10).rank.tolist() == search(queries, own, gallery, count=10).rank.tolist()


@pytest.mark.slow
def test_without_faiss_the_search_is_exact_and_says_what_it_takes(world, monkeypatch, caplog):
    gallery, queries, own = world
    monkeypatch.setitem(sys.modules, "faiss", None)
    with caplog.at_level(logging.INFO, "embedshift"):
        look = search_function(gallery, views=6_000, least=COUNT)
    assert f"exact search for 6000 views among {COUNT} images takes about 1 min;" in caplog.text
    assert "the extra 'search'" in caplog.text
    assert look(queries, own, 10).rank.tolist() == search(queries, own, gallery, count=10).rank.tolist()
