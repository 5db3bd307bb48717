"""The table `hubs` against scikit-learn and SciPy, with a planted hub, and the sentence about it."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.stats import skew
from sklearn.neighbors import NearestNeighbors

from embedshift.figures import FigureInput
from embedshift.questions.search.ranks import first_results, hub
from embedshift.questions.search.section import hubs, section
from embedshift.report.section import PageInput
from embedshift.statistics.retrieval import Gallery, search
from support import studies
from support.sentences import paragraphs


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


@pytest.mark.slow
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


def test_a_planted_hub_is_found():
    rng = np.random.default_rng(0)
    originals = rng.normal(size=(50, 8))
    queries = originals.copy()
    queries[:20] = originals[49] + 0.01 * rng.normal(size=(20, 8))
    own = np.arange(50)
    ranked = search(queries, own, Gallery.of(originals), count=10)
    results = first_results(ranked, 10)
    largest, skewness = hub(results, 50)
    assert largest == 21 / 50  # and its own view
    assert (largest, skewness) == pytest.approx(by_libraries(queries, originals), abs=1e-12)


@pytest.mark.parametrize("count", [2, 6, 11])
def test_of_few_images_all_are_results(count):
    rng = np.random.default_rng(1)
    originals, own = rng.normal(size=(count, 3)), np.arange(count)
    views = originals + 0.1 * rng.normal(size=(count, 3))
    ranked = search(views, own, Gallery.of(originals), count=10)
    results = first_results(ranked, 10)
    assert sorted(results[0].tolist()) == sorted(np.argsort(-_cosines(views[:1], originals))[0][:10].tolist())
    assert results.shape == (count, min(10, count))


def _cosines(a, b):
    return a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))


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


def test_without_the_table_there_is_no_sentence():
    assert hubs(None, 40)["many"] == []


@pytest.mark.slow
def test_the_page_says_so():
    reader = studies.every().reader()
    made = {"hubs": table_of(0.05, noise=0.625, blur=0.3, elastic=0.05)}
    page_input = PageInput(FigureInput(dataclasses.replace(reader, made=made)), "CLIP", {}, reader.records)
    text = paragraphs("search/section.html.j2", section(page_input).content)
    wanted = "one image comes first for 62.5 % of the views under noise and one image comes first for 30.0 %"
    assert any(line.startswith(f"Hubs: {wanted} of the views under blur.") and "5.0 % of them" in line for line in text)
