"""The common offset and the centred relative shift: against loops over images, and where an offset was planted."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

from embedshift.questions.direction.measure import ShiftSums
from embedshift.questions.direction.shifts import Shifts
from embedshift.questions.direction.tables import centred_shifts
from embedshift.statistics.layout import image_rows
from support import studies
from support.matrix import first_only

NUMBERS = ("centred_shift", "centred_shift_low", "centred_shift_high", "common_offset")


def unit(vector):
    return vector / np.sqrt((vector * vector).sum())


def embeddings(count=30, dim=6, augmentations=2, draws=2, offset=0.0, seed=0):
    """`[n, 1 + A * draws, D]`: originals around an axis, and views that move at random and by an offset."""
    rng = np.random.default_rng(seed)
    originals = rng.normal(size=(count, 1, dim)) + 3 * np.eye(dim)[0]
    moved = rng.normal(size=(count, augmentations * draws, dim)) * 0.4 + offset * np.eye(dim)[1]
    return np.concatenate([originals, originals + moved], axis=1).astype(np.float32)


def rows_of(vectors, names):
    """The rows of a study with these embeddings."""
    count, rows, dim = vectors.shape
    views = ["original", *[*names] * ((rows - 1) // len(names))]
    draws = [0, *np.repeat(np.arange((rows - 1) // len(names)), len(names)).tolist()]
    columns = {"view": views * count, "draw": draws * count}
    lists = pl.Series("embedding", vectors.reshape(-1, dim), dtype=pl.Array(pl.Float32, dim))
    missing = np.isnan(vectors).all(axis=2).ravel().tolist()
    return pl.DataFrame(columns | {"embedding": lists, "missing": missing}).select(
        "view", "draw", pl.when(~pl.col("missing")).then("embedding").alias("embedding")
    )


def by_loops(vectors, augmentations, groups=None):
    """The centred relative shift of each augmentation, image by image; means leave the groups of the images out."""
    vectors = vectors.astype(np.float64)
    groups = list(range(len(vectors))) if groups is None else groups.tolist()
    units = [unit(each[0]) for each in vectors]
    means = {g: np.mean([u for u, of in zip(units, groups, strict=True) if of == g], axis=0) for g in groups}

    def centred(vector, *without):
        return unit(unit(vector) - np.mean([mean for group, mean in means.items() if group not in without], axis=0))

    pairs, weights = [], []
    for (one, a), (two, b) in itertools.permutations(zip(units, groups, strict=True), 2):
        pairs += [centred(one, a, b) @ centred(two, a, b)] if a != b else []
        weights += [1 / groups.count(a) / groups.count(b)] if a != b else []
    shifts = []
    for augmentation in range(augmentations):
        cosines = [
            centred(each[0], own) @ centred(view, own)
            for own, each in zip(groups, vectors, strict=True)
            for view in each[1 + augmentation :: augmentations]
            if not np.isnan(view).any()
        ]
        shifts.append((1 - np.mean(cosines)) / (1 - np.average(pairs, weights=weights)))
    return shifts


@pytest.mark.parametrize("count", first_only([30, 9]))
def test_centred_relative_shifts_are_those_of_loops(count):
    vectors = embeddings(count)
    vectors[3, 2] = np.nan  # a view that was not drawn
    value, low, high = centred_shifts(image_rows(rows_of(vectors, "ab").lazy()), ["a", "b"], 0)
    assert value == pytest.approx(by_loops(vectors, 2), rel=1e-10)
    assert (low < value).all()
    assert (value < high).all()


def test_views_of_other_images_are_as_far_as_other_images_however_few_there_are():
    found = [
        centred_shifts(
            image_rows(rows_of(np.random.default_rng(seed).normal(size=(8, 2, 16)) + 1, "a").lazy()), ["a"], 0
        )
        for seed in range(120)
    ]
    assert np.mean(found, axis=0)[0] == pytest.approx(1.0, abs=0.05)  # 0.88 around a mean that has the image


def test_a_large_study_gives_the_number_of_its_first_1024_images():
    vectors = embeddings(1_100, dim=3, augmentations=1, draws=1)
    units = vectors[:1_024].astype(np.float64) / np.linalg.norm(vectors[:1_024].astype(np.float64), axis=2)[..., None]
    total, origins = units[:, 0].sum(axis=0), units[:, 0]
    off = units - ((total - origins) / 1_023)[:, None]
    own = (off[:, 0] * off[:, 1]).sum(axis=1) / np.linalg.norm(off, axis=2).prod(axis=1)
    around = origins[:, None] - (total - origins[:, None] - origins) / 1_022
    around /= np.linalg.norm(around, axis=2, keepdims=True)
    together = (around * around.swapaxes(0, 1)).sum(axis=2)
    wanted = (1 - own.mean()) / (1 - together[~np.eye(1_024, dtype=bool)].mean())
    value, low, high = centred_shifts(image_rows(rows_of(vectors, "a").lazy()), ["a"], 0)
    assert value == pytest.approx([wanted], rel=1e-10)
    assert 0 < high - low < 0.25 * wanted


def test_the_way_out_of_a_cone_counts_less_once_the_mean_is_subtracted():
    vectors = embeddings(60, offset=9.0)
    vectors[:, 2::2] = embeddings(60)[:, 2::2]  # the second augmentation has no offset
    units = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=2, keepdims=True)
    together = units[:, 0] @ units[:, 0].T
    plain = (1 - np.mean((units[:, :1] * units[:, [1, 3]]).sum(axis=2))) / (1 - (together.sum() - 60) / (60 * 59))
    _, _, high = centred_shifts(image_rows(rows_of(vectors, "ab").lazy()), ["a", "b"], 0)
    assert high[0] < plain
    sums = ShiftSums(2, 2)
    for each in vectors:
        sums.add_embedding(each)
    first, second = Shifts(sums.close(), 2).common_offset()
    assert first > 0.8
    assert abs(second) < 0.1


def test_what_lies_at_the_mean_has_no_direction():
    for same in (np.ones((9, 3, 4), np.float32), np.zeros((9, 3, 4), np.float32), embeddings(1, augmentations=1)):
        assert np.isnan(centred_shifts(image_rows(rows_of(same, "a").lazy()), ["a"], 0)).all()


@pytest.mark.parametrize("count", [2, 12])
def test_the_common_offset_is_that_of_all_pairs_of_images(count):
    vectors = embeddings(count, augmentations=1, draws=3, offset=1.0).astype(np.float64)
    sums = ShiftSums(1, 3)
    for each in vectors:
        sums.add_embedding(each)
    shifts = [[unit(view) - unit(each[0]) for view in each[1:]] for each in vectors]
    products = [a @ b for one, two in itertools.permutations(shifts, 2) for a in one for b in two]
    squares = [a @ a for one in shifts for a in one]
    assert Shifts(sums.close(), 3).common_offset() == pytest.approx([np.mean(products) / np.mean(squares)], rel=1e-5)


def test_shifts_without_a_common_offset_have_none_on_average():
    found = []
    for seed in range(200):
        vectors = embeddings(8, dim=5, augmentations=1, draws=1, seed=seed)
        vectors[:, 1] = vectors[:, 0] + 0.01 * np.random.default_rng([seed, 1]).normal(size=(8, 5))
        sums = ShiftSums(1, 1)
        for each in vectors:
            sums.add_embedding(each)
        found.append(Shifts(sums.close(), 1).common_offset().item())
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    assert np.std(found) > 0.03  # one study's number varies


def test_copies_of_an_image_in_one_group_change_nothing():
    vectors = embeddings(12, offset=1.0)
    times, study = np.arange(12) % 3 + 1, image_rows(rows_of(vectors, "ab").lazy())
    groups = np.repeat(np.arange(12), times)
    copied = dataclasses.replace(image_rows(rows_of(vectors[groups], "ab").lazy()), groups=groups)
    twice = dataclasses.replace(
        image_rows(rows_of(np.repeat(vectors, 2, axis=0), "ab").lazy()), groups=np.arange(24) // 2
    )
    wanted = centred_shifts(study, ["a", "b"], 0)
    np.testing.assert_allclose(centred_shifts(twice, ["a", "b"], 0), wanted, rtol=1e-9)
    # Views count one by one; in means and the baseline a group counts once.
    assert centred_shifts(copied, ["a", "b"], 0)[0] == pytest.approx(by_loops(vectors[groups], 2, groups), rel=1e-9)


def test_the_common_offset_of_groups_is_that_of_all_pairs_of_groups():
    vectors, groups = embeddings(9, augmentations=1, offset=1.0).astype(np.float64), [0, 0, 0, 1, 1, 2, 3, 3, 4]
    parts = {number: ShiftSums(1, 2) for number in groups}
    for number, each in zip(groups, vectors, strict=True):
        parts[number].add_embedding(each)
    closed = [sums.close() for sums in parts.values()]
    alone = Shifts(closed[0], 2).by_group()
    assert all(
        np.isnan(alone.sums[name]).all() and alone.sums[name].shape == closed[0][name].shape for name in closed[0]
    )
    found = Shifts(closed[0], 2, closed).by_group().common_offset()
    shifts = [[unit(view) - unit(each[0]) for view in each[1:]] for each in vectors]
    products = [
        a @ b
        for (one, of), (two, other) in itertools.permutations(zip(shifts, groups, strict=True), 2)
        if of != other
        for a, b in itertools.product(one, two)
    ]
    assert found == pytest.approx([np.mean(products) / np.mean([a @ a for one in shifts for a in one])], rel=1e-5)


@pytest.mark.slow
def test_summary_has_the_numbers_of_the_cosine_alone():
    study = studies.every()
    summary = study.summary()
    assert tuple(summary.columns[-4:]) == NUMBERS
    assert (
        summary.filter(pl.col("metric") != "cosine_similarity").select(NUMBERS).null_count().row(0)
        == (len(summary) - 3,) * 4
    )
    rows = study.rows().select("embedding").collect()["embedding"].to_numpy().reshape(40, 4, -1)
    cosine = summary.filter(metric="cosine_similarity")
    assert cosine["centred_shift"].to_list() == pytest.approx(by_loops(rows, 3), rel=1e-10)
    for augmentation, offset in enumerate(cosine["common_offset"]):
        shifts = [unit(each[1 + augmentation].astype(float)) - unit(each[0].astype(float)) for each in rows]
        products = [a @ b for a, b in itertools.permutations(shifts, 2)]
        assert offset == pytest.approx(np.mean(products) / np.mean([a @ a for a in shifts]), abs=1e-5)
