"""Which way: sums, cosines, offsets and relative shifts against loops over embeddings; what two trees join."""

import dataclasses
import itertools

import numpy as np
import polars as pl
import pytest

import embedshift
from embedshift.encoders import EncoderOutput
from embedshift.questions.direction.figures import tree_of
from embedshift.questions.direction.measure import ShiftSums
from embedshift.questions.direction.shifts import ShiftDirections, cosines_of_shifts
from embedshift.questions.direction.tables import centred_shifts, mean_cosines
from embedshift.statistics.layout import image_rows
from support import studies
from support.revised import revise_shard
from support.synthetic import make_study


def made(count=13, augmentations=3, draws=2, dim=7, seed=0, offset=0.0):
    """`[n, 1 + A * draws, D]`: originals around an axis, and views that move at random and by an offset."""
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(count, 1, dim)) + 1
    widths = rng.uniform(0.1, 2, (count, 1, 1))
    views = original + rng.normal(size=(count, augmentations * draws, dim)) * widths + offset * np.eye(dim)[1]
    return np.concatenate([original, views], axis=1).astype(np.float32)


def sums_of(embedding, augmentations=3, draws=2, shard=100):
    """As shards add them up and the reader adds up shards."""
    total = {}
    for start in range(0, len(embedding), shard):
        sums = ShiftSums(augmentations, draws)
        for each in embedding[start : start + shard]:
            sums.add(None, EncoderOutput(each, None, None))
        for name, array in sums.close().items():
            total[name] = total.get(name, 0) + array.astype(np.float64)
    return total


def unit(v):
    return v / np.sqrt((v * v).sum())


def cosine(u, v):
    return float(unit(u) @ unit(v))


def by_loops(embedding, augmentations, draws, groups=None):
    """Mean shifts and all numbers of the tables, view by view; views of length zero are left out.

    Groups count where images do: for chance, for halves, for the offset, and for what another original is.
    """
    vectors = embedding.astype(np.float64)
    groups = range(len(vectors)) if groups is None else groups
    there = [i for i in range(len(vectors)) if vectors[i, 0].any()]
    names = ("mean", "resultant", "resultant_by_chance", "relative_to_others", "common_offset", "split_half")
    found = {name: [] for name in names}
    for a in range(augmentations):
        views = {(i, d): vectors[i, 1 + d * augmentations + a] for i in there for d in range(draws)}
        shifts = {key: unit(v) - unit(vectors[key[0], 0]) for key, v in views.items() if v.any()}
        mean, length = np.mean([*shifts.values()], axis=0), np.mean([np.sqrt(s @ s) for s in shifts.values()])
        totals = {}
        for (i, _), shift in shifts.items():
            totals[groups[i]] = totals.get(groups[i], 0) + shift
        chance = np.sqrt(sum(total @ total for total in totals.values())) / len(shifts)
        own = np.mean([1 - cosine(vectors[i, 0], views[i, d]) for i, d in shifts])
        pairs = [(key, j) for key in shifts for j in there if groups[key[0]] != groups[j]]
        others = np.mean([1 - cosine(vectors[j, 0], views[key]) for key, j in pairs])
        apart = [s @ t for (i, _), s in shifts.items() for (j, _), t in shifts.items() if groups[i] != groups[j]]
        offset = np.mean(apart) / np.mean([s @ s for s in shifts.values()])
        alike = np.sqrt(mean @ mean) / length
        numbers = (mean, alike, chance / length, own / others, offset, halves([*totals.values()]))
        for name, value in zip(names, numbers, strict=True):
            found[name].append(value)
    return found


