"""What images and places are called where others read."""

import pytest

from embedshift.store.naming import Naming, tails


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ({"root": "/home/jane doe/photos"}, "/home/jane doe/photos/a b/c.jpg: cannot", "a b/c.jpg: cannot"),
        ({"root": "/home/jane doe/photos"}, "no folder '/home/jane doe/photos'", "no folder 'photos'"),
        ({"paths": ["/home/jane doe/x.tar", "/srv/y.tar"]}, "/home/jane doe/x.tar, /srv/y.tar", "x.tar, y.tar"),
        ({"paths": ["file:///srv/data/x.tar"]}, "file:///srv/data/x.tar ends early", "x.tar ends early"),
        ({}, "ValueError: /opt/lib/python3/site.py line 3 (see /tmp/log)", "ValueError: site.py line 3 (see log)"),
        ({}, "s3://bucket/a/b.jpg, https://host/c/d", "s3://bucket/a/b.jpg, https://host/c/d"),
        ({}, "n/a 1/2 ~/x ../y/z", "n/a 1/2 ~/x ../y/z"),
        ({"root": "/"}, "a/b and /", "a/b and /"),
        ({"root": ""}, "a/b", "a/b"),
    ],
)  # fmt: skip
def test_texts_hold_no_folder_of_the_machine(source, text, shown):
    assert Naming(source).text(text) == shown


def test_ids_are_kept_or_hashed_everywhere():
    open_, closed = Naming({"root": "/data"}), Naming({"root": "/data"}, pictures=False)
    assert open_.image("jane/1.png") == "jane/1.png"
    name = closed.image("jane/1.png")
    assert name != closed.image("jane/2.png")
    assert closed.image("jane/1.png") == name
    assert (
        closed.text("/data/jane/1.png: 1.png is damaged at 11.png", "jane/1.png")
        == f"{name}: {name} is damaged at 11.png"
    )
    assert closed.places(["/data/jane/1.png", "/data/jane"]) == [name, "jane"]
    assert open_.places(["/data/jane/1.png", "/data/jane"]) == ["1.png", "jane"]


def test_settings_keep_their_shape():
    settings = {
        "images": ["/a/b c/", "s3://x/y"],
        "seed": 3,
        "words": {"blur": "a photo"},
        "labels": "/x y/z/labels.txt",
    }
    expected = settings | {"images": ["b c", "s3://x/y"], "labels": "labels.txt"}
    assert Naming({}).settings(settings) == expected


@pytest.mark.parametrize(
    ("paths", "short"),
    [
        ([], []),
        (["/a"], ["a"]),
        (["/a/b/c", "/a/x/c", "/d"], ["b/c", "x/c", "d"]),
        (["/a/b", "/a/b/"], ["b", "b"]),
        (["/a/a", "/a"], ["a/a", "a"]),
    ],
)
def test_places_are_told_apart_by_as_few_parts_as_possible(paths, short):
    assert tails(paths) == short
