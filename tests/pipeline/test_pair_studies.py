"""Pairs through a whole run: the rows, what is missing or broken, purifiers, and who may go on with whose study."""

import io
import json
import logging
import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift import EmbedshiftError
from embedshift.augmentations.variant import purifier
from embedshift.errors import UsageError
from embedshift.questions.clusters import Tree
from embedshift.statistics.summary import PAPER_METRICS
from embedshift.store.redraw import redraw
from support import models, studies
from support.archives import write_parquet, write_tar
from support.mean_colour import MeanColour
from support.pairs import QUALITIES, decoded, run_pairs, tiles, write_pairs

COUNT = 9
TABLES = ("summary", "ranking", "differences", "pairwise", "clusters", "directions", "shifts", "geometry", "failures")


@pytest.fixture(scope="module")
def made():
    return studies.paired()[0]


@pytest.fixture
def pairs(made, tmp_path):
    """A copy to break."""
    return shutil.copytree(made, tmp_path / "pairs")


def same(first, second):
    """The rows and the tables, bit for bit."""
    assert first.rows().collect().equals(second.rows().collect(), null_equal=True)
    for name in TABLES:
        one, two = (study.failures() if name == "failures" else study.table(name) for study in (first, second))
        assert one.equals(two, null_equal=True), name


@pytest.fixture(scope="module")
def whole():
    return studies.paired()[1]


@pytest.mark.slow
def test_rows_are_of_the_files_as_pillow_decodes_them(made, whole):
    rows = whole.rows().collect()
    assert len(rows) == COUNT * 3
    assert set(rows["view_seed"]) == set(rows["draw"]) == {0}
    for row in rows.iter_rows(named=True):
        stem = row["image_id"].removesuffix(".png")
        name = f"originals/{stem}.png" if row["view"] == "original" else f"{row['view']}/{stem}.jpg"
        expected = MeanColour()(decoded(made / name)[None])
        np.testing.assert_array_equal(row["embedding"], expected.embedding[0])
        np.testing.assert_array_equal(row["attention"], expected.attention[0].ravel())
        if row["view"] != "original":
            original = MeanColour()(decoded(made / "originals" / row["image_id"])[None]).embedding[0]
            distance = np.linalg.norm(original.astype(float) - expected.embedding[0].astype(float))
            assert row["l2_distance"] == pytest.approx(distance, abs=1e-9)


@pytest.mark.matrix
@pytest.mark.slow
def test_neither_workers_nor_archives_change_a_bit(made, whole, tmp_path):
    members = {
        name: sorted((p.relative_to(made / name).as_posix(), p.read_bytes()) for p in (made / name).rglob("*.*"))
        for name in ("originals", *QUALITIES)
    }
    write_tar(tmp_path / "q50.tar", members["q50"])
    write_parquet(tmp_path / "x.parquet", members["q50"], rows=2, q10=[data for _, data in members["q10"]])
    places = [
        (made / "originals", [made / "q50", made / "q10"], 2),
        (made / "originals", {"q50": tmp_path / "q50.tar", "q10": f"{tmp_path / 'x.parquet'}#q10"}, 0),
    ]
    for number, (originals, variants, workers) in enumerate(places):
        settings = {"model": MeanColour(), "workers": workers, "shard_size": 4}
        study = embedshift.run(originals, pairs=variants, out=tmp_path / f"{number}", **settings)
        rows = (each.rows().collect().sort("image_id", maintain_order=True) for each in (study, whole))
        assert next(rows).equals(next(rows), null_equal=True)
        assert (study.info()["order"] == "shuffled") == (number == 0), "blocks of Parquet are read together"
        if number == 0:
            same(study, whole)


# What is missing, extra, or broken.


