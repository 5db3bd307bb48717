"""Ranks, recall and hubs against loops over the rows, scikit-learn and SciPy; FAISS against exact search."""

import logging
import re
import sys

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, skew
from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score
from sklearn.neighbors import NearestNeighbors

import embedshift
from embedshift.questions.search.matching import recall_metrics
from embedshift.questions.search.ranks import first_results, hub
from embedshift.questions.search.section import hubs
from embedshift.statistics import search_index
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.search_index import LEAST_GALLERY, measured_recall, search_function
from support import studies
from support.matrix import first_only
from support.revised import revise_embeddings
from support.synthetic import make_study

pytestmark = pytest.mark.slow


NAMES = ("noise", "blur", "horizontal_flip")
# So strong that ranks differ.
EFFECT = {"noise": 2.0, "blur": 0.7, "horizontal_flip": 0.3}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("search") / "study", 70, NAMES, draws=2, dim=6, effect=EFFECT)


@pytest.fixture(scope="module")
def vectors(study):
    """Image ids, originals `[n, D]`, and view → `[n, draws, D]`, at length 1."""
    rows = study.rows().select("image_id", "view", "draw", "embedding").collect()
    units = rows["embedding"].to_numpy().astype(np.float64)
    rows = rows.with_columns(pl.Series("unit", units / np.linalg.norm(units, axis=1, keepdims=True)))
    originals = rows.filter(view="original")
    views = {name: rows.filter(view=name)["unit"].to_numpy().reshape(len(originals), 2, -1) for name in NAMES}
    return originals["image_id"].to_list(), originals["unit"].to_numpy(), views


def test_ranks_are_those_of_a_loop(study, vectors):
    ids, originals, views = vectors
    for row in study.search_ranks().iter_rows(named=True):
        own = ids.index(row["image_id"])
        view = views[row["view"]][own, row["draw"]]
        cosines = [float(view @ other) for other in originals]
        better = [place for place in range(len(ids)) if place != own and cosines[place] >= cosines[own]]
        nearest = max((place for place in range(len(ids)) if place != own), key=cosines.__getitem__)
        assert row["rank"] == 1 + len(better)
        assert row["cosine"] == pytest.approx(cosines[own], abs=1e-6)
        assert (row["other"], row["other_cosine"]) == (ids[nearest], pytest.approx(cosines[nearest], abs=1e-6))
    assert study.search_ranks()["rank"].max() > 30


def test_recall_and_mean_reciprocal_rank_are_those_of_scikit_learn(study, vectors):
    _, originals, views = vectors
    table = {(row["augmentation"], row["metric"]): row for row in study.search().iter_rows(named=True)}
    labels = np.arange(len(originals))
    for name in NAMES:
        scores = np.concatenate([views[name][:, draw] @ originals.T for draw in (0, 1)])
        own = np.concatenate([labels, labels])
        for k in (1, 5, 10):
            expected = top_k_accuracy_score(own, scores, k=k, labels=labels)
            assert table[name, f"recall@{k}"]["value"] == pytest.approx(expected, abs=1e-12)
        expected = label_ranking_average_precision_score(np.eye(len(originals))[own], scores)
        assert table[name, "mrr"]["value"] == pytest.approx(expected, abs=1e-12)
        assert table[name, "mrr"]["n"] == 140


def kept(originals, views, count):
    """The fraction of each original's nearest others that are among those of its view."""
    model = NearestNeighbors(n_neighbors=len(originals), metric="cosine").fit(originals)
    lines = zip(*(model.kneighbors(each, return_distance=False).tolist() for each in (originals, views)), strict=True)
    near = [[{*[each for each in line if each != own][:count]} for line in both] for own, both in enumerate(lines)]
    return [len(before & after) / count for before, after in near]


def test_the_overlap_of_neighbours_is_that_of_scikit_learn(study, vectors, tmp_path):
    _, originals, views = vectors
    ranks = study.search_ranks()
    for name in NAMES:
        expected = kept(originals, views[name][:, 0], 10)
        assert ranks.filter(view=name, draw=0)["knn_overlap"].to_list() == pytest.approx(expected, abs=1e-12)
    value = study.search().filter(augmentation="blur", metric="knn_overlap@10")["value"][0]
    assert value == pytest.approx(ranks.filter(view="blur")["knn_overlap"].mean(), abs=1e-12)
    originals, view = np.random.default_rng(0).normal(size=(2, 9, 6))
    few = embedshift.from_vectors(originals, {"other": view}, out=tmp_path / "study")
    value = few.search().filter(metric="knn_overlap@10")["value"].item()
    assert value == pytest.approx(np.mean(kept(originals, view, 4))), "of few images the nearest half of the others"


