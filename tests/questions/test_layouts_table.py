"""The tables `layouts` and `layout_tolerance`, and a search with a layout: on vectors whose truth is known."""

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import binomtest

import embedshift
from embedshift.errors import UsageError
from embedshift.report.next_steps import next_steps
from embedshift.statistics.judged import Outcomes, judge
from embedshift.statistics.tiles import boxes
from support.command import call
from support.mean_colour import MeanColour
from support.strength import photo

pytestmark = pytest.mark.slow

COUNT, DIM, TILES = 150, 12, 4
IDS = [f"{place:03d}" for place in range(COUNT)]


def world(seed=0, count=COUNT):
    """Originals whose tiles differ, and views that show one of the tiles, or the whole image."""
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(count, DIM)) + 0.5
    tiles = 0.6 * whole[:, None] + rng.normal(size=(count, TILES, DIM))
    shown = rng.integers(TILES, size=count)
    part = tiles[np.arange(count), shown] + 0.4 * rng.normal(size=whole.shape)
    return whole, tiles, {"part": part, "noise": whole + 0.6 * rng.normal(size=whole.shape)}, shown


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
    folder = tmp_path_factory.mktemp("layouts")
    whole, tiles, views, _ = world()
    frame(whole, tiles, views).write_parquet(folder / "vectors.parquet")
    return embedshift.from_vectors(folder / "vectors.parquet", out=folder / "study")