@pytest.mark.slow
def test_a_missing_variant_is_a_row_of_failures(pairs, tmp_path, caplog):
    (pairs / "q10" / "04.jpg").unlink()
    Image.new("RGB", (32, 32)).save(pairs / "q50" / "extra.png")
    with caplog.at_level(logging.INFO, "embedshift"):
        study = run_pairs(pairs, tmp_path / "study")
    lines = [record.getMessage() for record in caplog.records]
    assert "q10: variants for 8 of 9 images, none for 1 (first: 04.png)" in lines
    assert f"hashing the bytes of {2 * COUNT - 1} variants" in lines
    assert study.failures().rows() == [("04.png", "list", "no variant in q10", False)]
    counts = study.info()["counts"]
    assert (counts["images"], counts["measured"], counts["failed"]) == (COUNT, COUNT - 1, 1)
    assert counts["skipped"] == {"no original: q50": 1}
    assert set(study.summary()["n"]) == {COUNT - 1}


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.slow
def test_a_broken_variant_is_a_failure_and_never_half_a_pair(pairs, tmp_path, allow_missing):
    cut, gone = pairs / "q10" / "04.jpg", pairs / "q50" / "05.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    gone.unlink()
    gone.symlink_to(tmp_path / "nowhere")
    study = run_pairs(pairs, tmp_path / "study", allow_missing=allow_missing)
    wanted = {
        ("04.png", "decode"): "q10: the image is damaged or ends early",
        ("05.png", "read"): "q50: No such file or directory",
    }
    found = {(image, stage): reason for image, stage, reason, _ in study.failures().rows()}
    assert found.keys() == wanted.keys()
    assert all(reason.startswith(wanted[place]) and str(tmp_path) not in reason for place, reason in found.items())
    assert not {"04.png", "05.png"} & set(study.rows().collect()["image_id"])


# Who may go on with whose study.


@pytest.mark.slow
def test_a_changed_variant_is_another_study_and_the_line_names_it(pairs, tmp_path):
    run_pairs(pairs, tmp_path / "study")
    file = io.BytesIO()
    Image.fromarray(tiles(1)[0]).save(file, "JPEG", quality=49)
    (pairs / "q50" / "04.jpg").write_bytes(file.getvalue())
    with pytest.raises(EmbedshiftError, match=r"contains another study: augmentations\.q50\.hash: ") as caught:
        run_pairs(pairs, tmp_path / "study")
    assert "q10" not in str(caught.value)


@pytest.mark.slow
def test_allow_missing_is_another_study_only_where_something_is_missing(pairs, tmp_path):
    first = run_pairs(pairs, tmp_path / "study")
    assert run_pairs(pairs, tmp_path / "study", allow_missing=True).info()["config_hash"] == first.info()["config_hash"]
    (pairs / "q10" / "04.jpg").unlink()
    run_pairs(pairs, tmp_path / "other")
    with pytest.raises(EmbedshiftError, match=r"augmentations\.q10\.missing: null there, 1 now"):
        run_pairs(pairs, tmp_path / "other", allow_missing=True)


@pytest.mark.slow
def test_study_json_says_where_the_variants_lie(made, whole):
    content = json.loads((whole.folder / "study.json").read_text())
    assert content["source"]["root"] == str(made / "originals")
    assert content["source"]["variants"]["q50"]["root"] == str(made / "q50")
    assert content["config"]["augmentations"] == "pairs"
    assert content["config"]["pairs"] == [str(made / name) for name in QUALITIES]
    assert content["augmentations"] == list(QUALITIES)
    assert content["identity"]["draws"] == 1
    assert content["identity"]["augmentations"]["q50"].keys() == {"variant", "hash"}
    assert "claims" not in content["questions"]


@pytest.mark.slow
def test_what_cannot_be_is_refused_before_any_work(pairs, tmp_path):
    with pytest.raises(EmbedshiftError, match="is the folder of the images"):
        run_pairs(pairs, pairs / "q50")
    (pairs / "q50").rename(pairs / "original")
    with pytest.raises(EmbedshiftError, match="'original' cannot be a name"):
        run_pairs(pairs, tmp_path / "study", variants=["original"])
    assert not (tmp_path / "study").exists()


# Images that may lack a variant: null rows, and tables of the images that have one.


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """A study where 04 lacks q10, and one without that image."""
    folder = tmp_path_factory.mktemp("lacking")
    pairs = write_pairs(folder / "pairs", tiles(COUNT))
    few = shutil.copytree(pairs, folder / "few")
    (pairs / "q10" / "04.jpg").unlink()
    (few / "originals" / "04.png").unlink()
    study = run_pairs(pairs, folder / "study", allow_missing=True, metrics=["strength", "attention"])
    return study, run_pairs(few, folder / "without", metrics=["strength", "attention"])


