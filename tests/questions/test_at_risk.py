"""Images at risk against loops over vectors; relations of shifts and properties against SciPy and simulations."""

import numpy as np
import polars as pl
import pytest
import scipy.stats

import embedshift
from embedshift.questions.at_risk.section import _moved
from embedshift.questions.at_risk.tables import LEAST, NEAREST, related
from embedshift.statistics.intervals import clopper_pearson
from support import studies

COUNT, SIZE, NAMES = 40, 6, ("blur", "noise", "dark")


def vectors():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(COUNT, SIZE)) + 0.5
    scales = dict(zip(NAMES, (0.2, 0.9, 0.6), strict=True))
    return images, {name: images + scale * rng.normal(size=images.shape) for name, scale in scales.items()}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    images, views = vectors()
    return embedshift.from_vectors(images, views, out=tmp_path_factory.mktemp("risk") / "study", model="A")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_every_image_has_what_a_loop_finds(study):
    images, views = vectors()
    o = unit(images)
    found = {row["image_id"]: row for row in study.at_risk().iter_rows(named=True)}
    ids = study.reader().ordered_ids()
    missed_by_name = {}
    for place, image_id in enumerate(ids):
        own = int(image_id)
        others = [k for k in range(COUNT) if k != own]
        results = []
        for name in NAMES:
            query = unit(views[name])[own]
            cosines = o @ query
            rank = 1 + sum(cosines[k] >= cosines[own] for k in others)
            results.append((rank, cosines[own] - max(cosines[k] for k in others), name))
        worst = max(results, key=lambda each: (each[0], -each[1]))
        row = found[image_id]
        assert (row["missed"], row["worst"], row["rank"]) == (sum(each[0] > 1 for each in results), worst[2], worst[0])
        assert row["margin"] == pytest.approx(worst[1], abs=1e-6)
        assert int(row["nearest"]) == max(others, key=lambda k: o[k] @ o[own])
        missed_by_name[place] = row["missed"]
    assert 0 < sum(map(bool, missed_by_name.values())) < COUNT
    table = study.at_risk()
    order = table.select(missed=-pl.col("missed"), margin="margin").rows()
    assert order == sorted(order)


def test_correlations_are_those_of_scipy(study):
    images, views = vectors()
    o = unit(images)
    nearest = 1 - np.sort(o @ o.T - 2 * np.eye(COUNT), axis=1)[:, -1]
    rows = study.content().filter(property=NEAREST)
    assert rows["augmentation"].to_list() == [*NAMES]
    for row in rows.iter_rows(named=True):
        shift = 1 - (o * unit(views[row["augmentation"]])).sum(axis=1)
        assert row["correlation"] == pytest.approx(scipy.stats.spearmanr(shift, nearest).statistic, abs=1e-4)
        assert row["significant"] == (abs(row["correlation"]) > row["limit"])


def test_a_relation_is_found_and_only_that():
    rng = np.random.default_rng(1)
    numbers, shifts = rng.normal(size=(200, 5)), rng.normal(size=(200, 4))
    shifts[:, 2] += numbers[:, 3]
    correlations, limit = related(shifts, numbers, 0)
    assert np.argwhere(np.abs(correlations) > limit).tolist() == [[2, 3]]


def test_where_nothing_is_related_a_relation_is_listed_in_one_of_twenty_studies():
    """1,000 studies: `benchmarks/at_risk.py`."""
    rng, listed = np.random.default_rng(2), 0
    for seed in range(120):
        numbers = rng.exponential(size=(40, 3)) @ rng.normal(size=(3, 4))  # properties that go together
        correlations, limit = related(rng.standard_t(3, size=(40, 3)), numbers, seed)
        listed += bool((np.abs(correlations) > limit).any())
    low, high = clopper_pearson(listed, 120)
    assert float(low) < 0.05 < float(high)


def test_few_images_have_no_relations(tmp_path):
    images, views = vectors()
    views = {name: rows[: LEAST - 1] for name, rows in views.items()}
    few = embedshift.from_vectors(images[: LEAST - 1], views, out=tmp_path / "few", model="A")
    assert few.content().is_empty()
    assert len(few.at_risk()) == LEAST - 1


def test_properties_of_images_are_those_of_their_rows():
    study = studies.synthetic(60)
    names = study.content()["property"].unique().to_list()
    rows = study.rows()
    originals = rows.filter(pl.col("view") == "original").collect()
    assert {*names} <= {*originals.columns, NEAREST}
    for row in study.content().filter(pl.col("property") != NEAREST).iter_rows(named=True):
        shift = rows.filter(view=row["augmentation"]).group_by("image_id", maintain_order=True)
        shift = shift.agg(1 - pl.col("cosine_similarity").mean()).collect()["cosine_similarity"]
        expected = scipy.stats.spearmanr(shift, originals[row["property"]]).statistic
        assert row["correlation"] == pytest.approx(expected, abs=1e-5)


def test_the_section_names_changes_by_property():
    rows = [("blur", "noise", 0.5, 0.2, True), ("dark", "noise", -0.6, 0.2, True), ("dark", "width", 0.1, 0.2, False)]
    table = pl.DataFrame(rows, ("augmentation", "property", "correlation", "limit", "significant"), orient="row")
    assert [*_moved(table)] == [{"property": "noise", "changes": "dark −0.60 and blur +0.50"}]
