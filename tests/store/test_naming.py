"""What images and places are called where others read."""

import hashlib

import polars as pl
import pytest

from embedshift.store.naming import ImageNaming, tails
from embedshift.store.table import with_hashes


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ({"root": "/home/jane doe/photos"}, "/home/jane doe/photos/a b/c.jpg: cannot", "a b/c.jpg: cannot"),
        ({"root": "/home/jane doe/photos"}, "no folder '/home/jane doe/photos'", "no folder 'photos'"),
        ({"paths": ["/home/jane doe/x.tar", "/srv/y.tar"]}, "/home/jane doe/x.tar, /srv/y.tar", "x.tar, y.tar"),
        ({"paths": ["file:///srv/data/x.tar"]}, "file:///srv/data/x.tar ends early", "x.tar ends early"),
        ({}, "ValueError: /opt/lib/python3/site.py line 3 (see /tmp/log)", "ValueError: site.py line 3 (see log)"),
        ({}, "s3://bucket/a/b.jpg, https://host/c/d", "s3://bucket/a/b.jpg, https://host/c/d"),
        ({"root": "/"}, "a/b and /", "a/b and /"),
    ],
)  # fmt: skip
def test_texts_hold_no_folder_of_the_machine(source, text, shown):
    assert ImageNaming(source).text(text) == shown


def test_ids_are_kept_or_hashed_everywhere():
    open_, closed = ImageNaming({"root": "/data"}), ImageNaming({"root": "/data"}, pictures=False)
    assert open_.image("jane/1.png") == "jane/1.png"
    name = closed.image("jane/1.png")
    assert name == f"image-{hashlib.blake2b(b'jane/1.png', digest_size=4).hexdigest()}"
    assert closed.image("gallery:jane/1.png") == f"gallery:{name}"
    assert (
        closed.text("/data/jane/1.png: 1.png is damaged at 11.png", "jane/1.png")
        == f"{name}: {name} is damaged at 11.png"
    )
    assert open_.places(["/a/one/photos", "/a/two/photos", "s3://bucket/photos", "photos"]) == [
        "one/photos", "two/photos", "s3://bucket/photos", "photos",
    ]  # fmt: skip
    assert closed.places(["/data/jane/1.png", "/data/jane"]) == [name, "jane"]
    table = pl.DataFrame({"image_id": ["jane/1.png", "gallery:jane/1.png", "blue"], "rank": [1, 2, 3]})
    assert with_hashes(table, ["image_id"], {"jane/1.png"})["image_id"].to_list() == [name, f"gallery:{name}", "blue"]
    assert open_.places(["/data/jane/1.png", "/data/jane"]) == ["1.png", "jane"]


def test_settings_keep_their_shape():
    settings = {
        "images": ["/a/b c/", "s3://x/y"],
        "seed": 3,
        "words": {"blur": "a photo"},
        "labels": "/x y/z/labels.txt",
    }
    expected = settings | {"images": ["b c", "s3://x/y"], "labels": "labels.txt"}
    assert ImageNaming({}).settings(settings) == expected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/data/my models/clip/", "clip"),
        ("file:///data/my models/clip", "clip"),
        ("open_clip:local-dir:/data/my models/clip", "open_clip:local-dir:clip"),
        ("open_clip:local-dir:file:///data/clip", "open_clip:local-dir:clip"),
        # Names of a user's own, in which a slash begins no path.
        ("CLIP + </head>", "CLIP + </head>"),
        ("ours, 1/2 and /3", "ours, 1/2 and /3"),
        ("hf://org/net", "hf://org/net"),
    ],
)
def test_a_setting_keeps_every_slash_that_begins_no_path(name, shown):
    assert ImageNaming({}).setting(name) == shown


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        (["/a"], ["a"]),
        (["/a/b/c", "/a/x/c", "/d"], ["b/c", "x/c", "d"]),
        (["/a/b", "/a/b/"], ["b", "b"]),
        (["/a/a", "/a"], ["a/a", "a"]),
    ],
)
def test_places_are_told_apart_by_as_few_parts_as_possible(paths, short):
    assert tails(paths) == short