@pytest.mark.slow
def test_a_view_that_is_missing_is_a_row_of_nulls(lacking, whole):
    study, _ = lacking
    rows, view = study.rows().collect(), pl.col("view")
    assert study.failures().is_empty()
    assert len(rows) == 3 * COUNT == study.info()["counts"]["rows"]
    assert study.info()["variants"]["q10"]["missing"] == 1
    lost = rows.filter((view == "q10") & (pl.col("image_id") == "04.png"))
    assert len(lost) == 1
    kept = ("image_id", "view", "draw", "view_seed")
    assert all(lost[name][0] is None for name in lost.columns if name not in kept)
    # The other rows are those of the whole study.
    key = (view != "q10") | (pl.col("image_id") != "04.png")
    columns = [name for name in whole.rows().collect_schema() if name != "pairwise"]
    assert rows.filter(key).select(columns).equals(whole.rows().filter(key).select(columns).collect(), null_equal=True)
    assert np.isnan(rows.filter(pl.col("image_id") == "04.png")["pairwise"][0].to_numpy()).all()
    assert lost["embedding"].null_count() == rows["embedding"].null_count() == 1


def test_numbers_are_of_the_images_that_have_the_variant(lacking, whole):
    study, without = lacking
    q10, q50 = (pl.col("augmentation") == name for name in ("q10", "q50"))
    columns = ["metric", "n", "images", "mean", "sd", "median", "q05", "q95", "ci_low", "ci_high"]
    there = pl.col("metric").is_in(PAPER_METRICS)
    one, few, full = (each.summary().filter(there).select("augmentation", *columns) for each in (study, without, whole))
    assert set(one.filter(q10)["n"]) == set(one.filter(q10)["images"]) == {COUNT - 1}
    assert_frame_equal(one.filter(q50), full.filter(q50), abs_tol=1e-12)
    plain = [name for name in columns if not name.startswith("ci")]
    assert_frame_equal(one.filter(q10).select(plain), few.filter(q10).select(plain), abs_tol=1e-12)
    # The baseline is over all originals.
    baselines = (each.summary().filter(there)["baseline"] for each in (study, whole))
    np.testing.assert_allclose(*baselines, rtol=1e-12)


def test_other_tables_skip_the_view(lacking, whole):
    study, without = lacking
    shifts, few, full = (each.table("shifts") for each in (study, without, whole))
    assert shifts["images"].to_list() == [COUNT, COUNT - 1]
    own = ["resultant", "resultant_by_chance", "split_half"]
    assert_frame_equal(shifts.filter(augmentation="q50").select(own), full.filter(augmentation="q50").select(own))
    assert_frame_equal(
        shifts.filter(augmentation="q10").select(own), few.filter(augmentation="q10").select(own), rel_tol=1e-5
    )
    assert_frame_equal(study.pairwise(), without.pairwise(), abs_tol=1e-12)
    sets = [
        each.table("geometry").filter(views="q10", metric="effective_rank")["value"][0] for each in (study, without)
    ]
    assert sets[0] == pytest.approx(sets[1], rel=1e-12)
    # Trees on means, for which embeddings are read.
    means = [each.clusters(Tree(on="means")) for each in (study, without)]
    assert means[0].null_count().sum_horizontal()[0] == 0
    assert means[0].columns == means[1].columns


