"""The dataset for FiftyOne, held to what FiftyOne 1.22.1 wrote after reading it, and to the format."""

import base64
import io
import json
import logging
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from embedshift.errors import UsageError
from embedshift.statistics.summary import COSINE
from embedshift.store.shards import Failure
from support.synthetic import make_study

GOLDEN = json.loads((Path(__file__).parent / "golden" / "fiftyone.json").read_text())
FAILURE = Failure("broken.png", "decode", "not an image")
NAMES = ("noise", "blur", "jpeg@3")


def write(folder):
    """The exports that golden/fiftyone.json was made from."""
    study = make_study(Path(folder) / "study", 3, NAMES, with_pictures=True, failures=[FAILURE])
    for media in ("originals", "views"):
        study.to_fiftyone(Path(folder) / media, media=media)
    return study


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("fiftyone")
    write(found)
    return found


@pytest.fixture
def study(folder):
    from embedshift import load

    return load(folder / "study")


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def read(place, name):
    text = (place / f"{name}.json").read_text()
    return json.loads(text, parse_constant=refuse)


def samples(place):
    return read(place, "samples")["samples"]


def array(value):
    assert value["$binary"]["subType"] == "00"
    return np.load(io.BytesIO(zlib.decompress(base64.b64decode(value["$binary"]["base64"]))), allow_pickle=False)


def plain(fields):
    """Fields by name, without what a database adds."""
    kept = ("ftype", "embedded_doc_type", "subfield", "db_field", "description", "read_only")
    return {each["name"]: {key: each[key] for key in kept} | {"fields": plain(each["fields"])} for each in fields}


@pytest.mark.slow
@pytest.mark.parametrize("media", ["originals", "views"])
def test_fiftyone_writes_the_same_fields_after_it_has_read_them(folder, media):
    ours, theirs = read(folder / media, "metadata"), GOLDEN[media]["metadata"]
    assert plain(ours["sample_fields"]) == plain(theirs["sample_fields"])
    for key in (
        "media_type",
        "info",
        *(("group_field", "group_media_types", "default_group_slice") if media == "views" else ()),
    ):
        assert ours[key] == theirs[key]


@pytest.mark.parametrize("media", ["originals", "views"])
def test_fiftyone_writes_the_same_samples_after_it_has_read_them(folder, media):
    added = {"_dataset_id", "created_at", "last_modified_at"}
    theirs = {each["_id"]["$oid"]: each for each in GOLDEN[media]["samples"]["samples"]}
    ours = samples(folder / media)
    assert len(ours) == len(theirs) == (4 if media == "originals" else 12)
    for each in ours:
        other = {key: value for key, value in theirs[each["_id"]["$oid"]].items() if key not in added}
        assert other.keys() - each.keys() == set()
        # FiftyOne reads a relative path below the dataset's folder, and writes it whole.
        path = each["filepath"] if Path(each["filepath"]).is_absolute() else str(folder / media / each["filepath"])
        each["filepath"] = path.replace(str(folder), "FOLDER")
        for key, value in each.items():
            if key not in other:
                assert value is None
            elif isinstance(value, dict) and "$binary" in value:
                np.testing.assert_array_equal(array(value), array(other[key]))
            else:
                assert value == other[key], key


KINDS = {
    "FloatField": lambda value: isinstance(value, float),
    "StringField": lambda value: isinstance(value, str),
    "ListField": lambda value: isinstance(value, list),
    "ObjectIdField": lambda value: len(bytes.fromhex(value["$oid"])) == 12,
    "VectorField": lambda value: array(value).ndim == 1,
    "ArrayField": lambda value: array(value).ndim == 2,
    "HeatmapRangeField": lambda value: len(value) == 2,
    "EmbeddedDocumentField": lambda value: isinstance(value, dict),
}


def check(document, fields):
    """Every value is of a field that is declared, and of its kind."""
    declared = {each["db_field"]: each for each in fields}
    for key, value in document.items():
        if key == "_cls" or value is None:
            continue
        kind = declared[key]["ftype"].removeprefix("fiftyone.core.fields.")
        assert KINDS[kind](value), (key, value)
        if kind == "EmbeddedDocumentField":
            assert declared[key]["embedded_doc_type"].endswith(value["_cls"])
            check(value, declared[key]["fields"])


@pytest.mark.parametrize("media", ["originals", "copies", "views"])
def test_every_value_is_of_a_declared_field(study, tmp_path, media):
    out = study.to_fiftyone(tmp_path / "out", media=media)
    document = read(out, "metadata")
    found = samples(out)
    for each in found:
        check(each, document["sample_fields"])
    assert len({each["_id"]["$oid"] for each in found}) == len(found)
    assert document["version"] == "1.0.0"


def test_the_check_sees_a_value_of_another_kind():
    from embedshift.study.exports import documents

    fields = [documents.field("relative_shift", documents.FLOAT)]
    check({"relative_shift": 0.5}, fields)
    with pytest.raises(AssertionError):
        check({"relative_shift": "0.5"}, fields)
    with pytest.raises(KeyError):
        check({"other": 0.5}, fields)


