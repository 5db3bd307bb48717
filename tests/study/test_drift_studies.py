"""`embedshift drift`: batches of files and studies, streams, the table, the page and the exit code."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

import embedshift
from embedshift.cli import app
from embedshift.errors import UsageError
from support.command import untouched_logging
from support.models import pictures

COLUMNS = (
    "batch, n, moved, moved_low, moved_high, augmentation, rank, fraction, fraction_low, fraction_high, named, remains"
)
SIZE = 8
SHIFTS = {"blur": 3 * np.eye(SIZE)[0], "noise": 3 * np.eye(SIZE)[1]}


def images(count, seed):
    return np.random.default_rng(seed).normal(size=(count, SIZE)) + 2


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    own = images(200, 0)
    changed = {name: own + shift for name, shift in SHIFTS.items()}
    return embedshift.from_vectors(own, changed, out=tmp_path_factory.mktemp("drift") / "study", model="A")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Untouched images on the first day, blurred ones on the second, and ids."""
    vectors = np.concatenate([images(100, 1), images(100, 2) + SHIFTS["blur"]])
    times = ["2026-11-30T23:00:00"] * 100 + ["2026-12-01T01:00:00"] * 100
    path = tmp_path_factory.mktemp("batches") / "days.parquet"
    ids = [f"image {row}" for row in range(200)]
    pl.DataFrame({"image_id": ids, "time": times, "vector": vectors.tolist()}).write_parquet(path)
    return path


def invoke(*words):
    with untouched_logging():
        return CliRunner().invoke(app, ["drift", *map(str, words)], catch_exceptions=False)


def test_days_of_a_file_are_batches_and_the_change_is_named(study, file):
    found = study.drift(file)
    table = found.table
    assert ", ".join(table.columns) == COLUMNS
    assert table["named"].dtype == pl.Boolean
    assert len(table) == 2 * len(SHIFTS)
    named = table.filter("named")
    assert named.select("batch", "augmentation", "rank").rows() == [("2026-12-01", "blur", 1)]
    assert named["fraction_low"].item() <= 1 <= named["fraction_high"].item() + 1e-9
    ids = found.furthest.filter(batch="2026-12-01", augmentation="blur")["image_id"]
    assert len(ids) == 20
    assert all(int(name.split()[1]) >= 100 for name in ids)


def test_stream_is_the_batch_in_memory_of_its_sums(study):
    vectors = images(500, 3) + SHIFTS["noise"]
    whole, stream = study.drift(vectors), study.drift()
    for part in np.split(vectors, 5):
        assert stream.update(part, batch="batch 1") is stream
    own, other = (each.table.filter("named") for each in (whole, stream))
    assert own["augmentation"].to_list() == other["augmentation"].to_list() == ["noise"]
    assert own["fraction"].item() == pytest.approx(other["fraction"].item(), abs=1e-5)
    assert set(whole.furthest["image_id"]) == set(stream.furthest["image_id"])


def test_study_of_the_same_encoder_is_a_batch(study, tmp_path):
    own = images(100, 4) + SHIFTS["blur"]
    other = embedshift.from_vectors(own, {"any": own + 1}, out=tmp_path / "other", model="A")
    assert study.drift(other.folder).table.filter("named")["augmentation"].to_list() == ["blur"]
    foreign = embedshift.from_vectors(own, {"any": own + 1}, out=tmp_path / "foreign", model="B")
    with pytest.raises(UsageError, match="of another encoder, B; give vectors of the study's"):
        study.drift(foreign.folder)


def test_every_cuts_after_so_many_vectors(study, file):
    assert study.drift(file, every=50).table["batch"].n_unique() == 4


def test_exit_code_is_3_beyond_the_tolerance_and_json_is_whole(study, file):
    kept, broken = (invoke(study.folder, file, "--json", "--tolerance", number) for number in (2, 0.01))
    assert (kept.exit_code, broken.exit_code) == (0, 3)
    content = json.loads(broken.stdout)
    assert content["beyond"] == ["2026-12-01"]
    assert len(content["drift"]) == 4


def test_page_and_tables_are_written(study, file, tmp_path):
    assert invoke(study.folder, file, "--out", tmp_path / "page").exit_code == 0
    page = (tmp_path / "page" / "drift.md").read_text()
    assert "blur in " in page
    assert pl.read_parquet(tmp_path / "page" / "drift.parquet").equals(study.drift(file).table)
    assert (tmp_path / "page" / "figures" / "drift.svg").stat().st_size > 1000


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.ones((20, SIZE + 1)), r"give vectors \[n, 8\]"),
        ("missing.npy", "missing.npy"),
        (np.ones(20), "give numbers"),
    ],
)
def test_wrong_vectors_are_refused_in_a_line(study, vectors, words):
    with pytest.raises(UsageError, match=words):
        study.drift(vectors)