def test_the_interval_of_recall_is_clopper_and_pearson_s_over_images(tmp_path):
    study = make_study(tmp_path / "study", 40, ("noise",), dim=6)
    row = study.search().filter(metric="recall@1").row(0, named=True)
    hits = int((study.search_ranks()["rank"] == 1).sum())
    low, high = binomtest(hits, 40).proportion_ci(0.95, "exact")
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=1e-9)


def ranks_of(values):
    return pl.DataFrame(
        {"image_id": [f"{k}" for k in range(len(values))], "rank": values, "knn_overlap": [1.0] * len(values)}
    )


def test_a_mean_of_1_is_not_sure():
    found = recall_metrics(ranks_of([1] * 50), seed=0)
    for n, value, low, high in (found["mrr"], found["knn_overlap@10"]):
        assert (n, value, high) == (50, 1.0, 1.0)
        assert low == pytest.approx(binomtest(50, 50).proportion_ci(0.95, "exact").low)


def test_views_without_a_rank_are_left_out():
    found = recall_metrics(ranks_of([1, None, 3, 1, 1, 1, 1, 1, 1, None]), seed=0)
    assert found["recall@1"][:2] == (8, pytest.approx(7 / 8))
    assert found["mrr"][:2] == (8, pytest.approx((7 + 1 / 3) / 8))


def test_a_vector_without_direction_has_no_rank_and_is_never_found(tmp_path):
    study = make_study(tmp_path / "study", 12, ("blur", "noise"), dim=4, with_tables=False)
    ids = study.rows().select(pl.col("image_id").unique(maintain_order=True)).collect()["image_id"]

    def without(vectors):
        vectors[0] = 0  # the first image's original
        vectors[-2] = 0  # the last image's view under blur
        return vectors

    revise_embeddings(study, without)
    study.write_tables()
    ranks = study.search_ranks()
    assert ranks.filter(image_id=ids[0])["rank"].to_list() == [None, None]
    assert ranks.filter(image_id=ids[-1], view="blur")["rank"].to_list() == [None]
    assert ranks.filter(image_id=ids[-1], view="noise")["rank"].null_count() == 0
    assert ids[0] not in ranks["other"].to_list()


def by_libraries(queries, originals, own=None):
    """The largest fraction and the skewness; `own` = the queries are the originals, which do not find themselves."""
    model = NearestNeighbors(n_neighbors=min(11, len(originals)), metric="cosine").fit(originals)
    found = model.kneighbors(queries, return_distance=False)
    if own is not None:
        found = np.array([[each for each in line if each != place] for place, line in enumerate(found)])
    found = found[:, :10]
    occurrences = [int((found == place).sum()) for place in range(len(originals))]
    first = [int((found[:, 0] == place).sum()) for place in range(len(originals))]
    return max(first) / len(queries), skew(occurrences)


def test_hubs_are_those_of_scikit_learn_and_scipy():
    study = studies.synthetic(70, ["noise", "blur"], draws=2, dim=6, effect={"noise": 2.0, "blur": 0.7})
    rows = study.rows().select("view", "embedding").collect()
    originals = rows.filter(view="original")["embedding"].to_numpy().astype(np.float64)
    table = study.hubs()
    assert table.select("augmentation", "side").rows() == [
        (name, side) for name in ("noise", "blur") for side in ("original", "view")
    ]
    for name, side, *numbers in table.iter_rows():
        queries = rows.filter(view=name)["embedding"].to_numpy().astype(np.float64)
        wanted = (
            by_libraries(originals, originals, own=True) if side == "original" else by_libraries(queries, originals)
        )
        assert numbers == pytest.approx(wanted, abs=1e-12)


def table_of(before, **largest):
    sides = [
        (name, side, value)
        for name, after in largest.items()
        for side, value in (("original", before), ("view", after))
    ]
    return pl.DataFrame(sides, schema=["augmentation", "side", "largest"], orient="row")


@pytest.mark.parametrize(
    ("before", "views", "images", "wanted"),
    [
        (0.05, {"noise": 0.625, "blur": 0.3, "flip": 0.05}, 40, [("noise", "62.5 %"), ("blur", "30.0 %")]),
        (0.05, {"noise": 0.12}, 40, []),  # 4.8 views are a handful
        (0.3, {"noise": 0.5}, 40, []),  # the originals have a hub as well
        (0.001, {"noise": 0.04}, 2_000, []),
        (0.001, {"noise": None}, 2_000, []),
    ],
)  # fmt: skip
def test_the_sentence_is_about_more_than_a_handful(before, views, images, wanted):
    assert hubs(table_of(before, **views), images)["many"] == wanted