def halves(totals):
    """The cosine between the mean shifts of two halves, over all halvings; NaN where they are many, or unequal."""
    if len(totals) % 2 or len(totals) > 8:
        return np.nan
    inner, square = [], []
    for half in itertools.combinations(range(len(totals)), len(totals) // 2):
        first, second = (sum(t for i, t in enumerate(totals) if (i in half) == side) for side in (True, False))
        inner.append(first @ second)
        square.append(first @ first)
    return np.mean(inner) / np.mean(square)


def check(shifts, wanted, *more):
    means = wanted["mean"]
    cosines = [[cosine(u, v) for v in means] for u in means]
    np.testing.assert_allclose(shifts.directions(), cosines, rtol=0, atol=1e-6)
    # Sums of shifts are float32, all else is float64.
    tolerances = {"resultant": 1e-7, "resultant_by_chance": 1e-12, "relative_to_others": 1e-8}
    for name, tolerance in {**tolerances, **dict.fromkeys(more, 1e-6)}.items():
        np.testing.assert_allclose(getattr(shifts, name)(), wanted[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("shard", [2, 100])
def test_numbers_equal_loops_over_images_whatever_the_size_of_shards(shard):
    embedding = made()
    check(ShiftDirections(sums_of(embedding, shard=shard), 2), by_loops(embedding, 3, 2), "common_offset")


@pytest.mark.slow
def test_embeddings_of_length_zero_are_left_out():
    embedding = made(12)
    embedding[3, 0] = embedding[5, 2] = embedding[6, 2] = embedding[7, 6] = 0
    embedding[6, 5] = 0  # both draws of one augmentation
    found = ShiftDirections(sums_of(embedding, shard=5), 2)
    assert found.sums["images"].tolist() == [11, 10, 11]
    check(found, by_loops(embedding, 3, 2))


@pytest.mark.slow
def test_what_has_no_direction_is_not_a_number():
    still = np.repeat(made(6, 1, 1)[:, :1], 4, axis=1)
    still[:, 2] = 0  # the second augmentation has no embedding, the others do not move
    found = ShiftDirections(sums_of(still, 3, 1), 1)
    assert np.isnan(found.directions()).all()
    for values in (found.resultant(), found.resultant_by_chance(), found.split_half()):
        assert np.isnan(values).all()
    assert found.sums["images"].tolist() == [6, 0, 6]
    np.testing.assert_array_equal(found.relative_to_others(), [0, np.nan, 0])
    assert sums_of(np.zeros((4, 4, 7)), 3, 1) == {}
    # One image shares all with itself, and two that cancel nothing.
    one = ShiftDirections(sums_of(made(1, 2, 1), 2, 1), 1)
    np.testing.assert_allclose([one.resultant(), one.resultant_by_chance()], 1)
    assert np.isnan([*one.split_half(), *one.relative_to_others()]).all()
    opposite = np.array([[[1, 0], [0, 1]], [[-1, 0], [0, -1]]], np.float32)
    cancelling = ShiftDirections(sums_of(opposite, 1, 1), 1)
    assert np.isnan(cancelling.directions()).all()
    assert cancelling.resultant().tolist() == [0.0]
    assert cancelling.split_half() == pytest.approx([-1])


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4, 8])
def test_split_halves_are_the_mean_over_all_halves(count):
    embedding = made(count, 1, 2, seed=4)
    check(ShiftDirections(sums_of(embedding, 1, 2), 2), by_loops(embedding, 1, 2), "common_offset", "split_half")


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-4, 1.0, 50.0])
def test_cosines_of_shifts_of_one_image_equal_the_shifts_themselves(scale):
    rng = np.random.default_rng(1)
    u = rng.normal(size=(20, 1, 9))
    v = u + scale * rng.normal(size=(20, 5, 9))
    c = np.array([[cosine(a[0], b) for b in views] for a, views in zip(u, v, strict=True)])
    pairs = list(itertools.combinations(range(5), 2))
    d = np.array([[1 - cosine(views[a], views[b]) for a, b in pairs] for views in v])
    wanted = [
        [cosine(unit(views[a]) - unit(o[0]), unit(views[b]) - unit(o[0])) for a, b in pairs]
        for o, views in zip(u, v, strict=True)
    ]
    np.testing.assert_allclose(cosines_of_shifts(c, d), wanted, rtol=0, atol=1e-6)
    assert np.isnan(cosines_of_shifts([1.0, 1 - 1e-14, 0.5], [0.0, 0.5, 0.5])).all()
    assert np.isnan(cosines_of_shifts([np.nan, 0.5], [np.nan])).all()


