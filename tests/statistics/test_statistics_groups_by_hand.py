"""Small cases worked by hand."""

import polars as pl

from embedshift.statistics import groups


def test_grouped():
    assert (
        repr(groups.grouped(pl.LazyFrame({"view": ["original", "blur"] * 3})).order)
        == "Layout(images=3, views=('original', 'blur'))"
    )
