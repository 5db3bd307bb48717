"""Maps from new to old vectors and what deployments find, against scipy, scikit-learn and slow loops."""

import dataclasses

import numpy as np
import pytest
import scipy
from sklearn.linear_model import Ridge

from embedshift.questions.upgrade.maps import (
    LOW_RANK,
    ORTHOGONAL,
    RIDGE,
    RIDGE_VIEWS,
    Both,
    Fits,
    MapKind,
    fit,
    moments_of,
)
from embedshift.questions.upgrade.numbers import (
    ALL,
    BRIDGE,
    DEPLOYMENTS,
    MIXED,
    NEW,
    OLD,
    ORIGINALS,
    Cut,
    Judging,
    _resampled,
    evaluate,
    recalls,
    scores_of,
    thresholds,
)
from embedshift.statistics import retrieval
from embedshift.statistics.judged import Outcomes, judge

pytestmark = pytest.mark.slow

NAMES = ["a", "b", "c", "d"]


def both_of(old, new, groups=None, families=None, names=NAMES):
    numbers = np.arange(len(old)) if groups is None else groups
    given = dict(zip(names, names, strict=True)) if families is None else families
    return Both(np.float32(old), np.float32(new), names, given, numbers, groups is not None)


def made(images=60, new_dim=10, old_dim=8, noise=0.3, seed=0, **settings):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(images, 1, new_dim))
    new = np.concatenate([base, base + 0.6 * rng.normal(size=(images, 4, new_dim))], axis=1) + 0.5
    old = 3 * new @ np.linalg.qr(rng.normal(size=(new_dim, new_dim)))[0][:, :old_dim]
    return both_of(old + noise * rng.normal(size=old.shape) - 1, new, **settings)


def everything(both, columns):
    return moments_of(both, np.ones(len(both.old), bool), columns)


def test_orthogonal_is_procrustes_with_scale():
    both = made(old_dim=10)
    found = fit(MapKind(ORTHOGONAL), everything(both, [0]), both)
    x, y = (side[:, 0].astype(np.float64) for side in (both.new, both.old))
    x, end = x - x.mean(axis=0), y.mean(axis=0)
    turn, size = scipy.linalg.orthogonal_procrustes(x, y - end)
    assert np.allclose(found(both.new[:, 0]), x @ turn * size / (x**2).sum() + end, atol=1e-5)


@pytest.mark.parametrize(("name", "columns"), [(RIDGE, [0]), (RIDGE_VIEWS, [0, 2, 3])])
def test_ridge_is_that_of_scikit_learn(name, columns):
    both = made()
    x, y = (np.concatenate([side[:, column] for column in columns]).astype(np.float64) for side in (both.new, both.old))
    found = fit(MapKind(name, 0.1), everything(both, columns), both)
    alpha = 0.1 * len(x) * x.var(axis=0).mean()
    assert np.allclose(found(both.new[:, 1]), Ridge(alpha).fit(x, y).predict(both.new[:, 1]), atol=1e-4)


def test_low_rank_is_the_best_projection_of_what_ridge_fits():
    both = made()
    found = fit(MapKind(LOW_RANK, 0.01, 0.25), everything(both, [0, 1]), both)
    x, y = (side[:, :2].swapaxes(0, 1).reshape(-1, side.shape[2]).astype(np.float64) for side in (both.new, both.old))
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    more = np.sqrt(0.01 * len(x) * x.var(axis=0).mean()) * np.eye(10)
    whole = (
        np.concatenate([x, more])
        @ np.linalg.lstsq(np.concatenate([x, more]), np.concatenate([y, np.zeros((10, 8))]), rcond=None)[0]
    )
    best = np.linalg.svd(whole, full_matrices=False)[2][:2]
    assert np.linalg.matrix_rank(found.matrix, tol=1e-4) == 2
    assert np.allclose(x @ found.matrix, whole[: len(x)] @ best.T @ best, atol=1e-3)


def test_fewer_images_than_dimensions_are_mapped_where_they_lie_and_nowhere_else():
    both = made(images=8, new_dim=20, old_dim=20, noise=0)
    found = fit(MapKind(ORTHOGONAL), everything(both, [0]), both)
    assert np.linalg.matrix_rank(found.matrix, tol=1e-4) == 7