def test_relative_shifts_are_those_of_the_summary(study, folder):
    """The mean of the images' relative shifts is the summary's relative shift, and metrics are those of the rows."""
    summary = {row["augmentation"]: row for row in study.summary().filter(metric=COSINE).iter_rows(named=True)}
    found = [each for each in samples(folder / "originals") if not each["tags"]]
    fields = read(folder / "originals", "metadata")["info"]["augmentations"]
    assert fields == {"noise": "noise", "blur": "blur", "jpeg_3": "jpeg@3"}
    for field, view in fields.items():
        assert np.mean([each[field]["relative_shift"] for each in found]) == pytest.approx(
            summary[view]["relative_shift"]
        )
    rows = study.rows().filter((pl.col("view") == "blur") & (pl.col("image_id") == found[1]["image_id"])).collect()
    assert {metric: found[1]["blur"][metric] for metric in study.metrics} == rows.select(study.metrics).to_dicts()[0]


@pytest.mark.slow
def test_numbers_are_means_over_draws(tmp_path):
    study = make_study(tmp_path / "study", 2, ["noise"], draws=3, with_pictures=True)
    found = samples(study.to_fiftyone(tmp_path / "out"))
    rows = study.rows().filter((pl.col("view") == "noise") & (pl.col("image_id") == found[0]["image_id"])).collect()
    assert len(rows) == 3
    assert found[0]["noise"]["l2_distance"] == pytest.approx(rows["l2_distance"].mean())


def test_originals_are_named_where_they_lie_and_failures_are_tagged(study, folder):
    found = {each["image_id"]: each for each in samples(folder / "originals")}
    assert not (folder / "originals" / "data").exists()
    assert found["image-00001.png"]["filepath"] == str(folder / "study" / "pictures" / "image-00001.png")
    assert found["broken.png"]["tags"] == ["failed"]
    assert found["broken.png"]["failure"] == "decode: not an image"
    assert "noise" not in found["broken.png"]
    original = study.rows().filter((pl.col("view") == "original") & (pl.col("image_id") == "image-00001.png")).collect()
    np.testing.assert_array_equal(array(found["image-00001.png"]["embedding"]), original["embedding"][0].to_numpy())


def test_copies_are_the_same_bytes(study, folder, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    out = study.to_fiftyone(tmp_path / "out", media="copies", images=["image-00002.png"])
    (found,) = samples(out)
    assert found["filepath"] == "data/000000-image-00002.png"
    assert (out / found["filepath"]).read_bytes() == (folder / "study/pictures/image-00002.png").read_bytes()
    assert not caplog.messages
    study.to_fiftyone(tmp_path / "all", media="copies")
    assert caplog.messages == ["broken.png is left out: No such file or directory"]


def test_views_are_groups_as_the_encoder_saw_them(study, folder):
    from embedshift.store.redraw import redraw

    found = samples(folder / "views")
    document = read(folder / "views", "metadata")
    assert (document["media_type"], document["default_group_slice"]) == ("group", "original")
    assert set(document["group_media_types"]) == {"original", "noise", "blur", "jpeg_3"}
    (image,), _ = redraw(study.reader(), ["image-00000.png"])
    mine = {each["augmentation"]: each for each in found if each["image_id"] == "image-00000.png"}
    assert len({each["group"]["_id"]["$oid"] for each in mine.values()}) == 1
    assert len({each["group"]["_id"]["$oid"] for each in found}) == 3
    for view, each in mine.items():
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "views" / each["filepath"])), image.views[view])
        np.testing.assert_array_equal(array(each["attention"]["map"]), image.attention[view])
        assert each["group"]["name"] == {"jpeg@3": "jpeg_3"}.get(view, view)
    assert mine["noise"][COSINE] == image.metrics["noise"][COSINE]
    assert COSINE not in mine["original"]


def test_an_export_can_be_repeated(study, tmp_path):
    one, two = (study.to_fiftyone(tmp_path / name, images=2) for name in ("one", "two"))
    for name in ("samples.json", "metadata.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert len(samples(one)) == 2


def test_without_embeddings_there_is_no_field_for_them(study, tmp_path):
    out = study.to_fiftyone(tmp_path / "out", embeddings=False)
    assert "embedding" not in {each["name"] for each in read(out, "metadata")["sample_fields"]}
    assert all("embedding" not in each for each in samples(out))


def test_what_is_refused_is_one_line_and_leaves_nothing(study, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(UsageError, match="is not empty; name a new folder"):
        study.to_fiftyone(tmp_path / "full")
    with pytest.raises(UsageError, match="no such image"):
        study.to_fiftyone(tmp_path / "out", images=["gone.png"])
    with pytest.raises(UsageError, match="media: 'links' is none of originals, copies, views"):
        study.to_fiftyone(tmp_path / "out", media="links")
    with pytest.raises(UsageError, match="no such folder"):
        study.to_fiftyone(tmp_path / "out", images_root=tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_images_of_another_user_take_a_root(study, folder, tmp_path, monkeypatch):
    """A study names the places itself: without a run of this user, nothing of this machine is named or copied."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    for media in ("originals", "copies", "views"):
        with pytest.raises(UsageError, match="name their folder with `images_root`"):
            study.to_fiftyone(tmp_path / media, media=media)
        assert not (tmp_path / media).exists()
    out = study.to_fiftyone(tmp_path / "out", images_root=folder / "study" / "pictures")
    assert len(samples(out)) == 4
