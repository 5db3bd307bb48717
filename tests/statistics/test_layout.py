"""Rows of studies taken apart, against loops over rows."""

import numpy as np
import polars as pl
import pytest

from embedshift.statistics import layout as rows_of
from embedshift.statistics.layout import BLOCK, layout

NAMES, DRAWS, LENGTH = ["blur", "noise"], 2, 3
VIEWS = ("original", *NAMES * DRAWS)


@pytest.fixture(scope="module")
def rows():
    """Somewhat more than one block of images, with nulls and NaN."""
    rng, images = np.random.default_rng(0), BLOCK + 3
    count = images * len(VIEWS)
    cosine = rng.random(count)
    lists = rng.random((count, LENGTH)).astype(np.float32)
    cosine[rng.random(count) < 0.1] = np.nan
    lists[rng.random(count) < 0.1] = np.nan
    first = np.arange(count) % len(VIEWS) == 0
    return pl.DataFrame(
        {
            "view": VIEWS * images,
            "cosine": pl.Series(cosine).scatter(np.flatnonzero(rng.random(count) < 0.1), None),
            "layer": [None if is_first else row for is_first, row in zip(first, lists.tolist(), strict=True)],
            "pairwise": [rng.random(DRAWS * 1).tolist() if is_first else None for is_first in first],
        },
        schema_overrides={"layer": pl.List(pl.Float32), "pairwise": pl.List(pl.Float32)},
    ).with_columns(pl.col("layer").list.to_array(LENGTH))


def slow(rows, column, width):
    """Image → augmentation → sums and counts of what is a number, row by row."""
    sums = np.zeros((len(rows) // len(VIEWS), len(NAMES), width))
    counts = np.zeros_like(sums)
    for number, (view, value) in enumerate(rows.select("view", column).iter_rows()):
        if view == "original" or value is None:
            continue
        place = (number // len(VIEWS), NAMES.index(view))
        numbers = np.atleast_1d(np.asarray(value, np.float64))
        sums[place] += np.nan_to_num(numbers)
        counts[place] += ~np.isnan(numbers)
    return sums.reshape(len(sums), -1), counts.reshape(len(sums), -1)


def joined(parts):
    sums, counts = zip(*parts, strict=True)
    assert len(sums) == 2
    return np.vstack(sums), np.vstack(counts)


def test_it_is_read_from_the_first_image(rows):
    found = layout(rows.lazy())
    assert (found.images, found.views) == (BLOCK + 3, VIEWS)
    assert layout(rows.lazy().head(0)) == rows_of.Layout(0, ())


@pytest.mark.parametrize("column", ["cosine", "layer"])
def test_sums_and_counts_are_those_of_a_loop(rows, column):
    width, parts = (1, rows_of.metric_parts) if column == "cosine" else (LENGTH, rows_of.list_parts)
    found = joined(parts(rows_of.image_rows(rows.lazy()), NAMES, [column]))
    for part, wanted in zip(found, slow(rows, column, width), strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-6)


def test_sums_of_one_view_are_those_of_a_loop_and_a_missing_column_has_none(rows):
    order, block = layout(rows.lazy()), rows.head(7 * len(VIEWS))
    sums, counts = rows_of.sums_and_counts(order.values(block, "noise", ["cosine", "gone"]))
    for found, wanted in zip((sums, counts), slow(block, "cosine", 1), strict=True):
        np.testing.assert_allclose(found[:, 0], wanted[:, NAMES.index("noise")], rtol=1e-12)
        assert (found[:, 1] == 0).all()


def test_distances_come_by_image_draw_and_pair(rows):
    found = np.concatenate(list(rows_of.pair_distances(rows.lazy(), 1)))
    wanted = [each for each in rows["pairwise"].to_list() if each is not None]
    np.testing.assert_allclose(found, np.array(wanted)[:, :, None], rtol=1e-6)