@pytest.mark.slow
def test_tables_equal_loops_over_the_embeddings_of_a_study(tmp_path):
    names = ["noise", "blur", "elastic"]
    study = make_study(tmp_path / "study", 30, names, draws=2, shard_size=8)
    embedding = study.rows().collect()["embedding"].to_numpy().reshape(30, 7, -1)
    wanted = by_loops(embedding, 3, 2)
    matrix = study.table("directions").drop("augmentation").to_numpy()
    assert sum(len(axes.texts) for axes in study.figure("directions").axes) == 2 * 3 * 3, "a number in each cell"
    np.testing.assert_allclose(matrix, [[cosine(u, v) for v in wanted["mean"]] for u in wanted["mean"]], atol=1e-6)
    for name in ("resultant", "resultant_by_chance", "relative_to_others"):
        np.testing.assert_allclose(study.table("shifts")[name], wanted[name], rtol=0, atol=1e-7)
    vectors = embedding.astype(np.float64)
    of_images = np.eye(3)
    for a, b in itertools.combinations(range(3), 2):
        shifts = [[[unit(v[1 + 3 * d + k]) - unit(v[0]) for k in (a, b)] for d in (0, 1)] for v in vectors]
        of_images[a, b] = of_images[b, a] = np.mean([cosine(*pair) for image in shifts for pair in image])
    found = study.table("directions_of_images")
    assert found["augmentation"].to_list() == names == found.columns[1:]
    np.testing.assert_allclose(found.drop("augmentation").to_numpy(), of_images, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_augmentations_without_a_direction_stand_below_the_tree():
    matrix = np.array([[1.0, np.nan, 0.2, 0.9], [np.nan] * 4, [0.2, np.nan, 1.0, -0.5], [0.9, np.nan, -0.5, 1.0]])
    linkage, order = tree_of(matrix)
    assert set(linkage[0, :2]) == {0, 2}  # of those that have one: the first and the last
    assert linkage[:, 2] == pytest.approx([0.1, (0.8 + 1.5) / 2])
    assert order[-1] == 1
    assert tree_of(np.full((2, 2), np.nan)) == (None, [0, 1])
    assert tree_of(np.array([[1.0]])) == (None, [0])


@pytest.mark.slow
def test_numbers_of_groups_are_those_of_loops_over_groups(tmp_path):
    """A group counts as an image: for halves, for chance, and for what another original is."""
    rng, groups = np.random.default_rng(5), np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 5, 5, 4])
    original = rng.normal(size=(14, 7)) + 1
    views = {name: original + width * rng.normal(size=(14, 7)) for name, width in (("blur", 0.3), ("noise", 1.0))}
    study = embedshift.from_vectors(original, views, out=tmp_path / "study", groups=groups)
    table = study.shifts().join(study.summary().filter(metric="cosine_similarity"), on="augmentation")
    assert table["augmentation"].to_list() == [*views]
    assert table["images"].to_list() == [14, 14]
    wanted = by_loops(np.stack([original, *views.values()], axis=1), 2, 1, groups)
    for name in ("resultant", "resultant_by_chance", "split_half", "relative_to_others", "common_offset"):
        np.testing.assert_allclose(table[name], wanted[name], rtol=0, atol=1e-5, err_msg=name)
    sums = sums_of(made())
    alone = ShiftDirections(sums, 2).by_group().sums  # without vectors
    assert all(np.isnan(alone[name]).all() and alone[name].shape == sums[name].shape for name in sums)


@pytest.mark.slow
def test_an_augmentation_that_moves_the_first_block_alone_has_cosines():
    """Rows are read in blocks of 512 images."""
    first, second = np.where(np.arange(600) < 512, 0.8, 1.0), np.full(600, 0.5)
    columns = {"view": ["original", "a", "b"] * 600, "draw": [0, 0, 0] * 600}
    columns["cosine_similarity"] = np.stack([np.full(600, np.nan), first, second], axis=1).ravel()
    distances = pl.Series([[0.4], None, None] * 600, dtype=pl.List(pl.Float32))
    found = mean_cosines(image_rows(pl.DataFrame(columns | {"pairwise": distances}).lazy()), ["a", "b"])
    wanted = (0.2 + 0.5 - 0.4) / np.sqrt(4 * 0.2 * 0.5)
    np.testing.assert_allclose(found, [[1, wanted], [wanted, 1]], rtol=1e-6)


# Augmentation → strength and the direction, by its number, along which it moves: a and b the same way, far and near.
WAYS = {"a": (1.6, 0), "b": (0.3, 0), "c": (1.5, 1), "d": (0.3, 2)}


