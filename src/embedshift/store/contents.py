"""Whether the rows of undamaged shards are such as a run writes: a file with a right checksum may hold anything."""

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from embedshift.augmentations import ORIGINAL
from embedshift.errors import EmbedshiftError, reason
from embedshift.registry import METRICS
from embedshift.statistics.layout import scan
from embedshift.store.info import StudyInfo
from embedshift.store.parts import Part
from embedshift.store.shards import pixels_digest, schema

# By how much rounding may carry a metric over its limits, and images that are read at once.
ROUNDING, AT_ONCE = 1e-6, 8_192
_LARGEST = float(np.finfo(np.float64).max)
_ADVICE = "the rows are not such as a run writes; delete the file and run the study again to measure it"
# SHA-256 of the shards that this process has checked, and what they were checked for.
_CHECKED: set[tuple[str, str, bool]] = set()


def refuse_contents(parts: Sequence[Part], info: StudyInfo, lists: Mapping[str, int], *, vectors: bool = False) -> None:
    """Refuses a shard with other rows than a run writes; reads each shard once."""
    keys = {part.path: (part.checksum, info.config_hash, vectors) for part in parts}
    checked = {path for path, key in keys.items() if key in _CHECKED}
    if len(checked) < len(parts):
        for part, problem in content_problems(parts, info, lists, vectors=vectors, checked=checked):
            raise EmbedshiftError(f"{part.path}: {problem}")
        _CHECKED.update(keys.values())


def content_problems(
    parts: Sequence[Part], info: StudyInfo, lists: Mapping[str, int], *, vectors: bool, checked: Collection[Path] = ()
) -> Iterator[tuple[Part, str]]:
    """Yields shards whose rows are not such as a run writes, each with what is wrong and what to do.

    `lists` are the columns with a list for every original, with its length; the rows of `checked` shards are not read.
    """
    schemas = {id(part.schema): part.schema for part in parts}
    usual = [schemas[each] for each, _ in Counter(id(part.schema) for part in parts).most_common(1)]
    wrong = {each: _wrong_columns(found, usual[0], info, lists) for each, found in schemas.items()}
    yield from ((part, f"{wrong[id(part.schema)]}: {_ADVICE}") for part in parts if wrong[id(part.schema)])
    rest = [part for part in parts if part.rows and not wrong[id(part.schema)] and part.path not in checked]
    ends = itertools.accumulate(part.record.images for part in rest)
    for _, batch in itertools.groupby(zip(rest, ends, strict=True), lambda each: each[1] // AT_ONCE):
        for part, problem in _wrong_parts([part for part, _ in batch], info, lists, vectors):
            yield part, f"{problem}: {_ADVICE}"


def _wrong_columns(found: pa.Schema, usual: pa.Schema, info: StudyInfo, lists: Mapping[str, int]) -> str:
    """Returns which column is not as study.json implies, or not as in most shards; "" = none."""
    grid, dim = info.encoder.grid, info.encoder.dim if info.has_vectors else None
    expected = schema(dim, grid and grid[0] * grid[1], info.metrics, dict.fromkeys(lists))
    kinds = dict(zip(found.names, found.types, strict=True))
    wanted = dict(zip(usual.names + expected.names, usual.types + expected.types, strict=True))
    different = [name for name in (wanted | kinds) if kinds.get(name) != wanted.get(name)]
    first = next(iter(different), "")
    words = f"column {first!r} is {kinds.get(first, 'missing')}, not {wanted.get(first, 'in the other shards')}"
    return words if different else ""


def _wrong_parts(
    batch: Sequence[Part], info: StudyInfo, lists: Mapping[str, int], vectors: bool
) -> Iterator[tuple[Part, str]]:
    """Yields the shards of a batch with a wrong row; only then looks at them one by one."""
    numbers = [name for name in info.metrics if name in METRICS]
    large = [name for name in ("embedding", "attention") if vectors and (name != "embedding" or info.has_vectors)]
    try:
        rows = scan([part.path for part in batch]).select(
            "image_id", "view", "draw", "pixels", *numbers, *lists, *large
        )
        read = rows.collect()
        problem = _wrong_rows(read, info, numbers, lists, large)
    except pl.exceptions.PolarsError as error:
        problem = reason(error)
    if problem and len(batch) > 1:
        yield from (found for part in batch for found in _wrong_parts([part], info, lists, vectors))
    elif problem:
        yield batch[0], problem
    else:
        originals = read.filter(view=ORIGINAL)
        for part in batch:
            own, originals = originals[: part.record.images], originals[part.record.images :]
            if own["image_id"].n_unique() < len(own):
                yield part, "column 'image_id' names an image twice"
            elif part.record.pixels not in ("", pixels_digest(own["image_id"].to_list(), own["pixels"].to_list())):
                yield part, "columns 'image_id' and 'pixels' are not those of the images that were measured"


def _wrong_rows(
    rows: pl.DataFrame, info: StudyInfo, numbers: Sequence[str], lists: Mapping[str, int], large: Sequence[str]
) -> str:
    """Returns the first thing that is wrong with the rows of some images; "" = nothing."""
    names, draws = info.augmentations, range(info.draws)
    views = pl.Series("view", [ORIGINAL, *names * len(draws)])
    order = [views, pl.Series("draw", [0, *(draw for draw in draws for _ in names)], pl.Int32)]
    image, place = np.divmod(np.arange(len(rows)), len(views))

    def wrong() -> Iterator[tuple[pl.Series, pl.Series, str]]:
        for values in order:
            found = rows[values.name]
            yield found, found.ne_missing(values.gather(place)), "where another value belongs"
        yield rows["image_id"], pl.Series(rows["image_id"].rle_id().to_numpy() != image), "where another image belongs"
        for entry in map(METRICS.__getitem__, numbers):
            values = rows[entry.name].filter(place > 0)
            low, high = max(entry.low - ROUNDING, -_LARGEST), min(entry.high + ROUNDING, _LARGEST)
            yield values, values.is_not_nan() & ~values.is_between(low, high), f"beyond {entry.low} to {entry.high}"
            missing = values.is_null() | values.is_nan()
            if entry.always_defined and not info.pairs and not missing.all():
                yield values, missing, "where a number belongs"
        for name, length in lists.items() if not info.pairs else ():
            values = rows[name].filter(place == 0)
            yield values, values.list.len().ne_missing(length), f"where a list of {length} numbers belongs"
            yield values.explode(), ~values.explode().is_finite(), "where a number belongs"
        for name in large:
            yield rows[name].explode(), ~rows[name].explode().is_finite(), "where a number belongs"
            if name == "embedding" and not info.pairs:
                yield rows[name], rows[name].is_null(), "where a vector belongs"

    for values, mask, words in wrong():
        if mask.any():
            return f"column {values.name!r} has {values.filter(mask).to_list()[0]!r:.60}, {words}"
    return ""
