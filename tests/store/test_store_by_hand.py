"""Small cases worked by hand."""

import polars as pl

from embedshift.store import grouping as copies_module
from embedshift.store import info as identity
from embedshift.store import shards, table


def test_copies_copies_line():
    assert (
        copies_module.copies_line(1)
        == "1 image repeats the pixels of another; intervals treat all of them as independent images and are too narrow"
    )


def test_identity_hash_of():
    assert identity.identity_hash({"seed": 0, "size": 32}) == identity.identity_hash({"size": 32, "seed": 0})


def test_shards_schema():
    assert shards.schema(512, 49, ["cosine_similarity"]).names[:5] == [
        "image_id",
        "view",
        "draw",
        "view_seed",
        "pixels",
    ]


def test_table_with_hashes():
    assert table.with_hashes(pl.DataFrame({"image_id": ["a/b.jpg"], "rank": [1]}), ["image_id"]).row(0) == (
        "image-579a090e",
        1,
    )