@pytest.mark.slow
def test_the_tree_of_directions_joins_a_and_b_and_the_tree_of_distances_does_not(tmp_path):
    """Each view moves along its augmentation's direction, and a little on its own."""
    rng = np.random.default_rng(0)
    originals, *own = 0.7 * np.eye(48)[47] + rng.normal(size=(5, 40, 48)) / np.sqrt(48)
    views = {
        name: originals + strength * (np.eye(48)[way] + 0.6 * (moved - 0.7 * np.eye(48)[47]))
        for (name, (strength, way)), moved in zip(WAYS.items(), own, strict=True)
    }
    study = embedshift.from_vectors(originals, views, out=tmp_path / "study", shard_size=8)
    matrices = {name: study.table(name) for name in ("directions", "directions_of_images")}
    linkage, order = tree_of(matrices["directions"].drop("augmentation").to_numpy())
    assert {list(WAYS)[int(leaf)] for leaf in linkage[0, :2]} == {"a", "b"}
    names = [list(WAYS)[index] for index in order]
    assert abs(names.index("a") - names.index("b")) == 1
    cluster = dict(study.clusters().select("augmentation", "cluster").iter_rows())
    assert cluster["b"] == cluster["d"] != cluster["a"]
    labels = [label.get_text() for axes in study.figure("directions").axes for label in axes.get_yticklabels()]
    assert [label for label in labels if label in WAYS] == names
    for name, least in (("directions", 0.9), ("directions_of_images", 0.6)):
        cosines = matrices[name].drop("augmentation").to_numpy()
        others = [cosines[i, j] for i in range(4) for j in range(i) if {i, j} != {0, 1}]
        assert cosines[0, 1] > least > max(others) + 0.2


NUMBERS = ("centred_shift", "centred_shift_low", "centred_shift_high", "common_offset")


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


def centred_by_loops(vectors, augmentations, groups=None):
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


def test_centred_relative_shifts_are_those_of_loops():
    vectors = made(30, 2)
    vectors[3, 2] = np.nan  # a view that was not drawn
    value, low, high = centred_shifts(image_rows(rows_of(vectors, "ab").lazy()), ["a", "b"], 0)
    assert value == pytest.approx(centred_by_loops(vectors, 2), rel=1e-10)
    assert (low < value).all()
    assert (value < high).all()


@pytest.mark.slow
def test_views_of_other_images_are_as_far_as_other_images_however_few_there_are():
    found = [
        centred_shifts(
            image_rows(rows_of(np.random.default_rng(seed).normal(size=(8, 2, 16)) + 1, "a").lazy()), ["a"], 0
        )
        for seed in range(120)
    ]
    assert np.mean(found, axis=0)[0] == pytest.approx(1.0, abs=0.05)  # 0.88 around a mean that has the image


def test_a_large_study_gives_the_number_of_its_first_1024_images():
    vectors = made(1_100, 1, 1, dim=3)
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


def test_what_lies_at_the_mean_has_no_direction():
    for same in (np.ones((9, 3, 4), np.float32), np.zeros((9, 3, 4), np.float32), made(1, 1)):
        assert np.isnan(centred_shifts(image_rows(rows_of(same, "a").lazy()), ["a"], 0)).all()


def test_copies_of_an_image_in_one_group_change_nothing():
    vectors = made(12, 2, offset=1.0)
    times, study = np.arange(12) % 3 + 1, image_rows(rows_of(vectors, "ab").lazy())
    groups = np.repeat(np.arange(12), times)
    copied = dataclasses.replace(image_rows(rows_of(vectors[groups], "ab").lazy()), groups=groups)
    twice = dataclasses.replace(
        image_rows(rows_of(np.repeat(vectors, 2, axis=0), "ab").lazy()), groups=np.arange(24) // 2
    )
    wanted = centred_shifts(study, ["a", "b"], 0)
    np.testing.assert_allclose(centred_shifts(twice, ["a", "b"], 0), wanted, rtol=1e-9)
    # Views count one by one; in means and the baseline a group counts once.
    assert centred_shifts(copied, ["a", "b"], 0)[0] == pytest.approx(
        centred_by_loops(vectors[groups], 2, groups), rel=1e-9
    )


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
    assert cosine["centred_shift"].to_list() == pytest.approx(centred_by_loops(rows, 3), rel=1e-10)
    assert cosine["common_offset"].to_list() == pytest.approx(by_loops(rows, 3, 1)["common_offset"], abs=1e-5)


@pytest.mark.slow
def test_a_study_without_the_sums_has_empty_tables_and_no_section(tmp_path):
    study = make_study(tmp_path / "study", 3, ["noise", "blur"])
    revise_shard(study.folder, 0, lambda rows: rows.replace_schema_metadata(None))
    assert '<section id="direction"' not in study.report(figures=[]).read_text()
    assert study.table("directions").is_empty()
    assert study.table("shifts").is_empty()
    with pytest.raises(embedshift.EmbedshiftError, match="no sums of shifts"):
        study.figure("directions")
