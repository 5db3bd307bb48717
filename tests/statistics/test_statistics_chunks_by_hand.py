"""Small cases worked by hand."""

import polars as pl

from embedshift.statistics import chunks


def test_chunked():
    assert (
        repr(chunks.chunked(pl.LazyFrame({"view": ["original", "blur"] * 3})).order)
        == "Layout(images=3, views=('original', 'blur'))"
    )