def unit(vectors):
    vectors = np.asarray(vectors, np.float32).astype(np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def scores(layout):
    """Cosines of queries by view, and of originals, with each image: `[n, n]`."""
    whole, tiles, views, _ = world()
    every = np.concatenate([unit(whole)[:, None], unit(tiles)], axis=1)
    kept = {"one": every[:, :1], "tiles": every, "tiles-mean": unit(every.mean(axis=1))[:, None]}[layout]
    queries = {"original": whole, **views}
    return {name: np.einsum("qd,nmd->qnm", unit(vectors), kept).max(axis=2) for name, vectors in queries.items()}


def test_vectors_with_a_column_of_tiles_have_what_a_loop_finds(study):
    table = study.layouts()
    assert table.columns == [
        "layout", "augmentation", "family", "level", "parameter", "metric", "n", "vectors", "value", "ci_low",
        "ci_high", "difference", "difference_low", "difference_high",
    ]  # fmt: skip
    assert table["layout"].unique(maintain_order=True).to_list() == ["one", "tiles", "tiles-mean"]
    order = [IDS.index(name) for name in study.reader().ordered_ids()]
    found = {}
    for layout in ("one", "tiles", "tiles-mean"):
        cosines = scores(layout)
        pairs = np.sort(cosines["original"][~np.eye(COUNT, dtype=bool)])[::-1]
        least = pairs[int(0.001 * len(pairs)) - 1]
        for name in ("part", "noise"):
            own = np.diagonal(cosines[name])
            rank = (cosines[name] >= own[:, None]).sum(axis=1)
            for metric, hit in (
                ("recall@1", rank == 1),
                ("recall@10", rank <= 10),
                ("matched@0.001", own >= least - 1e-9),
            ):
                found[layout, name, metric] = hit[order]
                row = table.filter(layout=layout, augmentation=name, metric=metric).row(0, named=True)
                assert row["value"] == pytest.approx(hit.mean()), (layout, name, metric)
                assert row["ci_low"] <= row["value"] <= row["ci_high"]
                assert (row["n"], row["vectors"]) == (COUNT, 5 if layout == "tiles" else 1)
                base = found["one", name, metric]
                judged = judge(*(Outcomes(each[:, None, None].astype(float)) for each in (base, hit[order])), seed=0)
                if layout != "one" and metric != "matched@0.001":
                    ends = [end[0] for end in judged.interval()]
                    assert [row["difference_low"], row["difference_high"]] == pytest.approx(ends)
                assert row["difference"] == pytest.approx(hit.mean() - base.mean())
    gain = table.filter(layout="tiles", augmentation="part", metric="recall@1").row(0, named=True)
    assert gain["difference_low"] > 0.1


def test_a_search_with_tiles_ranks_as_a_loop_and_is_kept_until_another_is_chosen(study):
    before = study.search_ranks()
    try:
        table = study.search(layout="tiles")
        for name in ("part", "noise"):
            cosines = scores("tiles")[name]
            rank = (cosines >= np.diagonal(cosines)[:, None]).sum(axis=1)
            found = study.search_ranks().filter(view=name).sort("image_id")
            assert found["rank"].to_list() == rank.tolist()
            assert found["cosine"].to_numpy() == pytest.approx(np.diagonal(cosines), abs=1e-6)
        assert table.filter(metric="recall@1", augmentation="part")["value"][0] > 0.5
        pairs = np.sort(scores("tiles")["original"][~np.eye(COUNT, dtype=bool)])[::-1]
        row = study.thresholds().filter(false_match_rate=0.01).row(0, named=True)
        assert row["threshold"] == pytest.approx(pairs[int(0.01 * len(pairs)) - 1], abs=1e-6)
        assert row["ci_low"] < row["threshold"] < row["ci_high"]
        study.report(figures=[])
        assert study.search_ranks().filter(view="part")["rank"].mean() < before.filter(view="part")["rank"].mean()
        page = (study.folder / "report.html").read_text()
        assert "with the vectors of the layout <b>tiles</b>" in page
        assert "What are several vectors of an image worth?" in page
        other = embedshift.load(study.folder).with_groups({name: name[0] for name in IDS})
        assert other.layouts()["difference_low"].null_count() < len(other.layouts())
    finally:
        study.search(layout="one")
    assert study.search_ranks().equals(before)


@pytest.mark.matrix
def test_searches_of_two_layouts_are_not_compared(study, tmp_path, caplog):
    whole, tiles, views, _ = world()
    other = embedshift.from_vectors(frame(whole, tiles, views), out=tmp_path / "other", model="other")
    assert "recall@1" in embedshift.compare([study, other]).comparison["metric"].to_list()
    other.search(layout="tiles")
    compared = embedshift.compare([study, other])
    assert "recall@1" not in compared.comparison["metric"].to_list()
    assert "the layout tiles" in caplog.text
    with pytest.raises(UsageError, match="search both again with one `layout`"):
        embedshift.compare([study, other], recall_margin=0.05)


def test_duplicates_say_which_tile_is_a_copy(tmp_path):
    whole, tiles, views, _ = world()
    whole[7], whole[20] = tiles[3, 2] + 0.001, tiles[90, 0]
    whole[51] = whole[50]
    study = embedshift.from_vectors(frame(whole, tiles, views), out=tmp_path / "study")
    assert study.duplicates(threshold=0.999).select("image_id", "other").rows() == [("050", "051")]
    assert study.duplicates(threshold=0.999).select("tile", "other_tile").rows() == [(None, None)]
    found = study.duplicates(threshold=0.999, layout="tiles").select("image_id", "other", "tile", "other_tile").rows()
    assert set(found) == {("050", "051", 0, 0), ("003", "007", 3, 0), ("020", "090", 0, 1)}
    listed = study.duplicates(layout="tiles", expected_false=0.5)
    assert {("003", "007"), ("020", "090"), ("050", "051")} <= set(listed.select("image_id", "other").iter_rows())


def test_a_file_of_several_vectors_an_image_is_a_gallery(study, tmp_path):
    whole, tiles, *_ = world(5, 60)
    ids = [f"more-{place}" for place in range(60)]
    more = frame(whole, tiles, {}, ids).filter(~((pl.col("image_id") == "more-3") & (pl.col("tile").fill_null(0) > 2)))
    more.drop("view").write_parquet(tmp_path / "more.parquet")
    every = np.concatenate([unit(whole)[:, None], unit(tiles)], axis=1)
    every[3, 3:] = every[3, :1]
    own = scores("tiles")["part"]
    others = np.einsum("qd,nmd->qnm", unit(world()[2]["part"]), every).max(axis=2)
    rank = (own >= np.diagonal(own)[:, None]).sum(axis=1) + (others >= np.diagonal(own)[:, None]).sum(axis=1)
    try:
        study.search(layout="tiles", gallery=tmp_path / "more.parquet")
        found = study.search_ranks().filter(view="part").sort("image_id")
        assert found["rank"].to_list() == rank.tolist()
        assert study.table("gallery_sizes").filter(kind="measured")["images"].max() == COUNT + 60
        study.search(layout="one", gallery=tmp_path / "more.parquet")
        alone = (scores("one")["part"] >= np.diagonal(scores("one")["part"])[:, None]).sum(axis=1)
        alone += (unit(world()[2]["part"]) @ unit(whole).T >= np.diagonal(scores("one")["part"])[:, None]).sum(axis=1)
        assert study.search_ranks().filter(view="part").sort("image_id")["rank"].to_list() == alone.tolist()
    finally:
        study.search(layout="one", gallery="")
    single = more.filter(pl.col("tile").is_null())
    wrong = {
        "has one vector an image": single,
        "has 2 vectors of tile 1 of 'original'": pl.concat([more, more.filter(tile=1).head(1)]),
        "has no vector of an 'original'": more.filter(pl.col("tile").is_not_null()),
        "has the tile -": more.with_columns(-pl.col("tile")),
        "need the column 'image_id'": more.drop("image_id"),
    }
    for words, given in wrong.items():
        given.drop("view").write_parquet(tmp_path / "wrong.parquet")
        with pytest.raises(UsageError, match=words):
            study.search(layout="tiles", gallery=tmp_path / "wrong.parquet")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda rows: rows.filter(~((pl.col("image_id") == "003") & pl.col("tile").eq_missing(2))),
            "no vector of tile 2",
        ),
        (lambda rows: pl.concat([rows, rows.filter(tile=1).head(1)]), "has 2 vectors of tile 1"),
        (lambda rows: rows.with_columns(tile=pl.when(view="part").then(1).otherwise("tile")), "give views none"),
        (lambda rows: rows.with_columns(-pl.col("tile")), "has the tile -[1-4]; number those"),
    ],
)
def test_vectors_that_lack_a_tile_are_refused(tmp_path, change, words):
    whole, tiles, views, _ = world()
    with pytest.raises(UsageError, match=words):
        embedshift.from_vectors(change(frame(whole, tiles, views)), out=tmp_path / "study")


