"""The table `duplicates`: pairs of images that are nearer than different images are expected to be."""

import logging
from collections.abc import Callable

import numpy as np
import polars as pl

from embedshift.arrays import Floats
from embedshift.questions.search.settings import settings
from embedshift.questions.search.vectors import ROWS, allocate, originals
from embedshift.statistics.duplicates import EQUAL, MOST_IN_SETS, Positions, cosines_of, fit_tail, pairs_above, sets_of
from embedshift.statistics.retrieval import release_memory
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import shift_map
from embedshift.store.reader import Reader

# The most images whose pairs are all compared, and the most pairs that are listed.
COMPARED, LISTED = 200_000, 10_000
DUPLICATES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("image_id", "other"), pl.String),
    **dict.fromkeys(("cosine", "whitened"), pl.Float64),
    "group": pl.Int64,
    "expected_false": pl.Float64,
}
log = logging.getLogger(__name__)


def duplicates(reader: Reader) -> pl.DataFrame:
    """Returns the pairs, the nearest first; `group` numbers the sets of images that they connect.

    Pairs within one group of the user are listed too, but the tail is that of pairs between groups.
    """
    chosen, study = settings(reader), originals(reader)
    vectors, has_direction = study.gallery.vectors, np.flatnonzero(study.gallery.lengths > 0)
    if len(has_direction) > COMPARED:
        log.warning("duplicates are searched for among the first %s images", f"{COMPARED:,}")
    rows, whitening = has_direction[:COMPARED], shift_map(reader.image_rows)
    groups = None if reader.groups is None else reader.groups[rows]
    space = _mapped(reader, vectors, rows, whitening or normalised_float32)
    tail = fit_tail(space, groups, seed=reader.info.seed)
    if chosen.threshold is not None:
        pairs = pairs_above(_mapped(reader, vectors, rows, normalised_float32), chosen.threshold, LISTED)
    else:
        pairs = pairs_above(space, EQUAL if tail is None else min(EQUAL, tail.threshold(chosen.expected_false)), LISTED)
    cosines = cosines_of(vectors, *(rows[ends] for ends in pairs))
    decisive = cosines if whitening is None else cosines_of(space, *pairs)
    sets, in_large_set = sets_of(pairs, len(rows))
    if chosen.threshold is None and in_large_set.sum() > MOST_IN_SETS * max(1.0, chosen.expected_false):
        log.warning(
            "%d of %d pairs are in sets of three images or more: copies, or a class of similar images. Within a class "
            "`expected_false` does not hold: look at these pairs",
            in_large_set.sum(),
            len(cosines),
        )
    names = study.ids.gather(rows)
    table = pl.DataFrame(
        {
            "one": names.gather(pairs[0]),
            "two": names.gather(pairs[1]),
            "cosine": cosines,
            "whitened": None if whitening is None else decisive,
            "group": sets,
            "expected_false": None if tail is None else tail.expected(decisive),
            "decisive": decisive,
        }
    )
    ends = {"image_id": pl.min_horizontal("one", "two"), "other": pl.max_horizontal("one", "two")}
    ordered = table.with_columns(**ends).sort("decisive", "image_id", "other", descending=[True, False, False])
    numbered = ordered.with_row_index().with_columns(group=pl.col("index").min().over("group").rank("dense"))
    return numbered.select(pl.col(name).cast(kind) for name, kind in DUPLICATES.items())


def _mapped(reader: Reader, vectors: Floats, rows: Positions, function: Callable[[Floats], Floats]) -> Floats:
    """Returns some vectors through a function; those of many images are in a file, as the given ones."""
    mapped = allocate(len(rows), vectors.shape[1], reader.folder)
    for start in range(0, len(rows), ROWS):
        mapped[start : start + ROWS] = function(vectors[rows[start : start + ROWS]])
        for array in (mapped, vectors):
            release_memory(array, len(array))
    return mapped