@pytest.mark.parametrize(
    "kind", [MapKind(ORTHOGONAL), MapKind(RIDGE, 0.1), MapKind(RIDGE_VIEWS, 0.1), MapKind(LOW_RANK, 0.01, 0.5)]
)
def test_no_judged_image_or_change_is_in_its_own_map(kind):
    both, fold = made(groups=np.arange(60) // 2), 1
    before = Fits(both, np.ones(60, bool)).mapped([kind] * 5)[fold]
    mine = both.judged[fold]
    old, new = both.old.copy(), both.new.copy()
    old[mine[0]] += 100  # another image of the fold
    old[:, 2] = -3 * old[:, 2]  # the change "b" of all images
    after = Fits(dataclasses.replace(both, old=old, new=new), np.ones(60, bool)).mapped([kind] * 5)[fold]
    assert np.allclose(before[1:, 2], after[1:, 2], atol=1e-5)
    if kind.uses_views:
        assert not np.allclose(before[1:, 1], after[1:, 1], atol=1e-2)
    old[np.setdiff1d(np.arange(60), mine)] *= 2
    last = Fits(dataclasses.replace(both, old=old, new=new), np.ones(60, bool)).mapped([kind] * 5)[fold]
    assert not np.allclose(before[1:, 2], last[1:, 2], atol=1e-2)


def test_changes_of_a_family_are_left_out_together_and_one_family_leaves_maps_of_originals():
    families = {"a": "x", "b": "x", "c": "y", "d": "y"}
    both = made(families=families)
    before = Fits(both, np.ones(60, bool)).mapped([MapKind(RIDGE_VIEWS, 0.1)] * 5)[0]
    old = both.old.copy()
    old[:, 1] *= -3
    after = Fits(dataclasses.replace(both, old=old), np.ones(60, bool)).mapped([MapKind(RIDGE_VIEWS, 0.1)] * 5)[0]
    assert np.allclose(before[:, 1:3], after[:, 1:3], atol=1e-5)
    one = made(families=dict.fromkeys(NAMES, "x"))
    assert not evaluate(one, Cut(rate=0.2), 0.01, 0)[1].kind.uses_views


def looped(both, mapped, deployment, scores):
    """Everything again, query by query: metric → `[J, V]`, by the definitions alone."""
    unit = lambda x: x / np.linalg.norm(x)  # noqa: E731
    tables = []
    for fold, images in enumerate(both.judged):
        table = np.zeros((len(images), both.old.shape[1], len(images)))
        fit_to_new = scores.calibrations[fold]
        for i, image in enumerate(images):
            for view in range(both.old.shape[1]):
                for j, other in enumerate(images):
                    through = unit(mapped[fold][i, view].astype(float)) @ unit(both.old[other, 0].astype(float))
                    native = unit(both.new[image, view].astype(float)) @ unit(both.new[other, 0].astype(float))
                    own = unit(both.old[image, view].astype(float)) @ unit(both.old[other, 0].astype(float))
                    score = {OLD: own, NEW: native, BRIDGE: through}.get(deployment)
                    if score is None:
                        (mean, sd), (to, wide) = fit_to_new[BRIDGE], fit_to_new[NEW]
                        moved = scores.order[fold][j] < round(MIXED[deployment] * len(images))
                        score = native if moved else (through - mean) / sd * wide + to
                    table[i, view, j] = score
        tables.append(table)
    return tables


@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_deployments_are_those_of_slow_loops(deployment):
    groups = np.repeat(np.arange(30), 2)
    both = made(groups=groups, noise=2.0)
    fits = Fits(both, np.ones(60, bool))
    mapped = fits.mapped([MapKind(RIDGE, 0.1)] * 5)
    scores = scores_of(both, mapped, 3)
    tables = looped(both, mapped, deployment, scores)
    found = recalls(both, scores, deployment, {"recall@1": 1, "recall@10": 10})
    place = 0
    for fold, images in enumerate(both.judged):
        for i, image in enumerate(images):
            for view in range(5):
                own = tables[fold][i, view, i]
                others = [tables[fold][i, view, j] for j, other in enumerate(images) if groups[other] != groups[image]]
                before = sum(score >= own - 1e-9 for score in others)
                assert found["recall@1"][0, place, view] == (before < 1)
                assert found["recall@10"][0, place, view] == (before < 10)
            place += 1
        assert np.allclose(scores.in_fold(deployment, fold), tables[fold], atol=2e-6)


@pytest.mark.parametrize("deployment", [OLD, BRIDGE, NEW])
def test_a_gallery_of_old_vectors_is_searched_by_old_and_mapped_queries(deployment, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 7)
    both, rng = made(groups=np.arange(60), noise=2.0), np.random.default_rng(8)
    gallery = rng.normal(size=(50, both.old.shape[2]))
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    both = dataclasses.replace(both, gallery=gallery.astype(np.float32))
    mapped = Fits(both, np.ones(60, bool)).mapped([MapKind(RIDGE, 0.1)] * 5)
    found = recalls(both, scores_of(both, mapped, 3), deployment, {"recall@1": 1})["recall@1"][0]
    if deployment == NEW:
        assert np.isnan(found).all()
        return
    wanted = []
    for fold, images in enumerate(both.judged):
        sides = both.old[images] if deployment == OLD else mapped[fold]
        for place in range(len(images)):
            row = []
            for query in sides[place]:
                query = query / np.linalg.norm(query)
                units = [both.old[j, 0] / np.linalg.norm(both.old[j, 0]) for j in images]
                own = query @ units[place]
                others = [query @ unit for j, unit in enumerate(units) if j != place] + [query @ g for g in gallery]
                row.append(max(others) < own)
            wanted.append(row)
    assert np.array_equal(found, wanted)
    assert 0 < np.mean(wanted) < 1


def test_the_table_has_the_numbers_of_slow_loops():
    both = made(images=100, noise=2.0)
    made_map, found = evaluate(both, Cut(rate=0.02), 0.01, 3)
    assert made_map.name == found.kind.name
    table = found.table.filter(deployment=NEW)
    units = both.new / np.linalg.norm(both.new, axis=2, keepdims=True)
    old = both.old / np.linalg.norm(both.old, axis=2, keepdims=True)
    pairs, cosines = [], []
    for images in both.judged:
        for i in images:
            pairs += [old[i, 0] @ old[j, 0] for j in images if j != i]
            cosines += [units[i, 0] @ units[j, 0] for j in images if j != i]
    threshold = sorted(pairs)[-int(0.02 * len(pairs))]
    matches, kept = [], []
    for images in both.judged:
        for i in images:
            matches += [units[i, 2] @ units[j, 0] >= threshold for j in images if j != i]
            near = [
                sorted((j for j in images if j != i), key=lambda j: -side[i, 2] @ side[j, 0])[:9]
                for side in (units, old)
            ]
            kept.append(len({*near[0]} & {*near[1]}) / 9)
    rows = {row["metric"]: row for row in table.filter(augmentation="b").iter_rows(named=True)}
    assert rows["false_matches"]["value"] == pytest.approx(np.mean(matches), abs=1e-9)
    assert rows["neighbours@10"]["value"] == pytest.approx(np.mean(kept))
    assert rows["matched@0.001"]["value"] is None  # too few pairs
    carried = found.thresholds.filter(queries=ORIGINALS, deployment=NEW).row(0, named=True)
    assert carried["old"] == pytest.approx(threshold, abs=1e-6)
    assert carried["carried"] == pytest.approx(sorted(cosines)[-int(0.02 * len(cosines))], abs=1e-6)
    assert set(found.table.filter(pl_is("old"))["difference"].drop_nulls()) == {0.0}
    assert found.table.filter(pl_is("old"))["map"].null_count() == len(found.table.filter(pl_is("old")))


def pl_is(deployment):
    import polars as pl

    return pl.col("deployment") == deployment


def test_a_rotated_scaled_shifted_copy_is_bridged_exactly():
    rng = np.random.default_rng(1)
    new = rng.normal(size=(400, 1, 64)) + 0 * np.zeros((1, 5, 1))
    new[:, 1:] += rng.normal(size=(400, 4, 64)) * np.array([0.5, 1, 1.5, 2])[:, None]
    old = 5 * new @ np.linalg.qr(rng.normal(size=(64, 64)))[0] + rng.normal(size=64)
    both = both_of(old, new)
    found_map, found = evaluate(both, Cut(), 0.01, 0)
    assert found.kind.name == ORTHOGONAL
    assert np.abs(found_map(both.new[:, 2]) - both.old[:, 2]).max() < 1e-5
    keys = ["augmentation", "metric"]
    sides = (found.table.filter(deployment=name).select(*keys, "value") for name in (OLD, BRIDGE))
    before, after = sides
    assert before.equals(after)


def test_the_old_encoder_again_needs_no_map_and_one_that_is_unrelated_has_none():
    both = made(images=100)
    same = dataclasses.replace(both, new=both.old)
    assert evaluate(same, Cut(), 0.01, 0)[1].kind.name == "identity"
    unrelated = dataclasses.replace(both, new=np.random.default_rng(5).normal(size=both.new.shape).astype(np.float32))
    recall = evaluate(unrelated, Cut(), 0.01, 0)[1].recall
    assert recall.value[-1] < 0.2 < 0.8 < recall.baseline[-1]
    assert evaluate(unrelated, Cut(), 0.01, 0)[1].alike < 1.3


def test_a_missing_view_is_judged_nowhere_and_fitted_nowhere():
    both = made()
    new, old = both.new.copy(), both.old.copy()
    new[7, 2], old[8, 2] = np.nan, 0
    found = evaluate(dataclasses.replace(both, old=old, new=new), Cut(rate=0.1), 0.01, 0)[1]
    rows = found.table.filter(augmentation="b", metric="recall@1")
    assert set(rows["n"]) == {58}
    assert set(found.table.filter(augmentation=ALL, metric="recall@1")["n"]) == {4 * 60 - 2}


def test_the_interval_of_what_is_found_counts_that_images_share_their_gallery():
    both = made(images=40, noise=3.0)
    scores = scores_of(both, Fits(both, np.ones(40, bool)).mapped([MapKind(RIDGE, 0.1)] * 5), 0)
    found = {name: recalls(both, scores, name, {"recall@1": 1})["recall@1"] for name in (OLD, BRIDGE)}
    judged = Judging(both, 0).judged(found[OLD], found[BRIDGE], "recall@1")
    left_out = []
    for fold, images in enumerate(both.judged):
        table = scores.of[BRIDGE][fold][:, 1]
        for out in range(len(images)):
            rest = [i for i in range(len(images)) if i != out]
            without = sum(table[i, i] > max(table[i, j] for j in rest if j != i) for i in rest)
            whole = sum(
                table[i, i] > max(table[i, j] for j in range(len(images)) if j != i) for i in range(len(images))
            )
            left_out.append(without - whole)
    assert judged.own.error[0] == pytest.approx(np.std(left_out, ddof=1) / np.sqrt(40))
    plain = judge(Outcomes(found[OLD][0][:, None, 1:]), Outcomes(found[BRIDGE][0][:, None, 1:]), seed=0)
    assert plain.own.error[0] != pytest.approx(judged.own.error[0])


@pytest.mark.parametrize("cut", [Cut(rate=0.1), Cut(threshold=0.5)])
def test_resampled_thresholds_are_those_of_images_drawn_again(cut, monkeypatch):
    both = made(images=40, noise=2.0)
    scores = scores_of(both, Fits(both, np.ones(40, bool)).mapped([MapKind(RIDGE, 0.1)] * 5), 0)
    drawn = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=7)
    monkeypatch.setattr("embedshift.questions.upgrade.numbers.weights", lambda *given, **settings: iter([drawn]))
    rate, _ = cut.carried(scores, NEW, ORIGINALS)
    every = np.concatenate([part[:, 0][~np.eye(len(part), dtype=bool)] for part in scores.of[OLD]])
    match, other = every[every >= 0.5].min(), every[every < 0.5].max()
    below = 0.0 if cut.threshold is None else (match - 0.5) / (match - other)
    found = np.concatenate([*_resampled(both, scores, cut, NEW, ORIGINALS, rate, 0)])
    for resample, value in zip(drawn, found, strict=True):
        pairs, old = [], []
        for fold, images in enumerate(both.judged):
            for i, one in enumerate(images):
                for j, other in enumerate(images):
                    times = int(resample[one] * resample[other]) * (i != j)
                    pairs += [scores.of[NEW][fold][i, 0, j]] * times
                    old += [scores.of[OLD][fold][i, 0, j]] * times
        share = rate if cut.threshold is None else np.mean(np.array(old) >= 0.5)
        ranked, allowed = sorted(pairs, reverse=True), share * len(pairs) + 1e-6
        refused = next(score for place, score in enumerate(ranked) if sum(each >= score for each in ranked) > allowed)
        least = min(score for score in ranked if score > refused)
        lower = max(score for score in ranked if score < least)
        assert value == pytest.approx(least - below * (least - lower), abs=1e-12)


def test_a_threshold_that_few_pairs_reach_is_not_carried():
    both = made(images=40)
    scores = scores_of(both, Fits(both, np.ones(40, bool)).mapped([MapKind(RIDGE, 0.1)] * 5), 0)
    assert thresholds(both, scores, Cut(), 0)["carried"].null_count() == 4
    assert thresholds(both, scores, Cut(threshold=0.999), 0)["carried"].null_count() == 4