def test_a_query_without_a_direction_is_left_out():
    originals = np.eye(4)
    queries = originals.copy()
    queries[2] = 0
    results = first_results(search(queries, np.arange(4), Gallery.of(originals), count=10), 10)
    assert results[2].tolist() == [-1] * 4
    largest, skewness = hub(results, 4)
    assert largest == 1 / 3
    assert np.isnan(skewness)  # every image is among the results of each query
    assert np.isnan(hub(results[2:3], 4)).all()
    assert np.isnan(hub(np.zeros((3, 0), int), 1)).all()


@pytest.mark.parametrize("least", [LEAST_GALLERY, 1], ids=["exact", "faiss"])
def test_ranks_count_images_of_other_groups_alone(least):
    if least == 1:
        pytest.importorskip("faiss")
    rng = np.random.default_rng(3)
    groups = rng.integers(0, 15, 60)
    originals = (rng.normal(size=(15, 6))[groups] + 0.7 * rng.normal(size=(60, 6))).astype(np.float32)
    queries = originals + 0.5 * rng.normal(size=originals.shape).astype(np.float32)
    found = search_function(Gallery.of(originals, groups), views=1, least=least)(queries, np.arange(60), 5)
    units = [
        each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries.astype(float), originals.astype(float))
    ]
    exact = units[0] @ units[1].T
    for image in range(60):
        others = np.flatnonzero(groups != groups[image])
        assert found.rank[image] == 1 + sum(exact[image, others] >= exact[image, image])
        assert found.positions[image].tolist() == others[np.argsort(-exact[image, others])][:5].tolist()
    plain = search(queries, np.arange(60), Gallery.of(originals), count=5)
    assert (found.rank <= plain.rank).all()
    assert (found.rank < plain.rank).any()


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


# FAISS learns a codebook for each part, from all vectors: of few vectors and parts that is done soon.
WITHIN = [
    (2_000, 0.0361, "PQ4"),
    (COUNT, 3, "SQ8"),
    (COUNT, 1.2, "SQ4"),
    pytest.param(COUNT, 0.6, "PQ12", marks=pytest.mark.matrix),
]


@pytest.mark.parametrize(("count", "megabytes", "code"), first_only(WITHIN))
def test_the_index_fits_into_memory_and_exact_cosines_order_what_it_finds(world, caplog, count, megabytes, code):
    faiss = pytest.importorskip("faiss")
    whole, queries, own = world
    gallery = Gallery.of(whole.vectors[:count])
    index, name = search_index._index(gallery, megabytes / 1_000)
    assert name == code
    centres = 4 * 48 * index.nlist
    assert len(faiss.serialize_index(index)) - centres < 1e6 * megabytes + 150_000  # ranges and codebooks
    with caplog.at_level(logging.INFO, "embedshift"):
        near = search_function(gallery, views=6_000, least=count, memory=megabytes / 1_000)
    assert f"images ({code}) built" in caplog.text
    found, exact = near(queries, own, 10), search(queries, own, gallery, count=10)
    assert ((found.rank == 1) == (exact.rank == 1)).mean() > 0.99
    same = found.positions == exact.positions
    np.testing.assert_allclose(found.others[same], exact.others[same], rtol=0, atol=1e-12)
    assert (found.positions[:, :, None] == exact.positions[:, None, :]).any(axis=2).mean() > 0.95


def test_its_recall_is_measured_against_exact_search(world):
    gallery, *_ = world
    assert measured_recall(gallery, lambda queries, own, count: search(queries, own, gallery, count=count)) == 1.0

    def wrong(queries, own, count):
        return search(np.roll(queries, 7, axis=0), own, gallery, count=count)

    assert measured_recall(gallery, wrong) < 0.5


def test_below_the_limit_and_without_faiss_the_search_is_exact(world, monkeypatch, caplog):
    gallery, queries, own = world
    monkeypatch.setitem(sys.modules, "faiss", None)
    below = search_function(gallery, views=9, least=COUNT + 1)
    with caplog.at_level(logging.INFO, "embedshift"):
        without = search_function(gallery, views=6_000, least=COUNT)
    assert re.search(rf"exact search for 6000 views among {COUNT} images takes about \d+ min;", caplog.text)
    assert "the extra 'search'" in caplog.text
    wanted = search(queries, own, gallery, count=10).rank.tolist()
    assert below(queries, own, 10).rank.tolist() == without(queries, own, 10).rank.tolist() == wanted