@pytest.mark.matrix
@pytest.mark.slow
def test_layers_skip_the_image_in_cka_and_the_view_in_shifts(tmp_path):
    model = str(models.make("dinov2", tmp_path / "model"))
    pairs = write_pairs(tmp_path / "pairs", tiles(40))
    (pairs / "q10" / "04.jpg").unlink()
    few = shutil.copytree(pairs, tmp_path / "few")
    (few / "originals" / "04.png").unlink()
    settings = {"model": model, "layers": True, "shard_size": 64, "batch_size": 300}
    study = run_pairs(pairs, tmp_path / "lacking", allow_missing=True, **settings)
    without = run_pairs(few, tmp_path / "without", **settings)
    sums = [each.reader().sums("cka") for each in (study, without)]
    assert [part["images"].item() for part in sums] == [39, 39]
    np.testing.assert_allclose(sums[0]["terms"], sums[1]["terms"], rtol=1e-5)
    layers, expected = (each.layers().filter(augmentation="q10").drop("ci_low", "ci_high") for each in (study, without))
    assert set(layers["n"]) == {39}
    assert_frame_equal(layers, expected, abs_tol=1e-5)


# Purifiers.

PURIFY = ["median:3", "bits:2"]
VIEWS = ["q50", "q10", "original+median:3", "original+bits:2"]
VIEWS += ["q50+median:3", "q50+bits:2", "q10+median:3", "q10+bits:2"]


@pytest.fixture(scope="module")
def purified(made, tmp_path_factory):
    """Pairs, and their study with two purifiers."""
    pairs = shutil.copytree(made, tmp_path_factory.mktemp("purified") / "pairs")
    return pairs, run_pairs(pairs, pairs.parent / "study", purify=PURIFY)


def picture(pairs, view, stem):
    """The view as a reader of the docs would make it."""
    of, _, name = view.partition("+")
    file = pairs / "originals" / f"{stem}.png" if of == "original" else pairs / of / f"{stem}.jpg"
    return purifier(name)(decoded(file)) if name else decoded(file)


@pytest.mark.slow
def test_rows_are_of_the_purified_originals_and_variants(purified):
    pairs, study = purified
    rows = study.rows().collect()
    assert rows["view"].unique(maintain_order=True).to_list() == ["original", *VIEWS]
    assert len(rows) == COUNT * 9
    for row in rows.iter_rows(named=True):
        expected = MeanColour()(picture(pairs, row["view"], row["image_id"].removesuffix(".png"))[None]).embedding[0]
        np.testing.assert_array_equal(row["embedding"], expected)


def test_pictures_are_made_again_for_the_report(purified):
    pairs, study = purified
    name = study.reader().sample_ids(1)[0]
    stem = name.removesuffix(".png")
    (image,), missing = redraw(study.reader(), [name])
    assert missing == image.missing == {}
    assert set(image.views) == {"original", *VIEWS}
    for view, pixels in image.views.items():
        np.testing.assert_array_equal(pixels, picture(pairs, view, stem), err_msg=view)
    for gone in (pairs / "q10" / f"{stem}.jpg", pairs / "q10"):
        away = gone.rename(pairs / "gone")
        (image,), _ = redraw(study.reader(), [name])
        assert set(image.missing) == {"q10", "q10+median:3", "q10+bits:2"}
        away.rename(gone)


@pytest.mark.slow
def test_a_missing_variant_is_missing_after_its_purifiers_too(pairs, tmp_path):
    (pairs / "q10" / "01.jpg").unlink()
    rows = run_pairs(pairs, tmp_path / "study", purify=["bits:2"], allow_missing=True).rows().collect()
    without = rows.filter(rows["embedding"].is_null()).select("image_id", "view").rows()
    assert without == [("01.png", "q10"), ("01.png", "q10+bits:2")]


def test_other_purifiers_are_another_study(purified):
    pairs, study = purified
    with pytest.raises(UsageError, match=r"contains another study: augmentations.*median:3"):
        run_pairs(pairs, study.folder, purify=["bits:2"])


def test_purifiers_that_cannot_be_are_refused_before_any_work(made, tmp_path):
    refused = {"purifier 'jpeg:0': jpeg needs": ["jpeg:0"], "purifier 'bits:2' is given twice": ["bits:2", "bits:2"]}
    for words, purifiers in refused.items():
        with pytest.raises(UsageError, match=words):
            run_pairs(made, tmp_path / "study", purify=purifiers)
    with pytest.raises(UsageError, match="`purify` needs `pairs`"):
        embedshift.run(made / "originals", out=tmp_path / "study", model=MeanColour(), purify=["bits:2"])
    assert not (tmp_path / "study").exists()
