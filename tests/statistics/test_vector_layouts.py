"""Layouts of vectors, and a search among images of several vectors, against loops."""

import numpy as np
import pytest

from embedshift.errors import UsageError
from embedshift.statistics import retrieval
from embedshift.statistics.duplicates import nearest_vectors, pair_cosines, pairs_above
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.search_index import NEIGHBOURS, search_function
from embedshift.statistics.thresholds import all_pairs, matched, threshold
from embedshift.statistics.vector_layouts import LAYOUTS, as_query, available, in_gallery, needs
from support.matrix import first_only


def unit(vector):
    return np.asarray(vector, np.float64) / np.linalg.norm(np.asarray(vector, np.float64))


@pytest.fixture(scope="module")
def world():
    """Images of one to five vectors, some of them copies, and a query for each."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(120, 16)).astype(np.float32)
    whole[50:55] = whole[:5]
    tiles = (whole[:, None] + rng.normal(size=(120, 4, 16))).astype(np.float32)
    tiles[:30, 2:] = 0  # these have two tiles alone
    queries = (0.5 * whole + tiles[:, 1] + 0.8 * rng.normal(size=whole.shape)).astype(np.float32)
    queries[7] = 0
    return whole, tiles, queries


def slow(query, image):
    """The highest cosine of a query with the vectors of an image, those of length 0 left out."""
    return max(unit(query) @ unit(vector) for vector in image if vector.any())


@pytest.mark.parametrize("block", first_only([64, 8192]))
def test_a_search_ranks_images_by_their_nearest_vector(world, monkeypatch, block):
    monkeypatch.setattr(retrieval, "BLOCK", block)
    whole, tiles, queries = world
    vectors = in_gallery("tiles", whole, np.where(tiles == 0, np.nan, tiles))
    groups = np.arange(120) // 2
    found = search(queries, np.arange(120), Gallery.of(vectors, groups), count=10)
    for place, query in enumerate(queries):
        if not query.any():
            assert found.rank[place] == 0
            continue
        scores = np.array([slow(query, image) for image in vectors])
        others = [each for each in range(120) if groups[each] != groups[place]]
        assert found.cosine[place] == pytest.approx(scores[place], abs=1e-12)
        assert found.rank[place] == 1 + sum(scores[each] >= scores[place] - 1e-12 for each in others)
        assert found.positions[place].tolist() == sorted(others, key=lambda each: (-round(scores[each], 12), each))[:10]


def test_equal_tiles_are_as_one_vector_exactly(world):
    whole, _, queries = world
    same = np.repeat(whole[:, None], 4, axis=1)
    one = search(queries, np.arange(120), Gallery.of(whole), count=10)
    for layout in ("tiles", "tiles-mean"):
        found = search(queries, np.arange(120), Gallery.of(in_gallery(layout, whole, same)), count=10)
        assert found.rank.tolist() == one.rank.tolist()
        assert found.positions.tolist() == one.positions.tolist()
    tiled = search(queries, np.arange(120), Gallery.of(in_gallery("tiles", whole, same)), count=10)
    assert np.array_equal(tiled.cosine, one.cosine, equal_nan=True)


def test_faiss_finds_the_nearest_images_of_several_vectors(world):
    pytest.importorskip("faiss")
    whole, tiles, queries = world
    gallery = Gallery.of(in_gallery("tiles", whole, tiles))
    exact = search(queries, np.arange(120), gallery, count=NEIGHBOURS)
    found = search_function(gallery, views=120, least=1)(queries, np.arange(120), NEIGHBOURS)
    assert np.mean(found.rank == exact.rank) > 0.95
    same = [len({*a} & {*b}) for a, b in zip(found.positions.tolist(), exact.positions.tolist(), strict=True)]
    assert np.mean(same) > 0.9 * NEIGHBOURS


def test_means_are_of_unit_vectors_and_leave_out_what_is_missing(world):
    whole, tiles, _ = world
    missing = np.where(tiles == 0, np.nan, tiles)
    mean = in_gallery("tiles-mean", whole, missing)
    for image in (0, 60):
        parts = [unit(whole[image]), *(unit(tile) for tile in tiles[image] if tile.any())]
        assert mean[image] == pytest.approx(unit(np.mean(parts, axis=0)), abs=1e-6)
    mirrored = tiles[:, 0]
    both = np.array([unit(unit(a) + unit(b)) for a, b in zip(whole, mirrored, strict=True)])
    assert np.allclose(in_gallery("mirror-mean", whole, mirrored[:, None]), both, atol=1e-6)
    for layout in ("mirror-mean", "mirror-query"):
        assert np.allclose(as_query(layout, whole, mirrored), both, atol=1e-6)
    assert in_gallery("mirror-query", whole, None) is whole
    assert as_query("tiles", whole, None) is whole


def test_a_view_that_is_its_own_mirror_image_is_found_as_before(world):
    whole, _, queries = world
    one = search(queries, np.arange(120), Gallery.of(whole), count=0)
    for layout in ("mirror-mean", "mirror-query"):
        gallery = Gallery.of(in_gallery(layout, whole, whole[:, None]))
        found = search(as_query(layout, queries, queries), np.arange(120), gallery, count=0)
        assert found.rank.tolist() == one.rank.tolist()


def test_the_threshold_is_that_of_each_image_as_a_query_for_each_other(world):
    whole, tiles, _ = world
    vectors, groups = in_gallery("tiles", whole, tiles), np.arange(120) // 3
    scores = sorted(
        slow(whole[a], vectors[b]) for a in range(120) for b in range(120) if a != b and groups[a] != groups[b]
    )
    pairs = all_pairs(whole, groups, vectors)
    assert len(pairs.cosines) == len(scores)
    assert np.allclose(pairs.cosines[::-1], scores, atol=1e-6)
    assert pairs.equivalent_images == all_pairs(whole, groups).equivalent_images
    for rate in (0.01, 0.002):
        least = threshold(pairs, rate)
        assert np.mean(np.array(scores) >= least - 1e-6) <= rate
        assert np.mean(np.array(scores) >= least - 1e-6) > rate - 2 / len(scores)


def test_one_vector_has_the_threshold_of_all_pairs(world):
    whole, _, _ = world
    for rate in (0.01, 0.002):
        assert threshold(all_pairs(whole, None, whole), rate) == threshold(all_pairs(whole), rate)


def test_pairs_are_of_a_whole_image_with_any_vector_of_the_other(world):
    whole, tiles, _ = world
    vectors = in_gallery("tiles", whole, tiles)
    units = np.where(vectors == 0, 0, vectors / np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-9))

    def both(a, b):
        scores = {(0, k): unit(whole[a]) @ unit(v) for k, v in enumerate(vectors[b]) if v.any()}
        scores |= {(k, 0): unit(v) @ unit(whole[b]) for k, v in enumerate(vectors[a]) if v.any()}
        return max(scores.items(), key=lambda item: item[1])

    wanted = {(a, b): both(a, b) for a in range(120) for b in range(a + 1, 120)}
    block = pair_cosines(units[:10].astype(np.float32), units.astype(np.float32))
    assert block[3, 40] == pytest.approx(wanted[3, 40][1], abs=1e-5)
    first, second = pairs_above(units.astype(np.float32), 0.6, 10_000)
    assert {*zip(first.tolist(), second.tolist(), strict=True)} == {
        k for k, (_, score) in wanted.items() if score >= 0.6
    }
    cosines, ones, others = nearest_vectors(vectors, first, second)
    for a, b, cosine, one, other in zip(first, second, cosines, ones, others, strict=True):
        vectors_of_best, score = wanted[a, b]
        assert cosine == pytest.approx(score, abs=1e-9)
        assert (one, other) == vectors_of_best or cosine > 1 - 1e-9


def test_layouts_need_their_vectors():
    assert available(["embedding"]) == ["one"]
    assert available(["embedding", "tiles"]) == ["one", "tiles", "tiles-mean"]
    assert available(["embedding", "tiles", "mirrored"]) == list(LAYOUTS)
    with pytest.raises(UsageError, match="`layout` 'grid': choose one of one, tiles"):
        needs("grid")


def test_matches_have_pseudovalues_of_thresholds_without_each_group(world):
    whole, tiles, queries = world
    vectors, groups = in_gallery("tiles", whole, tiles), np.arange(120) // 3
    cosines = np.array([slow(query, vectors[k]) if query.any() else np.nan for k, query in enumerate(queries)])
    cosines = (cosines[:, None] + np.linspace(-0.3, 0.3, 40)).astype(np.float32)
    rate = 0.01
    found = matched(cosines[..., None], all_pairs(whole, groups, vectors), rate)
    least = threshold(all_pairs(whole, groups, vectors), rate)
    hit = np.where(np.isnan(cosines), np.nan, cosines >= np.float32(least))
    assert np.array_equal(found.values[..., 0], hit, equal_nan=True)
    lost = np.zeros((120, 40))
    for group in range(40):
        kept = groups != group
        other = threshold(all_pairs(whole[kept], groups[kept], vectors[kept]), rate)
        rise = (cosines[kept] >= np.float32(other)) - np.nan_to_num(hit[kept])
        lost[~kept] = np.where(np.isnan(cosines[kept]), 0, rise).sum(axis=0) / 3
    assert np.abs(lost).max() > 0
    lost[np.isnan(hit)] = 0
    wanted = hit - lost + lost.sum() / (119 * 40)
    assert np.allclose(found.pseudovalues[..., 0], wanted, equal_nan=True)
