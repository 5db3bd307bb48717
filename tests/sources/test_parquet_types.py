"""A column whose `bytes` are no bytes is named with its type, and no row of it is taken for an image."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import open_source
from embedshift.sources.datasets import image_bytes


def written(tmp_path, column):
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([{"bytes": "text", "path": "a.png"}], "struct<bytes: string, path: string>"),
        ([{"bytes": 3}], "struct<bytes: int64>"),
        ([{"bytes": [1, 2]}], "struct<bytes: list<element: int64>>"),
        ([{"bytes": {"bytes": "x"}}], "struct<bytes: struct<bytes: string>>"),
        (["text"], "string"),
        ([3], "int64"),
        ([[1, 2]], "list<element: int64>"),
        ([None], "null"),
    ],
)
def test_a_wrong_type_is_named(tmp_path, values, kind):
    with pytest.raises(UsageError) as caught:
        open_source([written(tmp_path, values)])
    place = tmp_path / "a.parquet"
    assert str(caught.value) == f"{place}: the column 'image' contains {kind}, not the bytes of images (binary)"


def test_paths_alone_are_rows_that_say_so(tmp_path):
    source = open_source([written(tmp_path, [{"bytes": None, "path": "/etc/passwd"}])])
    with pytest.raises(EmbedshiftError, match="a path instead of bytes; paths are not opened"):
        source.read(source.samples[0])


@pytest.mark.parametrize("value", ["text", 3, [1], {"bytes": "text"}, {"bytes": 3}, {"bytes": {"bytes": b"x"}}])
def test_a_cell_of_a_wrong_type_is_words(value):
    with pytest.raises(EmbedshiftError, match=r"^the row contains no bytes, but a value of the type "):
        image_bytes(value)