def test_the_next_step_is_a_search_with_tiles_where_they_pay(study, tmp_path, monkeypatch, capsys):
    steps = next_steps(study.reader())
    assert any("find" in step.why and step.action.words[-1] == "tiles" for step in steps)
    whole, _, views, _ = world()
    same = np.repeat(whole[:, None], TILES, axis=1)
    other = embedshift.from_vectors(frame(whole, same, views), out=tmp_path / "same")
    assert not any("tiles" in step.action.words for step in next_steps(other.reader()))
    gains = other.layouts().filter(pl.col("layout") != "one")
    assert gains["difference"].to_list() == [0.0] * len(gains)
    done = call(monkeypatch, capsys, "search", study.folder, "--layout", "tiles", "--json")
    assert json.loads(done.out)["duplicates"] == study.duplicates().to_dicts()
    study.search(layout="one")


def test_rules_may_be_about_gains_values_and_tolerances(study):
    rule = {"table": "layouts", "layout": "tiles", "metric": "recall@1"}
    gain = embedshift.check(study, [{**rule, "augmentation": "part", "column": "difference", "at_least": 0.1}])
    assert gain.outcome == "kept"
    assert embedshift.check(study, [{**rule, "augmentation": "part", "at_most": 0.2}]).outcome == "broken"
    with pytest.raises(UsageError, match="layout"):
        embedshift.check(study, [{**rule, "layout": "grid", "at_least": 0.5}])


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graded")
    whole = photo("china.jpg", 512)
    rng = np.random.default_rng(0)
    from PIL import Image

    for number in range(30):
        top, left, height, width = *rng.integers(0, 300, 2), *rng.integers(120, 200, 2)
        Image.fromarray(whole[top : top + height, left : left + width]).save(folder / f"{number:02d}.png")
    settings = {"augmentations": "strength", "families": ["crop", "occlusion"], "workers": 0}
    return embedshift.run(folder, out=folder / "study", model=MeanColour(), tiles=9, mirrored=True, **settings)


