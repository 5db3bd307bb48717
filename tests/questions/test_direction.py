"""Which way: sums, cosines and relative shifts against loops over the embeddings, and studies of the worst kind."""

import dataclasses
import itertools
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.figures import FigureInput, iter_figures
from embedshift.questions.direction.figures import tree_of
from embedshift.questions.direction.measure import ShiftSums
from embedshift.questions.direction.shifts import Shifts, cosines_of_shifts
from embedshift.statistics import clusters
from embedshift.store.shards import SUMS_KEY
from support.revised import revise_shard
from support.shifts import shift_sums
from support.synthetic import make_study
from support.ways import Ways, write_images

pytestmark = pytest.mark.slow


def made(count=13, augmentations=3, draws=2, dim=7, seed=0):
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(count, 1, dim)) + 1
    views = original + rng.normal(size=(count, augmentations * draws, dim)) * rng.uniform(0.1, 2, (count, 1, 1))
    return np.concatenate([original, views], axis=1).astype(np.float32)


def sums_of(embedding, augmentations=3, draws=2, shard=100):
    """As shards add them up and the reader adds up shards."""
    total = {}
    for start in range(0, len(embedding), shard):
        sums = ShiftSums(augmentations, draws)
        for each in embedding[start : start + shard]:
            sums.add_embedding(each)
        for name, array in sums.close().items():
            total[name] = total.get(name, 0) + array.astype(np.float64)
    return total


def unit(v):
    return v / np.sqrt((v * v).sum())


def cosine(u, v):
    return float(unit(u) @ unit(v))


def split(per_image):
    """The mean inner product of two halves over the mean square of one, halving at random 20,000 times."""
    vectors = np.array([vector for vector in per_image if np.ndim(vector)])
    signs = np.random.default_rng(0).permuted(np.tile(np.arange(len(vectors)) % 2, (20_000, 1)), axis=1)
    halves = signs @ vectors, (1 - signs) @ vectors
    return 2 * (halves[0] * halves[1]).sum() / sum((half**2).sum() for half in halves)


def by_loops(embedding, augmentations, draws):
    """Mean shifts and all numbers of the tables, view by view; views of length zero are left out."""
    vectors = embedding.astype(np.float64)
    there = [i for i in range(len(vectors)) if vectors[i, 0].any()]
    shifts = {
        (i, a, d): unit(v) - unit(vectors[i, 0])
        for i, a, d in itertools.product(there, range(augmentations), range(draws))
        if (v := vectors[i, 1 + d * augmentations + a]).any()
    }
    found = {"mean": [], "resultant": [], "resultant_by_chance": [], "split_half": [], "relative_to_others": []}
    for a in range(augmentations):
        of = {key: shift for key, shift in shifts.items() if key[1] == a}
        length = np.mean([np.sqrt((shift**2).sum()) for shift in of.values()])
        mean = np.mean(list(of.values()), axis=0)
        per_image = [sum(shift for key, shift in of.items() if key[0] == i) for i in there]
        square = sum((shift**2).sum() for shift in per_image if np.ndim(shift)) / len(of) ** 2
        own = np.mean([1 - cosine(vectors[i, 0], vectors[i, 1 + d * augmentations + a]) for i, _, d in of])
        cross = np.mean(
            [
                1 - cosine(vectors[j, 0], vectors[i, 1 + d * augmentations + a])
                for i, _, d in of
                for j in there
                if j != i
            ]
        )
        numbers = (mean, np.sqrt((mean**2).sum()) / length, np.sqrt(square) / length, split(per_image), own / cross)
        for name, value in zip(found, numbers, strict=True):
            found[name].append(value)
    return found


