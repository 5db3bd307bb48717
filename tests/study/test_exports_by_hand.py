"""Small cases worked by hand."""

import pytest

from embedshift import errors
from embedshift.study.exports import card as card_module
from embedshift.study.exports import documents, media


def test_card_fenced():
    assert str(card_module.fenced("a ``` b", "sh")).split() == ["````sh", "a", "```", "b", "````"]


def test_documents_field():
    assert documents.field("relative_shift", documents.FLOAT)["ftype"] == "fiftyone.core.fields.FloatField"


def test_documents_object_id():
    assert len(documents.object_id("a.jpg")["$oid"]) == 24


def test_documents_array():
    assert sorted(documents.array([1.0, 2.0])["$binary"]) == ["base64", "subType"]


def test_documents_field_names():
    assert documents.field_names(["noise", "jpeg@3", "jpeg 3", "tags"]) == {
        "noise": "noise",
        "jpeg@3": "jpeg_3",
        "jpeg 3": "jpeg_3_2",
        "tags": "tags_2",
    }


def test_media_check_media():
    with pytest.raises(errors.UsageError, match="media: 'links' is none of originals, copies, views"):
        media.check_media("links")
