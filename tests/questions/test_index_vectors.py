"""Indexes of several vectors of an image, tiles and mirror images: against loops in float64."""

import functools
import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.index import experiment as made
from embedshift.questions.index.experiment import Vectors, experiment
from embedshift.questions.index.tables import family_of, tolerances
from embedshift.statistics.index import SearchIndex, all_vectors, fitted_index
from embedshift.statistics.index_parts import Training
from embedshift.statistics.judged import Split
from embedshift.statistics.vectors import normalised_float32
from support.mean_colour import MeanColour
from support.strength import photo

pytestmark = pytest.mark.slow

COUNT, DIM, TILES = 150, 12, 4
IDS = [f"{place:03d}" for place in range(COUNT)]
RATE = 0.02


def unit(vectors):
    vectors = np.asarray(vectors, np.float32).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)


def world(seed=0, count=COUNT, spread=1.0):
    """Originals whose tiles differ, and views that show one of the tiles, or the whole image."""
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(count, DIM)) + 0.5
    tiles = 0.6 * whole[:, None] + rng.normal(size=(count, TILES, DIM))
    shown = tiles[np.arange(count), rng.integers(TILES, size=count)]
    part = shown + spread * rng.normal(size=whole.shape)
    return whole, tiles, {"part": part, "noise": whole + spread * rng.normal(size=whole.shape)}


def searched(queries, own, gallery, groups, pairs, rate):
    """recall@1, recall@10 and matches of view i of image i; scores of queries `[n]` with images by `own` and `gallery`.

    Args: functions (query, image) → score; `pairs`: (image as a query, image) → score.
    """
    count, folds = len(groups), np.asarray(groups) % 5
    rank, score, others = np.zeros(count), np.zeros(count), []
    for i in range(count):
        inside = [j for j in range(count) if folds[j] == folds[i] and groups[j] != groups[i]]
        score[i] = own(queries[i], i)
        better = [own(queries[i], j) for j in inside] + [gallery(queries[i], k) for k in range(gallery.count)]
        rank[i] = 1 + sum(other >= score[i] - 1e-6 for other in better)
        others += [pairs(i, j) for j in inside] + [pairs(i, -1 - k) for k in range(gallery.count)]
    ordered = sorted(others, reverse=True)
    threshold = min(each for each in ordered if each > ordered[int(rate * len(ordered) + 1e-9)] + 1e-9)
    return {"recall@1": rank <= 1, "recall@10": rank <= 10, f"matched@{rate:g}": score >= threshold - 1e-9}


class Images:
    """Vectors of images `[n, m, D]`, of which the best score counts; those of length 0 do not."""

    def __init__(self, vectors, function=lambda query, vector: float(query @ vector)):
        self.vectors, self.count, self.function = vectors, len(vectors), function

    def __call__(self, query, place):
        return max(self.function(query, vector) for vector in self.vectors[place] if vector.any())


# The experiment on arrays.


def given(gallery=30, **more):
    """Vectors `[n, m, D]` of images, some of which have two tiles only, and others of a gallery."""
    whole, tiles, views = world(3, 60, **more)
    every = np.concatenate([whole[:, None], tiles], axis=1)
    every[::4, 3:] = np.nan
    others, more_tiles, _ = world(4, gallery)
    others = np.concatenate([others[:, None], more_tiles], axis=1)
    others[::3, 2:] = 0
    seen = normalised_float32(np.stack([*views.values()], axis=1)[:, None].astype(np.float32))
    return np.nan_to_num(every), others, seen


def as_vectors(every, others, seen, groups):
    tiled = [all_vectors(each.astype(np.float32)) for each in (every, others)]
    plain = Vectors(tiled[0][:, 0], seen, np.asarray(groups), ("part", "noise"), tiled[1][:, 0])
    return plain, replace(plain, originals=tiled[0], gallery=tiled[1], queries=tiled[0][:, 0])


