"""Whether the rows of undamaged shards are such as a run writes: a file with a right checksum may hold anything."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, reason
from embedshift.registry import METRICS
from embedshift.store.chunks import scan
from embedshift.store.info import StudyInfo
from embedshift.store.parts import Part
from embedshift.store.shards import pixels_digest, schema

# By how much rounding may carry a metric over its limits, and images that are read at once.
ROUNDING, AT_ONCE = 1e-6, 8_192
VECTORS = ("embedding", "attention")
# SHA-256 of the shards that this process has checked, with what they were checked for.
_CHECKED: set[tuple[object, ...]] = set()


def refuse_contents(parts: Sequence[Part], info: StudyInfo, lists: Mapping[str, int], *, vectors: bool = False) -> None:
    """Refuses a shard with other rows than a run writes; reads each shard once."""
    keys = {part.path: (part.checksum, info.config_hash, vectors) for part in parts}
    checked = {path for path, key in keys.items() if key in _CHECKED}
    if len(checked) == len(parts):
        return
    for part, problem in content_problems(parts, info, lists, vectors=vectors, checked=checked):
        raise EmbedshiftError(f"{part.path}: {problem}")
    _CHECKED.update(keys.values(), {(*key[:2], False) for key in keys.values()})


def content_problems(
    parts: Sequence[Part],
    info: StudyInfo,
    lists: Mapping[str, int],
    *,
    vectors: bool = False,
    checked: Collection[Path] = (),
) -> Iterator[tuple[Part, str]]:
    """Yields shards whose rows are not such as a run writes, each with what is wrong and what to do.

    Args:
        parts: Undamaged shards.
        info: What study.json says of them.
        lists: Columns with a list for every original → its length.
        vectors: Whether embeddings and attention maps are read too.
        checked: Shards whose rows are not read.
    """
    advice = "the rows are not such as a run writes; delete the file and run the study again to measure it"
    usual = Counter(part.schema for part in parts).most_common(1)[0][0] if parts else None
    rest: list[Part] = []
    for part in parts:
        if problem := _wrong_columns(part.schema, info, lists) or _other_columns(part.schema, usual):
            yield part, f"{problem}: {advice}"
        elif part.rows and part.path not in checked:
            rest.append(part)
    for batch in _batches(rest):
        for part, problem in _wrong_rows(batch, _Rows(info, lists, vectors=vectors)):
            yield part, f"{problem}: {advice}"


def _wrong_columns(found: pa.Schema, info: StudyInfo, lists: Mapping[str, int]) -> str:
    """Returns which column is missing or has another type than study.json implies; "" = none."""
    grid = info.encoder.grid
    has_vectors, graded = info.has_vectors or "embedding" in found.names, "family" in found.names
    dim, cells = info.encoder.dim if has_vectors else None, grid[0] * grid[1] if grid else None
    for field in schema(dim, cells, info.metrics, dict.fromkeys(lists), graded=graded):
        if (index := found.get_field_index(field.name)) < 0:
            return f"no column {field.name!r}"
        if not (kind := found.field(index).type).equals(field.type):
            return f"column {field.name!r} is {kind}, not {field.type}"
    return ""


def _other_columns(found: pa.Schema, usual: pa.Schema) -> str:
    """Returns where the columns differ from those of most shards; "" = nowhere."""
    differing = sorted({(field.name, str(field.type)) for field in found} ^ {(f.name, str(f.type)) for f in usual})
    return f"column {differing[0][0]!r} is not as in the other shards" if differing else ""


def _batches(parts: Iterable[Part]) -> Iterator[list[Part]]:
    batch: list[Part] = []
    for part in parts:
        batch.append(part)
        if sum(each.record.images for each in batch) >= AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _wrong_rows(batch: Sequence[Part], check: "_Rows") -> Iterator[tuple[Part, str]]:
    """Yields the shards of a batch with a wrong row; only then looks at them one by one."""
    try:
        rows = scan([part.path for part in batch]).select(check.columns).collect()
        problem = check.problem(rows)
    except pl.exceptions.PolarsError as error:
        problem = reason(error)
    if problem and len(batch) > 1:
        for part in batch:
            yield from _wrong_rows([part], check)
        return
    start = 0
    for part in batch if not problem else ():
        ids, pixels = rows[start : start + part.rows : check.views].select("image_id", "pixels")
        start += part.rows
        if len(names := ids.to_list()) != ids.n_unique():
            yield part, "column 'image_id' names an image twice"
        elif part.record.pixels and pixels_digest(names, pixels.to_list()) != part.record.pixels:
            yield part, "columns 'image_id' and 'pixels' are not those of the images that were measured"
    if problem:
        yield batch[0], problem


class _Rows:
    """What the rows of a study must be."""

    def __init__(self, info: StudyInfo, lists: Mapping[str, int], *, vectors: bool) -> None:
        names, draws = info.augmentations, range(info.draws)
        self.order = pl.DataFrame(
            {"view": [ORIGINAL, *names * len(draws)], "draw": [0, *(draw for draw in draws for _ in names)]},
            {"view": pl.String, "draw": pl.Int32},
        )
        self.views, self.lists, self.may_miss = len(self.order), lists, bool(info.pairs)
        self.metrics = [name for name in info.metrics if name in METRICS]
        self.vectors = [name for name in VECTORS if name != "embedding" or info.has_vectors] if vectors else []
        self.columns = ["image_id", "view", "draw", "pixels", *self.metrics, *lists, *self.vectors]

    def problem(self, rows: pl.DataFrame) -> str:
        """Returns the first thing that is wrong with the rows of some images; "" = nothing."""
        place = np.arange(len(rows)) % self.views
        for name in self.order.columns:
            if (wrong := rows[name].ne_missing(self.order[name].gather(place))).any():
                return f"column {name!r} has {rows[name].filter(wrong)[0]!r:.60} where it must have another value"
        if (rows["image_id"].rle_id().to_numpy() != np.arange(len(rows)) // self.views).any():
            return "column 'image_id' has the views of an image apart from each other, or two images of one name"
        problems = [self._metric(rows, name, place > 0) for name in self.metrics]
        problems += [self._list(rows[name].filter(place == 0), length) for name, length in self.lists.items()]
        problems += [_not_finite(rows[name]) for name in self.vectors]
        if "embedding" in self.vectors and not self.may_miss and rows["embedding"].null_count():
            problems.append("column 'embedding' has no value for a view")
        return next(filter(None, problems), "")

    def _metric(self, rows: pl.DataFrame, name: str, is_view: NDArray[np.bool_]) -> str:
        entry, values = METRICS[name], rows[name].filter(is_view)
        low, high = (max(entry.low - ROUNDING, -1e300), min(entry.high + ROUNDING, 1e300))
        if (wrong := values.is_not_nan() & ~values.is_between(low, high)).any():
            return f"column {name!r} has {values.filter(wrong)[0]}, beyond {entry.low} to {entry.high}"
        missing = (values.is_null() | values.is_nan()).sum()
        if entry.always_defined and not self.may_miss and 0 < missing < len(values):
            return f"column {name!r} has no value for {missing} of {len(values)} views"
        return ""

    def _list(self, values: pl.Series, length: int) -> str:
        if not self.may_miss and (wrong := values.list.len().ne_missing(length)).any():
            return f"column {values.name!r} has a list of {values.filter(wrong).list.len()[0]} numbers, not {length}"
        return "" if self.may_miss else _not_finite(values)


def _not_finite(values: pl.Series) -> str:
    return "" if values.explode().is_finite().all() else f"column {values.name!r} has a number that is not finite"
