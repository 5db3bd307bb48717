"""The rank of an image of your own among a study's originals, by brute force."""

import dataclasses

import numpy as np
import pytest

from embedshift.app import measured
from embedshift.app.measured import Originals

RNG = np.random.default_rng(5)


def cosine(u, v):
    return u @ v / np.sqrt((u @ u) * (v @ v))


def brute(vectors, own, view):
    """Rank of `own`, ties against it, and the nearest other."""
    others = [cosine(each, view) for each in vectors]
    return 1 + sum(each >= cosine(own, view) for each in others), int(np.argmax(others))


@pytest.mark.parametrize("noise", [0.1, 1.0, 3.0, 10.0])
def test_the_rank_of_an_image_that_the_study_does_not_have(noise):
    vectors = RNG.normal(size=(40, 6)).astype(np.float32)
    names = [f"image-{place}" for place in range(40)]
    searched = Originals(names, vectors, [f"hash-{place}" for place in range(40)])
    ranks = set()
    for _ in range(30):
        own = RNG.normal(size=6).astype(np.float32)
        view = (own + noise * RNG.normal(size=6)).astype(np.float32)
        rank, nearest = brute(vectors.astype(float), own.astype(float), view.astype(float))
        *found, found_cosine = searched.search(own, view, "hash of nobody")
        assert found == [rank, 41, names[nearest]]
        assert found_cosine == pytest.approx(cosine(vectors[nearest].astype(float), view.astype(float)), abs=1e-6)
        ranks.add(rank)
    assert noise < 1 or len(ranks) > 3, "no image leaves anything behind for the next"


def test_an_image_of_the_study_is_not_added_again():
    vectors = RNG.normal(size=(10, 6)).astype(np.float32)
    searched = Originals([f"i{place}" for place in range(10)], vectors, [f"h{place}" for place in range(10)])
    view = vectors[4] + 0.01
    rank, images, nearest, _ = searched.search(vectors[4], view, "h4")
    assert (rank, images) == (1, 10)
    assert nearest != "i4"
    # As an image of its own it ties with the copy, which counts against it.
    assert searched.search(vectors[4], view)[:3] == (2, 11, "i4")


def test_a_vector_without_direction_is_not_found():
    searched = Originals(["a"], np.ones((1, 3), np.float32), ["h"])
    assert searched.search(np.zeros(3), np.ones(3))[0] == 0
    assert searched.search(np.ones(3), np.zeros(3))[0] == 0


@pytest.mark.slow
def test_of_a_study(reader, monkeypatch):
    assert Originals.of(reader).ids == reader.rows().filter(view="original").collect()["image_id"].to_list()
    monkeypatch.setattr(measured, "MOST_BYTES", 100)
    assert "more than 2 GiB" in Originals.of(reader)
    poor = dataclasses.replace(reader)
    info = reader.info.model_copy(update={"config": {**reader.info.config, "store": "metrics"}})
    poor.__dict__["info"] = info
    assert "no stored embeddings" in Originals.of(poor)
