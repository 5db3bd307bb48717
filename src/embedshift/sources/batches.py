"""Batches of vectors to be watched: which rows of a file belong to which batch, by a column of names or of time."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.errors import UsageError
from embedshift.sources.vectors import VectorSet

log = logging.getLogger(__name__)

BATCH, TIME = "batch", "time"
PERIODS = {"day": "%Y-%m-%d", "week": "%G-W%V"}
# Rows of a batch that no column names, if `every` is a number.
_NUMBERED = "{} {:,}"


@dataclass(frozen=True, eq=False)
class BatchRows:
    """Some rows of one batch: vectors `[n, D]`, ids and groups `[n]`; None = none are given."""

    batch: str
    vectors: Floats
    ids: NDArray[Any]
    groups: NDArray[Any] | None


def rows_of(
    given: Any, name: str, every: str | int | None = None, columns: Mapping[str, str] | None = None
) -> Iterator[BatchRows]:
    """Returns the rows of originals in a file, frame or array, some of a batch at a time; all at once if grouped.

    Args:
        given: As for `VectorSet.open`. The columns `batch` and `time` of a table name the batches.
        name: The batch of rows that no column names.
        every: "day" or "week" for the column `time`, or so many rows in their order; None = "day".
        columns: As for `VectorSet.open`.
    """
    vectors = VectorSet.open(given, columns=columns or {}, named=False, used=(BATCH, TIME))
    labels, is_original = _labels(vectors.keys, name, every), vectors.is_original
    ids, groups = (vectors.keys[column].to_numpy() for column in ("image_id", "group"))
    ids = np.array([str(row) if text is None else text for row, text in enumerate(ids)], object)
    missing = vectors.keys["group"].null_count
    if 0 < missing < len(vectors):
        raise UsageError(f"{vectors.name}: some rows have no group; give one to each, or to none")
    if others := int((~is_original).sum()):
        log.warning("%s: %d vectors of views and tiles are not used", vectors.name, others)

    def blocks() -> Iterator[BatchRows]:
        start = 0
        for matrix in vectors.blocks():
            block = slice(start, start + len(matrix))
            for label in dict.fromkeys(labels[block]):
                if (kept := is_original[block] & (labels[block] == label)).any():
                    yield BatchRows(label, matrix[kept], ids[block][kept], None if missing else groups[block][kept])
            start += len(matrix)

    # The images of a group belong together, wherever the file is cut.
    return blocks() if missing else _whole(blocks())


def _whole(parts: Iterator[BatchRows]) -> Iterator[BatchRows]:
    batches = dict[str, list[BatchRows]]()
    for each in parts:
        batches.setdefault(each.batch, []).append(each)
    for label, rows in batches.items():
        groups = [each.groups for each in rows if each.groups is not None]
        vectors, ids = [each.vectors for each in rows], [each.ids for each in rows]
        yield BatchRows(label, np.concatenate(vectors), np.concatenate(ids), np.concatenate(groups))


def _labels(keys: pa.Table, name: str, every: str | int | None) -> NDArray[Any]:
    if every is not None and every not in PERIODS:
        if not (str(every).isdecimal() and int(every) > 0):
            raise UsageError(f"`every`: give day, week or a number of vectors, not {str(every)!r}")
        return np.array([_NUMBERED.format(name, 1 + row // int(every)) for row in range(len(keys))], object)
    if BATCH in keys.column_names and every is None:
        return np.array([name if each is None else str(each) for each in pl.Series(keys[BATCH]).to_list()], object)
    if TIME in keys.column_names:
        return _periods(pl.Series(keys[TIME]), PERIODS[str(every or "day")], name)
    if every is not None:
        raise UsageError(f"{name}: has no column {TIME!r}, by which `every` {every} cuts; give a number of vectors")
    return np.full(len(keys), name, object)


def _periods(times: pl.Series, period: str, name: str) -> NDArray[Any]:
    if times.dtype == pl.String:
        times = pl.Series([None if text is None else _local_date(text, name) for text in times], dtype=pl.Date)
    if times.dtype not in (pl.Date, pl.Datetime):
        raise UsageError(f"{name}: its column {TIME!r} holds {times.dtype}; give dates, or dates with times")
    return np.array([name if text is None else text for text in times.dt.strftime(period).to_list()], object)


def _local_date(text: str, name: str) -> date:
    """Returns the date that a text names, in its own offset; 01/02/2026 is one in January, and one in February."""
    try:
        return datetime.fromisoformat(text.strip().replace("/", "-")).date()
    except ValueError as error:
        words = f"holds {text!r}; give times with the year first, such as 2026-02-01 or 2026-02-01T09:30+09:00"
        raise UsageError(f"{name}: its column {TIME!r} {words}") from error
