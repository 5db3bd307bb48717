"""Small cases worked by hand."""

import numpy as np
import polars as pl

from embedshift.store import baselines as floors_module
from embedshift.store import checksum, forked, info, naming, reader, shards, table_files
from embedshift.store import copies as copies_module
from embedshift.store import differences as differences_module


def test_checksum_with_checksum():
    assert (
        checksum.is_intact(checksum.with_checksum({"seed": 0})),
        checksum.is_intact(checksum.with_checksum({"seed": 0}) | {"seed": 1}),
    ) == (True, False)


def test_copies_copies_line():
    assert (
        copies_module.copies_line(1)
        == "1 image repeats the pixels of another; intervals treat all of them as independent images and are too narrow"
    )


def test_differences_differences():
    assert differences_module.differences({"seed": 0, "size": 224}, {"seed": 1, "size": 224}) == [
        "seed: 0 there, 1 now"
    ]


def test_baselines_joined():
    parts = [{"vectors": np.array([[1.0], [2.0]])}, {"vectors": np.array([[3.0]])}]
    assert floors_module.joined(parts, vectors=2)["vectors"].ravel().tolist() == [1.0, 3.0]


def test_forked_refuse_fork():
    forked.refuse_fork()


def test_info_hash_of():
    assert info.identity_hash({"seed": 0, "size": 32}) == info.identity_hash({"size": 32, "seed": 0})


def test_naming_naming_image():
    assert (naming.ImageNaming({}).image("a/b.jpg"), naming.ImageNaming({}, pictures=False).image("a/b.jpg")) == (
        "a/b.jpg",
        "image-579a090e",
    )


def test_naming_naming_text():
    assert (
        naming.ImageNaming({"root": "/data/my photos"}).text("/data/my photos/a.jpg: not like /srv/x/b.jpg")
        == "a.jpg: not like b.jpg"
    )
    assert naming.ImageNaming({}, pictures=False).text("cannot read b.jpg", "a/b.jpg") == "cannot read image-579a090e"


def test_naming_naming_places():
    assert naming.ImageNaming({}).places(["/a/one/photos", "/a/two/photos", "s3://bucket/photos", "photos"]) == [
        "one/photos",
        "two/photos",
        "s3://bucket/photos",
        "photos",
    ]


def test_naming_naming_setting():
    assert (
        naming.ImageNaming({}).setting("open_clip/ViT-B-32:/data/my models/b.pt"),
        naming.ImageNaming({}).setting("openai/clip"),
    ) == ("open_clip/ViT-B-32:b.pt", "openai/clip")


def test_naming_naming_settings():
    assert naming.ImageNaming({}).settings({"labels": "/data/labels.txt", "seed": 0}) == {
        "labels": "labels.txt",
        "seed": 0,
    }


def test_naming_tails():
    assert (naming.tails(["/x/a", "/x/b"]), naming.tails(["/x/a", "/y/a"])) == (["a", "b"], ["x/a", "y/a"])


def test_reader_draw_ids():
    assert reader.draw_ids(["b", "a"], 5, seed=0) == ["a", "b"]


def test_shards_schema():
    assert shards.schema(512, 49, ["cosine_similarity"]).names[:5] == [
        "image_id",
        "view",
        "draw",
        "view_seed",
        "pixels",
    ]


def test_shards_schema_message():
    assert (
        shards.schema_message("study", 1)
        == "study: written with schema 1, this embedshift reads 7: run the study again into another folder"
    )


def test_table_files_with_hashes():
    assert table_files.with_hashes(pl.DataFrame({"image_id": ["a/b.jpg"], "rank": [1]}), ["image_id"]).row(0) == (
        "image-579a090e",
        1,
    )