def test_how_small_a_part_is_found_is_one_number_a_layout(graded):
    table, curves = graded.layout_tolerance(), graded.layouts().filter(metric="recall@1")
    assert table.columns == ["layout", *graded.tolerance().columns]
    assert len(table) == 5 * 2
    assert table["criterion"].unique().to_list() == ["missed 5 %"]
    plain = graded.tolerance().filter(criterion="missed 5 %")
    assert_frame_equal(table.filter(layout="one").drop("layout"), plain)
    for layout in ("tiles", "mirror-mean"):
        rows = curves.filter(layout=layout, family="crop").sort("level")
        missed = [0.0, *(1 - value for value in rows["value"])]
        strengths = [1.0, *rows["parameter"]]
        after = next(place for place, value in enumerate(missed) if max(missed[: place + 1]) >= 0.05)
        step = (0.05 - missed[after - 1]) / (missed[after] - missed[after - 1])
        wanted = strengths[after - 1] + step * (strengths[after] - strengths[after - 1])
        row = table.filter(layout=layout, family="crop").row(0, named=True)
        assert row["value"] == pytest.approx(wanted)
    assert rows["level"].to_list() == [1, 2, 3, 4, 5]
    limit = {"table": "layout_tolerance", "layout": "tiles", "family": "crop", "unit": "area kept", "at_most": 0.9}
    assert len(embedshift.check(graded, [limit]).results) == 1


def test_the_nearest_tile_is_the_one_that_shows_the_part(graded):
    """Of images that only tiles find, the best tile covers the most of the part that was cut, or nearly."""
    from embedshift.augmentations import load_suite
    from embedshift.augmentations.views import Canvas, view_seed

    suite = load_suite("strength", families=["crop"])
    rows = {
        (row["image_id"], row["view"]): row
        for row in graded.rows().select("image_id", "view", "embedding", "tiles").collect().iter_rows(named=True)
    }
    size, good, seen = MeanColour.size, 0, 0
    for name in ("crop@4", "crop@5"):
        for image_id in graded.reader().ordered_ids():
            query = unit(rows[image_id, name]["embedding"])
            best = int((unit(np.reshape(rows[image_id, "original"]["tiles"], (9, -1))) @ query).argmax())
            canvas = Canvas(np.zeros((size, size, 3), np.uint8))
            seed = view_seed(0, image_id, suite[name].seed_name, 0)
            source = suite[name].geometry(canvas.image, seed).source
            low, high = (
                (source.reshape(-1, 2).min(axis=0) + 0.5) / size,
                (source.reshape(-1, 2).max(axis=0) + 0.5) / size,
            )
            covered = [
                np.prod(np.clip(np.minimum(high, box[2:]) - np.maximum(low, box[:2]), 0, None)) / np.prod(high - low)
                for box in map(np.array, boxes(9))
            ]
            seen, good = seen + 1, good + (covered[best] >= max(covered) - 0.1)
    assert binomtest(good, seen).proportion_ci().high >= 0.7
    assert good / seen > 0.5