def by_hand(name, whole):
    """The score of a vector for a query, with parts fitted to whole images by hand."""
    mean = whole.mean(axis=0) if "centred" in name else np.zeros(DIM)

    def moved(vector):
        return unit(vector - mean) if "centred" in name else vector

    seen = np.array([moved(each) for each in whole])
    low, step = seen.min(axis=0), (seen.max(axis=0) - seen.min(axis=0)) / 255

    def kept(vector):
        if "int8" in name:
            return (np.clip(np.floor((vector - low) / step), 0, 255) + 0.5) * step + low
        return np.where(vector > 0, 1.0, -1.0) if "binary" in name else vector

    background = np.array([moved(each) for each in whole[:200]])
    kept_background = np.array([kept(each) for each in background])

    @functools.cache
    def side(data, asked):
        """A query or what is kept, and half of the mean of its ten highest scores with the background."""
        vector = moved(np.frombuffer(data)) if asked else kept(moved(np.frombuffer(data)))
        return vector, np.sort((kept_background if asked else background) @ vector)[-10:].mean() / 2

    def score(query, vector):
        (asked, level), (stored, stored_level) = side(query.tobytes(), True), side(vector.tobytes(), False)
        return float(asked @ stored) - (level + stored_level if "normalised" in name else 0)

    return score


@pytest.mark.parametrize(
    ("name", "per_group", "block"),
    [("tiles", 1, 8_192), ("tiles", 2, 11), ("tiles+binary", 2, 8_192), ("tiles+centred+int8+normalised", 1, 11)],
)
def test_the_best_vector_of_an_image_counts_as_in_a_loop(name, per_group, block, monkeypatch):
    monkeypatch.setattr(made, "BLOCK", block)
    every, others, seen = given()
    groups = np.arange(60) // per_group
    plain, tiled = as_vectors(every, others, seen, groups)
    split = Split.of(plain.groups, {"part": "part", "noise": "noise"})
    found = dict(experiment([name], plain, split, RATE, {"tiles": tiled}.get))[name]
    assert (found.several, found.searched) == (5, 42)
    values = {metric: each.values[:, 0] for metric, each in found.outcomes.items()}
    own, more = unit(every), unit(others)
    for fold in range(5):
        inside = np.flatnonzero(groups % 5 == fold)
        score = by_hand(name, own[groups % 5 != fold][:, 0])
        images, gallery = Images(own, score), Images(more, score)
        for column in range(2):
            for i in inside:
                query = np.float64(seen[i, 0, column])
                rest = [j for j in inside if groups[j] != groups[i]]
                mine = images(query, i)
                rank = 1 + sum(images(query, j) >= mine - 1e-6 * max(1, abs(mine)) for j in rest)
                rank += sum(gallery(query, k) >= mine - 1e-6 * max(1, abs(mine)) for k in range(30))
                assert values["mrr"][i, column] == pytest.approx(1 / rank), (fold, column, i)
    assert 0.2 < values["recall@1"].mean() < 0.95
    assert (
        values["recall@1"][:, 0].mean()
        > dict(experiment([], plain, split, RATE))["float32"].outcomes["recall@1"].values[:, 0, 0].mean()
    ), "tiles find more parts"


def test_neighbours_are_those_of_float32_of_whole_images():
    every, others, seen = given()
    plain, tiled = as_vectors(every, others, seen, np.arange(60))
    split = Split.of(plain.groups, {"part": "part", "noise": "noise"})
    found = dict(experiment(["tiles"], plain, split, RATE, {"tiles": tiled}.get))["tiles"]
    own, more, total = unit(every), unit(others), []
    for i in range(60):
        rest = [*(own[j] for j in range(60) if j % 5 == i % 5 and j != i), *more]
        for column in range(2):
            query = np.float64(seen[i, 0, column])
            exact = {*np.argsort([-float(query @ image[0]) for image in rest])[:10]}
            best = [-max(float(query @ each) for each in image if each.any()) for image in rest]
            total.append(len(exact & {*np.argsort(best)[:10]}) / 10)
    assert found.outcomes["neighbours@10"].values.mean() == pytest.approx(np.mean(total))


