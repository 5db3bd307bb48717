"""`embedshift dissect`: pairs of studies, files and arrays, the table, the page and what is refused."""

import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import embedshift
from embedshift.cli import app
from embedshift.errors import UsageError

COLUMNS = "batch, image_id, augmentation, coefficient, low, high, named, remains"
SIZE = 12
SHIFTS = {name: 3 * axis for name, axis in zip(("blur", "noise", "dark"), np.eye(SIZE)[:3], strict=True)}


def images(count, seed):
    return np.random.default_rng(seed).normal(size=(count, SIZE)) + 2


def chain(own, *names):
    return own + sum(SHIFTS[name] for name in names)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    own = images(120, 0)
    changed = {name: own + shift for name, shift in SHIFTS.items()}
    return embedshift.from_vectors(own, changed, out=tmp_path_factory.mktemp("dissect") / "study", model="A")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Two batches of copies, by their view: blurred and darkened, and as they are."""
    own = images(40, 1)
    vectors = np.concatenate([own, chain(own, "blur", "dark"), own])
    names = {"image_id": [f"image {row}" for row in range(40)] * 3, "view": np.repeat(["original", "wild", "kept"], 40)}
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pl.DataFrame(names | {"vector": vectors.tolist()}).write_parquet(path)
    return path


def invoke(*words):
    return CliRunner().invoke(app, ["dissect", *map(str, words)], catch_exceptions=False)


def test_the_changes_of_each_batch_are_named(study, file):
    found = study.dissect(file)
    assert ", ".join(found.table.columns) == COLUMNS
    assert set(found.named("wild")) == {"blur", "dark"}
    assert found.named("kept") == []
    batches = found.table.filter(pl.col("image_id").is_null())
    assert len(batches) == 2 * len(SHIFTS)
    named = batches.filter("named")
    assert (named["low"] < named["coefficient"]).all()
    assert (named["coefficient"] < named["high"]).all()
    assert batches.filter(batch="kept")["remains"].unique().to_list() == ["nothing"]
    assert "originals and copies have the same vectors" in found.sentence("kept")
    pairs = found.table.filter(pl.col("image_id").is_not_null())
    assert len(pairs) == 80
    assert pairs["coefficient"].null_count() == 80
    assert (pairs["named"] == pairs["augmentation"].is_not_null()).all()
    assert repr(found).startswith("wild (40 pairs): made by")
    assert "<table" in found._repr_html_()


def test_a_study_an_array_and_an_npy_file_give_the_same(study, file, tmp_path):
    own = images(40, 1)
    both = np.stack([own, chain(own, "blur", "dark")], axis=1)
    np.save(tmp_path / "pairs.npy", both)
    other = embedshift.from_vectors(own, {"copies": both[:, 1]}, out=tmp_path / "other", model="A")
    tables = [study.dissect(each).table for each in (both, tmp_path / "pairs.npy", other, str(other.folder))]
    numbers = [table.filter(pl.col("image_id").is_null()) for table in tables]
    for each in numbers[1:]:  # sums of 32 bits, whose rounding depends on where an array lies
        assert_frame_equal(each, numbers[0], rel_tol=1e-5)
    wild = study.dissect(file).table.filter(pl.col("image_id").is_null(), batch="wild").drop("batch")
    assert_frame_equal(wild, numbers[0].drop("batch"), rel_tol=1e-5)


def test_the_column_batch_names_batches_and_columns_have_any_names(study, tmp_path):
    own = images(40, 2)
    vectors = np.concatenate([own, chain(own, "blur")]).tolist()
    cells = {"sku": [*range(40)] * 2, "kind": ["original"] * 40 + ["copy"] * 40, "emb": vectors}
    table = pl.DataFrame(cells | {"batch": [None] * 40 + ["mon", "tue"] * 20})
    found = study.dissect(table, columns={"id": "sku", "view": "kind", "vector": "emb"})
    assert [*found.found] == ["mon", "tue"]
    assert found.named("mon") == found.named("tue") == ["blur"]
    with pytest.raises(UsageError, match="no column 'image_id'"):
        study.dissect(table.rename({"emb": "vector"}))


def test_pairs_of_one_image_are_one_group(study):
    own = images(3, 3).repeat(10, axis=0)
    names = {"image_id": [str(row // 10) for row in range(30)], "view": ["c"] * 30, "draw": [*range(10)] * 3}
    copies = pl.DataFrame(names | {"vector": chain(own, "blur").tolist()})
    first = pl.DataFrame(
        {"image_id": ["0", "1", "2"], "view": ["original"] * 3, "draw": [0] * 3, "vector": own[::10].tolist()}
    )
    found = study.dissect(pl.concat([first, copies]))
    assert found.found["c"].pairs == 30
    assert found.found["c"].remains == "too few pairs"
    assert found.named("c") == []


def test_the_command_prints_json_and_writes_a_page(study, file, tmp_path):
    done = invoke(study.folder, file, "--json", "--out", tmp_path / "page")
    assert done.exit_code == 0
    content = json.loads(done.stdout)
    assert pl.DataFrame(content["dissected"], infer_schema_length=None).filter("named", batch="wild").height >= 2
    assert any("made by" in line for line in content["sentences"])
    page = (tmp_path / "page" / "dissect.md").read_text()
    assert "made by" in page
    assert pl.read_parquet(tmp_path / "page" / "dissected.parquet").equals(study.dissect(file).table)
    assert (tmp_path / "page" / "figures" / "dissect.svg").stat().st_size > 1000
    lines = invoke(study.folder, file).stdout
    assert "made by" in lines
    assert "embedshift docs chains" in lines


def test_originals_of_the_study_are_reported(study, caplog):
    own = images(120, 0)
    found = study.dissect(np.stack([own, chain(own, "noise")], axis=1))
    assert found.named("copies") == ["noise"]
    assert "120 of 120 originals are also in the study" in caplog.text


def test_different_images_under_the_same_ids_are_told(study):
    found = study.dissect(np.stack([images(40, 4) - 2, images(40, 5) - 2], axis=1))
    assert found.named("copies") == []
    assert "do their ids match?" in found.sentence("copies")


def test_zero_and_infinite_vectors_are_left_out(study, caplog):
    own = images(40, 6)
    both = np.stack([own, chain(own, "dark")], axis=1)
    both[0, 1], both[1, 0, 3] = 0, np.nan
    found = study.dissect(both)
    assert found.found["copies"].pairs == 38
    assert "2 pairs are left out" in caplog.text
    assert found.named("copies") == ["dark"]


def test_what_cannot_be_dissected_is_refused(study, file, tmp_path):
    own = images(40, 7)
    few = embedshift.from_vectors(own, {"blur": chain(own, "blur")}, out=tmp_path / "few")
    foreign = embedshift.from_vectors(own, {"blur": chain(own, "blur")}, out=tmp_path / "foreign", model="B")
    for given, words in (
        (foreign.folder, "of another encoder"),
        (tmp_path, "no study"),
        (own, "give .pairs, 2,"),
        (np.stack([own, own], axis=1)[..., :5], "of 5 numbers"),
        (tmp_path / "none.npy", "cannot be read"),
        (pl.DataFrame({"image_id": ["a"], "vector": [own[0].tolist()]}), "all vectors are originals"),
    ):
        with pytest.raises(UsageError, match=words):
            study.dissect(given)
    with pytest.raises(UsageError, match="40 of the 50 images"):
        few.dissect(file)
    with pytest.raises(UsageError, match="no study"):
        invoke(study.folder, tmp_path)