def test_few_vectors_are_not_judged(study):
    found = study.drift(images(5, 0))
    assert found.table.is_empty()
    assert "fewer than 10" in repr(found)


@pytest.mark.parametrize("vectors", [images(1, 0), np.full((30, SIZE), np.nan)])
def test_batch_that_is_not_judged_is_not_within_the_tolerance(study, file, tmp_path, vectors):
    np.save(tmp_path / "tuesday.npy", vectors)
    np.save(tmp_path / "monday.npy", images(100, 1))
    given = (study.folder, tmp_path / "monday.npy", tmp_path / "tuesday.npy")
    assert invoke(*given).exit_code == 0
    done = invoke(*given, "--tolerance", 2)
    assert done.exit_code == 3
    assert "Not judged, with fewer than 10 vectors: tuesday.npy." in done.output
    assert invoke(*given, file, "--tolerance", 0.01).exit_code == 3


def test_groups_that_only_the_study_has_and_its_own_images_are_said_once(tmp_path, caplog):
    own = np.repeat(images(60, 0), 2, axis=0)
    ids, groups = [f"image {row}" for row in range(120)], [str(row // 2) for row in range(120)]
    study = embedshift.from_vectors(own, {"blur": own + SHIFTS["blur"]}, ids=ids, groups=groups, out=tmp_path / "study")
    caplog.clear()
    others, drift = images(40, 1), study.drift()
    for batch in "ab":
        drift.update(others, batch=batch).update(2 * own[:30], batch=batch).update(others, batch=batch, ids=ids[:40])
    assert [record.message for record in caplog.records] == [
        "a: has no groups, but the study has; as independent images, they seem surer than they are",
        "a: 30 of 30 images are also in the study, first 40; they hide what moved: give other images",
    ]
    caplog.clear()
    study.drift().update(others, ids=ids[:40], groups=ids[:40]).update(others, groups=ids[:40])
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        "batch 1: 40 of 40 images are also in the study, first image 0"
    ]


def test_groups_of_none_are_no_groups(study):
    vectors = images(200, 3)
    alone, none = (study.drift().update(vectors, groups=groups) for groups in (None, [None] * 200))
    assert alone.table.equals(none.table)
    with pytest.raises(UsageError, match="1 images have no group; give one to each, or to none"):
        study.drift().update(vectors[:2], groups=["a", None])


def test_vectors_without_a_direction_are_left_out_with_a_word(study, caplog):
    vectors = images(30, 3)
    vectors[3], vectors[7, 1] = 0, np.nan
    found = study.drift().update(vectors, batch="tuesday", ids=[f"image {row}" for row in range(30)])
    assert found.table["n"][0] == 28
    assert "tuesday: 2 of 30 vectors are 0 or not finite and are left out, first of image 3" in caplog.text


def test_few_images_are_no_reference(tmp_path):
    own = images(12, 0)
    study = embedshift.from_vectors(own, {"blur": own + 1}, out=tmp_path / "study")
    with pytest.raises(UsageError, match="has 12 of the 20 images that this needs; measure more"):
        study.drift(images(50, 1))


def small(images):
    return np.stack([np.asarray(each.resize((4, 4)), np.float32).ravel() for each in images])


def test_images_are_measured_by_the_encoder_of_the_study(tmp_path):
    folders = {name: pictures(tmp_path / name, 24, seed=seed) for seed, name in enumerate(("reference", "others"))}
    for file in folders["others"].iterdir():
        Image.fromarray(np.asarray(Image.open(file)) // 2).save(file)  # half as bright
    own = {"model": f"python:{__name__}:small", "size": 32, "progress": False}
    suite = {"augmentations": "everyday", "families": ["brightness", "mirror"]}
    study = embedshift.run(folders["reference"], out=tmp_path / "study", **suite, **own)
    done = invoke(study.folder, folders["others"], "--images", "--json")
    assert done.exit_code == 0
    rows = pl.DataFrame(json.loads(done.stdout)["drift"])
    assert rows["batch"].unique().to_list() == ["others"]
    assert rows["n"].unique().to_list() == [24]
    # What those vectors are: the encoder's, of the same files at the same size.
    other = embedshift.run(folders["others"], out=tmp_path / "own", augmentations="none", apply_to="file", **own)
    assert study.drift(other.folder).table["moved"][0] == pytest.approx(rows["moved"][0])


def test_groups_are_whole_wherever_the_file_is_cut(study, tmp_path):
    vectors = np.repeat(images(20, 5), 20, axis=0)
    frame = pl.DataFrame({"vector": vectors.tolist(), "group": np.repeat(np.arange(20), 20).astype(str)})
    found = []
    for size in (25, 1000):
        frame.write_parquet(tmp_path / "b.parquet", row_group_size=size, use_pyarrow=True)
        found.append(study.drift(tmp_path / "b.parquet").table)
    assert found[0].equals(found[1])
    assert not found[0]["named"].any()


def test_files_of_one_name_are_batches_of_their_folders(study, tmp_path):
    for folder, moved in (("monday", 0), ("tuesday", SHIFTS["blur"])):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "v.npy", images(150, 6) + moved)
    given = [tmp_path / folder / "v.npy" for folder in ("monday", "tuesday")]
    table = study.drift(*given).table
    assert table["batch"].unique(maintain_order=True).to_list() == [str(path) for path in given]
    assert table.filter("named")["batch"].to_list() == [str(given[1])]
    with pytest.raises(UsageError, match="given twice"):
        study.drift(given[0], given[0])


def test_days_are_those_of_the_column_and_numbers_are_no_times(study, tmp_path):
    times = pl.Series(["2026-01-01T00:30:00+09:00"] * 30).str.to_datetime(time_zone="Asia/Tokyo")
    frame = pl.DataFrame({"vector": images(30, 7).tolist(), "time": times})
    frame.write_parquet(tmp_path / "tokyo.parquet")
    assert study.drift(tmp_path / "tokyo.parquet").table["batch"][0] == "2026-01-01"
    # Texts: the date is that of the offset; a week is not cut by a day that stands first.
    texts = ["2026-01-01T00:30:00+09:00", "2026-01-04 23:00", "2026/01/05", None]
    frame.head(28).with_columns(time=pl.Series(texts * 7)).write_parquet(tmp_path / "text.parquet")
    found = {period: study.drift(tmp_path / "text.parquet", every=period) for period in ("day", "week")}
    assert found["day"].not_judged == ["2026-01-01", "2026-01-04", "2026-01-05", "text.parquet"]
    assert [*found["week"].judged, *found["week"].not_judged] == ["2026-W01", "2026-W02", "text.parquet"]
    frame.with_columns(time=pl.lit("01/02/2026")).write_parquet(tmp_path / "either.parquet")
    with pytest.raises(UsageError, match="'01/02/2026'; give times with the year first"):
        study.drift(tmp_path / "either.parquet")
    frame.with_columns(time=pl.lit(1_700_000_000)).write_parquet(tmp_path / "number.parquet")
    with pytest.raises(UsageError, match="give dates"):
        study.drift(tmp_path / "number.parquet")


def test_columns_of_batches_have_names(study, file, tmp_path):
    pl.read_parquet(file).rename({"image_id": "sku", "vector": "emb"}).write_parquet(tmp_path / file.name)
    named = study.drift(tmp_path / file.name, columns={"id": "sku", "vector": "emb"})
    assert named.table.equals(study.drift(file).table)
    assert named.furthest.equals(study.drift(file).furthest)
    flags = ("--id-column", "sku", "--vector-column", "emb")
    assert invoke(study.folder, tmp_path / file.name, *flags).exit_code == 0
    with pytest.raises(UsageError, match="has no column 'vector'; its columns are 'sku', 'time', 'emb': name one by"):
        study.drift(tmp_path / file.name)


def test_nothing_to_judge_is_no_success(study, tmp_path):
    frame = pl.DataFrame({"vector": images(30, 7).tolist(), "view": ["blur"] * 30})
    frame.write_parquet(tmp_path / "views.parquet")
    with pytest.raises(UsageError, match="has no vector of an 'original'; its views are 'blur': rename one"):
        study.drift(tmp_path / "views.parquet")
    np.save(tmp_path / "none.npy", np.full((30, SIZE), np.nan))
    with pytest.raises(UsageError, match="no batch has 10 vectors"):
        invoke(study.folder, tmp_path / "none.npy", "--tolerance", 0.01)