def test_candidates_of_tiles_are_rescored_by_their_best_vector():
    """All are candidates: the rank is that of int8, the code of `rescore`."""
    plain, tiled = as_vectors(*given(), np.arange(60))
    split = Split.of(plain.groups, {"part": "part", "noise": "noise"})
    found = dict(experiment(["tiles+int8", "tiles+binary+rescore"], plain, split, RATE, {"tiles": tiled}.get))
    for metric in ("mrr", f"matched@{RATE:g}"):
        ours, theirs = (each.outcomes[metric].values for each in list(found.values())[1:])
        np.testing.assert_array_equal(ours, theirs)


# What is kept and asked.


VECTORS = np.random.default_rng(6).normal(size=(40, 5, DIM)).astype(np.float32)
VECTORS[3, 2] = VECTORS[5, 4] = 0
VECTORS[7, 1:] = np.nan
VECTORS[9] = 0
ASKED = np.random.default_rng(7).normal(size=(6, DIM)).astype(np.float32)
WHOLE = Training(normalised_float32(VECTORS[:, 0] + 0.1), np.zeros((40, 0, DIM), np.float32))


@pytest.mark.parametrize("name", ["tiles", "tiles+float16", "tiles+first-1/4+int8+normalised", "tiles+binary+rescore"])
def test_tiles_keep_all_vectors_and_the_best_score_of_an_image_counts(name, tmp_path):
    index = fitted_index(name, WHOLE)
    one = SearchIndex(name.removeprefix("tiles+").replace("tiles", "float32"), DIM, index.arrays[1:], index.background)
    stored, asked = index.base(VECTORS), index.query(ASKED)
    assert stored.shape[:2] == (40, 5)
    assert stored[0].nbytes == 5 * (index.bytes_stored - 4 * index.is_normalised)
    scores = index.scores(asked, stored)
    for place, image in enumerate(VECTORS):
        there = [vector for vector in image if np.isfinite(vector).all() and vector.any()] or [image[0]]
        expected = one.scores(one.query(ASKED), one.base(np.array(there))).max(axis=1)
        np.testing.assert_allclose(scores[:, place], expected, atol=1e-6)
    index.save(tmp_path / "a.npz")
    read = SearchIndex.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.scores(read.query(ASKED), read.base(VECTORS)), scores)


def test_means_are_the_direction_of_the_sum_of_directions(tmp_path):
    def mean(image):
        return unit(sum(unit(each) for each in image if np.isfinite(each).all() and each.any()) / len(image))

    expected = np.array([mean(image) if image[0].any() else np.zeros(DIM) for image in np.float64(VECTORS)])
    for name, of_base, of_query in (
        ("tiles-mean", True, False), ("mirror-mean", True, True), ("mirror-query", False, True),
    ):  # fmt: skip
        index = fitted_index(name, WHOLE)
        for function, is_mean in ((index.base, of_base), (index.query, of_query)):
            found = function(VECTORS if is_mean else ASKED)
            np.testing.assert_allclose(found, expected if is_mean else unit(ASKED), atol=1e-6)
            wrong, words = (ASKED, "[n, m, 12]") if is_mean else (VECTORS, "[n, 12]")
            with pytest.raises(UsageError) as error:
                function(wrong)
            assert f"give vectors {words}" in str(error.value)
        index.save(tmp_path / "a.npz")
        assert SearchIndex.load(tmp_path / "a.npz").layout == name


# Studies.