def check(shifts, wanted):
    means = wanted["mean"]
    cosines = [[cosine(u, v) for v in means] for u in means]
    np.testing.assert_allclose(shifts.directions(), cosines, rtol=0, atol=1e-6)
    # Sums of shifts are float32, all else is float64.
    for name, tolerance in {
        "resultant": 1e-7,
        "resultant_by_chance": 1e-12,
        "relative_to_others": 1e-8,
        "split_half": 0.02,
    }.items():
        np.testing.assert_allclose(getattr(shifts, name)(), wanted[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("shard", [2, 4, 100])
def test_numbers_equal_loops_over_images_whatever_the_size_of_shards(shard):
    embedding = made()
    check(Shifts(sums_of(embedding, shard=shard), 2), by_loops(embedding, 3, 2))


def test_sums_equal_a_loop_and_do_not_depend_on_the_size_of_shards():
    embedding = made(9)
    embedding[0] *= 1e3  # lengths do not count
    wanted = shift_sums(embedding, 3, 2)
    for shard in (1, 4, 9):
        found = sums_of(embedding, shard=shard)
        assert set(found) == set(wanted)
        for name in found:
            np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-6 if name == "shifts" else 1e-12)


def test_embeddings_of_length_zero_are_left_out():
    embedding = made(12)
    embedding[3, 0] = embedding[5, 2] = embedding[6, 2] = embedding[7, 6] = 0
    embedding[6, 5] = 0  # both draws of one augmentation
    found = Shifts(sums_of(embedding, shard=5), 2)
    assert found.sums["images"].tolist() == [11, 10, 11]
    check(found, by_loops(embedding, 3, 2))


def test_what_has_no_direction_is_not_a_number():
    still = np.repeat(made(6, 1, 1)[:, :1], 4, axis=1)
    still[:, 2] = 0  # the second augmentation has no embedding, the others do not move
    found = Shifts(sums_of(still, 3, 1), 1)
    assert np.isnan(found.directions()).all()
    for values in (found.resultant(), found.resultant_by_chance(), found.split_half()):
        assert np.isnan(values).all()
    assert found.sums["images"].tolist() == [6, 0, 6]
    np.testing.assert_array_equal(found.relative_to_others(), [0, np.nan, 0])
    assert sums_of(np.zeros((4, 4, 7)), 3, 1) == {}
    opposite = np.array([[[1, 0], [0, 1]], [[-1, 0], [0, -1]]], np.float32)
    cancelling = Shifts(sums_of(opposite, 1, 1), 1)
    assert np.isnan(cancelling.directions()).all()
    assert cancelling.resultant().tolist() == [0.0]
    assert cancelling.split_half() == pytest.approx([-1])


def test_one_image_shares_all_with_itself():
    found = Shifts(sums_of(made(1, 2, 1), 2, 1), 1)
    assert found.resultant() == pytest.approx([1, 1])
    assert found.resultant_by_chance() == pytest.approx([1, 1])
    assert np.isnan(found.split_half()).all()
    assert np.isnan(found.relative_to_others()).all()


def test_shifts_without_a_common_direction_have_the_null_and_those_with_one_do_not():
    rng = np.random.default_rng(3)
    for draws in (1, 4):
        # A constant amount for all draws of an image: draws of one image are no images more.
        own = np.repeat(0.01 * rng.normal(size=(400, 1, 60)), draws, axis=1)
        base = 1 + 0 * own[:, :1]
        found = Shifts(sums_of(np.concatenate([base, base + own], axis=1), 1, draws), draws)
        assert found.resultant_by_chance() == pytest.approx([0.05], rel=0.02)
        assert found.resultant() == pytest.approx(found.resultant_by_chance(), rel=0.3)
        common = Shifts(sums_of(np.concatenate([base, base + own + np.eye(60)[0]], axis=1), 1, draws), draws)
        assert common.resultant() > 0.9
        assert common.split_half() > 0.99


@pytest.mark.parametrize("count", [2, 4, 8])
def test_split_halves_are_the_mean_over_all_halves(count):
    embedding = made(count, 1, 2, seed=4)
    shifts = [unit(v[1].astype(float)) + unit(v[2].astype(float)) - 2 * unit(v[0].astype(float)) for v in embedding]
    inner, square = [], []
    for half in itertools.combinations(range(count), count // 2):
        first, second = (sum(shifts[i] for i in range(count) if (i in half) == side) for side in (True, False))
        inner.append(first @ second)
        square.append(first @ first)
    found = Shifts(sums_of(embedding, 1, 2), 2).split_half()
    assert found == pytest.approx([np.mean(inner) / np.mean(square)], abs=1e-6)


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


def test_tables_equal_loops_over_the_embeddings_of_a_study(tmp_path):
    names = ["noise", "blur", "elastic"]
    study = make_study(tmp_path / "study", 30, names, draws=2, shard_size=8)
    embedding = study.rows().collect()["embedding"].to_numpy().reshape(30, 7, -1)
    wanted = by_loops(embedding, 3, 2)
    matrix = study.table("directions").drop("augmentation").to_numpy()
    assert len(numbers_of(study)) == 2 * 3 * 3
    np.testing.assert_allclose(matrix, [[cosine(u, v) for v in wanted["mean"]] for u in wanted["mean"]], atol=1e-6)
    table = study.table("shifts")
    assert table.columns == [
        "augmentation",
        "images",
        "resultant",
        "resultant_by_chance",
        "split_half",
        "relative_to_others",
    ]
    for name in ("resultant", "resultant_by_chance", "split_half", "relative_to_others"):
        np.testing.assert_allclose(table[name], wanted[name], rtol=0, atol=0.02 if name == "split_half" else 1e-7)
    vectors = embedding.astype(np.float64)
    of_images = np.eye(3)
    for a, b in itertools.combinations(range(3), 2):
        shifts = [[[unit(v[1 + 3 * d + k]) - unit(v[0]) for k in (a, b)] for d in (0, 1)] for v in vectors]
        of_images[a, b] = of_images[b, a] = np.mean([cosine(*pair) for image in shifts for pair in image])
    found = study.table("directions_of_images")
    assert found["augmentation"].to_list() == names == found.columns[1:]
    np.testing.assert_allclose(found.drop("augmentation").to_numpy(), of_images, rtol=0, atol=1e-6)


def test_augmentations_without_a_direction_stand_below_the_tree():
    matrix = np.array([[1.0, np.nan, 0.2, 0.9], [np.nan] * 4, [0.2, np.nan, 1.0, -0.5], [0.9, np.nan, -0.5, 1.0]])
    linkage, order = tree_of(matrix)
    assert set(linkage[0, :2]) == {0, 2}  # of those that have one: the first and the last
    assert linkage[:, 2] == pytest.approx([0.1, (0.8 + 1.5) / 2])
    assert order[-1] == 1
    assert tree_of(np.full((2, 2), np.nan)) == (None, [0, 1])
    assert tree_of(np.array([[1.0]])) == (None, [0])


@pytest.mark.matrix
def test_above_twenty_augmentations_one_line_says_what_is_left_out(tmp_path, caplog):
    names = [f"own_{index}" for index in range(21)]
    clusters._left_out.cache_clear()
    with caplog.at_level(logging.WARNING):
        study = make_study(tmp_path / "many", 10, names)
        html = study.report(figures=["heatmap"], formats=["svg"]).read_text()
        drawn = {
            kind.name for kind, _, _ in iter_figures(FigureInput(dataclasses.replace(study.reader(), pictures=False)))
        }
    lines = [line for line in caplog.messages if "too many" in line and "pairs" in line]
    assert lines == ["21 augmentations are too many for the tables, trees and figures of all pairs (at most 20)"]
    assert not {"pairwise", "clusters", "directions", "directions_of_images"} & set(study.table_names)
    assert len(study.table("shifts")) == 21
    assert not {"dendrogram", "clustermap", "directions"} & drawn
    assert '<section id="direction"' in html
    assert "The tree joins" not in html
    clusters._left_out.cache_clear()
    few = make_study(tmp_path / "few", 10, names[:20])
    assert {"pairwise", "clusters", "directions", "directions_of_images"} <= set(few.table_names)
    assert numbers_of(few) == []  # in so many cells they would be too small


def numbers_of(study):
    """The numbers in the cells of the figure."""
    return [text for axes in study.figure("directions").axes for text in axes.texts]


@pytest.mark.matrix
def test_views_that_do_not_move_still_have_their_tables(tmp_path):
    images, still = write_images(tmp_path / "images", 3), {"still": lambda image, rng: image}
    study = embedshift.run(images, out=tmp_path / "study", model=Ways(), augmentations=still, workers=0)
    assert study.table("directions").rows() == [("still", None)]
    assert study.table("directions_of_images").rows() == [("still", None)]
    assert study.table("shifts").rows() == [("still", 3, None, None, None, 0.0)]
    assert study.figure("directions").axes
    assert '<section id="direction"' in study.report(figures=[]).read_text()


@pytest.mark.matrix
def test_a_study_without_the_sums_has_empty_tables_and_no_section(tmp_path):
    study = make_study(tmp_path / "study", 3, ["noise", "blur"])
    path = study.folder / "shards" / "part-00000.parquet"
    assert SUMS_KEY in pq.read_metadata(path).metadata
    revise_shard(study.folder, 0, lambda rows: rows.replace_schema_metadata(None))
    assert SUMS_KEY not in pq.read_metadata(path).metadata
    assert '<section id="direction"' not in study.report(figures=[]).read_text()
    assert study.table("directions").is_empty()
    assert study.table("shifts").is_empty()
    assert not (study.folder / "figures" / "fig14_directions.svg").exists()
    with pytest.raises(embedshift.EmbedshiftError, match="no sums of shifts"):
        study.figure("directions")