def frame(whole, tiles, views, ids=IDS):
    parts = [("original", None, whole), *(("original", 1 + k, tiles[:, k]) for k in range(tiles.shape[1]))]
    parts += [(name, 0, vectors) for name, vectors in views.items()]
    return pl.concat(
        pl.DataFrame({"image_id": ids, "view": [view] * len(ids), "vector": vectors.tolist()}).with_columns(
            pl.lit(tile, pl.Int64).alias("tile")
        )
        for view, tile, vectors in parts
    ).sample(fraction=1, shuffle=True, seed=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    frame(*world()).write_parquet(folder / "vectors.parquet")
    return embedshift.from_vectors(folder / "vectors.parquet", out=folder / "study")


@pytest.fixture
def gallery(tmp_path):
    """Others, one of which has two tiles, and images of the study: one by its name, one by its direction."""
    whole, tiles, _ = world(5, 60)
    own = world()
    whole[7], tiles[7] = own[0][7], own[1][7]
    whole[8], tiles[8] = 3 * own[0][8], 2 * own[1][3]
    ids = ["007" if place == 7 else f"more-{place}" for place in range(60)]
    more = frame(whole, tiles, {}, ids).filter(~((pl.col("image_id") == "more-3") & (pl.col("tile").fill_null(0) > 2)))
    more.drop("view").write_parquet(tmp_path / "more.parquet")
    every = np.concatenate([unit(whole)[:, None], unit(tiles)], axis=1)
    every[3, 3:] = 0
    return tmp_path / "more.parquet", np.delete(every, [7, 8], axis=0)


def test_a_study_and_a_gallery_with_tiles_have_what_a_loop_finds(study, gallery, caplog):
    path, more = gallery
    with caplog.at_level(logging.INFO):
        table = study.index(["tiles", "tiles-mean"], gallery=str(path), false_match_rate=RATE)
    assert "1 images of the gallery are also in the study; skipping them in the gallery" in caplog.text
    order = [IDS.index(name) for name in study.reader().ordered_ids()]
    whole, tiles, views = world()
    every = np.concatenate([unit(whole)[:, None], unit(tiles)], axis=1)[order]
    means = [np.array([unit(image.sum(axis=0)) for image in each])[:, None] for each in (every, more)]
    for name, own, others in (("float32", every[:, :1], more[:, :1]), ("tiles", every, more), ("tiles-mean", *means)):
        images, gallery_images = Images(own), Images(others)

        def pairs(i, j, images=images, others=gallery_images):
            return others(every[i, 0], -1 - j) if j < 0 else images(every[i, 0], j)

        for view in ("part", "noise"):
            queries = unit(views[view])[order]
            expected = searched(queries, images, gallery_images, range(COUNT), pairs, RATE)
            for metric, hits in expected.items():
                row = table.filter(index=name, augmentation=view, metric=metric).row(0, named=True)
                assert row["value"] == pytest.approx(np.mean(hits)), (name, view, metric)
                vectors = 5 if name == "tiles" else 1
                assert (row["gallery"], row["bytes_searched"]) == (30 + 58, vectors * 4 * DIM)


def test_the_default_indexes_have_tiles_where_the_study_does(study):
    names = embedshift.load(study.folder).index(None, recall_margin=0.02)["index"].unique(maintain_order=True).to_list()
    assert names[-2:] == ["tiles", "tiles-mean"]
    assert not any("mirror" in name for name in names)


def test_a_gallery_without_tiles_leaves_them_out_in_one_line(study, tmp_path, caplog):
    np.save(tmp_path / "more.npy", world(5, 60)[0].astype(np.float32))
    with caplog.at_level(logging.WARNING):
        table = study.index(["int8", "tiles+binary"], gallery=str(tmp_path / "more.npy"))
    assert table["index"].unique(maintain_order=True).to_list() == ["float32", "int8"]
    lines = [record.message for record in caplog.records if "tiles+binary" in record.message]
    assert lines == [
        f"tiles+binary is left out: {tmp_path / 'more.npy'} has no vectors of tiles: run it with `tiles` 4"
    ]


def test_an_index_that_the_study_has_no_vectors_for_is_one_line(study):
    for name in ("mirror-mean", "mirror-query+binary"):
        with pytest.raises(UsageError) as error:
            study.index([name])
        assert str(error.value).endswith(f"the index {name} needs vectors of mirror images: run it with `mirrored`")


def test_an_index_of_tiles_is_written_and_read(study, tmp_path):
    from embedshift.questions.index.result import write_index

    write_index(study, ["tiles+binary"], None, tmp_path / "a.npz", None)
    index = embedshift.SearchIndex.load(tmp_path / "a.npz")
    whole, tiles, _ = world()
    stored = index.base(np.concatenate([whole[:, None], tiles], axis=1))
    assert (stored.shape, index.name) == ((COUNT, 5, 2), "tiles+binary")
    with pytest.raises(UsageError, match="has no map and no size"):
        write_index(study, ["tiles"], None, None, tmp_path / "a.onnx")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graded")
    whole = photo("china.jpg", 512)
    rng = np.random.default_rng(0)
    for number in range(50):
        top, left, height, width = *rng.integers(0, 300, 2), *rng.integers(120, 200, 2)
        Image.fromarray(whole[top : top + height, left : left + width]).save(folder / f"{number:02d}.png")
    settings = {"augmentations": "strength", "families": ["crop", "occlusion"], "workers": 0}
    return embedshift.run(folder, out=folder / "study", model=MeanColour(), mirrored=True, **settings)


def test_mirror_images_are_averaged_in_queries_and_in_the_gallery_as_in_a_loop(graded):
    names = ("float32", "mirror-mean", "mirror-query")
    table = graded.index([*names], false_match_rate=RATE)
    rows = graded.rows().select("image_id", "view", "embedding", "mirrored").collect()
    vectors = {(row[0], row[1]): (unit(row[2]), unit(row[3])) for row in rows.iter_rows()}
    ids = graded.reader().ordered_ids()

    def of(view, is_mean):
        return np.array([unit(sum(vectors[i, view])) if is_mean else vectors[i, view][0] for i in ids])

    for name in names:
        asked = of("original", name != "float32")
        images, none = Images(of("original", name == "mirror-mean")[:, None]), Images(np.zeros((0, 1, DIM)))

        def pairs(i, j, images=images, asked=asked):
            return images(asked[i], j)

        for view in ("crop@5", "occlusion@5"):
            expected = searched(of(view, name != "float32"), images, none, range(50), pairs, RATE)
            for metric, hits in expected.items():
                value = table.filter(index=name, augmentation=view, metric=metric)["value"][0]
                assert value == pytest.approx(np.mean(hits)), (name, view, metric)
    finds = table.filter(metric="recall@1", augmentation="crop@5")["value"]
    assert finds.n_unique() > 1


def test_a_family_with_a_strength_has_a_tolerance_for_each_index(graded):
    table = graded.index(["int8", "binary"])
    found = table.filter(metric="tolerance")
    assert found["augmentation"].to_list() == ["crop", "occlusion"] * 3
    assert found["index"].unique(maintain_order=True).to_list() == ["float32", "int8", "binary"]
    assert found["difference"].null_count() == found["outcome"].null_count() == len(found)
    parameters = {family.name: family.strengths for family in graded.reader().families}
    for name, family, value in found.select("index", "augmentation", "value").iter_rows():
        curve = table.filter(pl.col("augmentation").str.starts_with(f"{family}@"), index=name, metric="recall@1")
        missed = [0.0, *(1 - each for each in curve.sort("augmentation")["value"])]
        after = next((place for place, each in enumerate(missed) if each >= 0.05), None)
        if after is None:
            assert value is None
            continue
        step = (0.05 - missed[after - 1]) / (missed[after] - missed[after - 1])
        weak, strong = parameters[family][after - 1 : after + 1]
        assert value == pytest.approx(weak + step * (strong - weak))
    assert found["value"].null_count() < len(found)


def test_a_study_without_strengths_has_no_tolerances(study):
    table = study.index(["int8"])
    assert "tolerance" not in table["metric"]
    assert len(tolerances(table, ())) == 0


def test_all_crops_of_copies_are_one_family():
    names = ("collage", "overlay_30", "mirror_crop_50", "crop_50", "crop_30", "crop_15", "crop_of_mine")
    families = family_of(SimpleNamespace(family_of={name: name for name in names}))
    assert [name for name in families if families[name] == "crop"] == [
        "mirror_crop_50",
        "crop_50",
        "crop_30",
        "crop_15",
    ]
    assert all(families[name] == name for name in ("collage", "overlay_30", "crop_of_mine"))
