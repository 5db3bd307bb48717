"""Likely copies between two parts of a study: leaks between train and test, or uploads of a catalogue."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import polars as pl

from embedshift.errors import UsageError
from embedshift.questions.search.copies import equal_first
from embedshift.report.numbers import fixed
from embedshift.store.grouping import NAMES
from embedshift.store.groups import FILE, read_groups
from embedshift.store.reader import Reader
from embedshift.study.result import Grid

if TYPE_CHECKING:
    from embedshift.study.study import Study

# Pairs that the command prints.
SHOWN = 20


def between(study: "Study", parts: str | Sequence[str]) -> pl.DataFrame:
    """Lists likely copies between two folders or two groups of a study, equal images first.

    Args:
        study: A finished study; its table `duplicates` is read.
        parts: Two names, "train,test" or ["train", "test"]: of groups, else of folders anywhere in the ids of images.

    Returns:
        A row for each pair: `image_id` of the first part, `other` of the second, whether their pixels are `exact`ly
        equal, `cosine`, and `expected_false`: how many false pairs between the parts are expected at least so near.

    Raises:
        UsageError: Not two names are given, or a part has no images.

    Example:
        >>> import tempfile, embedshift, numpy as np
        >>> rows = np.random.default_rng(0).normal(size=(60, 16))
        >>> rows[59] = rows[3]
        >>> ids = [f"{'train' if place < 40 else 'test'}/{place}" for place in range(60)]
        >>> study = embedshift.from_vectors(rows, {"jpeg": rows + 0.1}, out=tempfile.mkdtemp() + "/study", ids=ids)
        >>> study.between("train,test").select("image_id", "other").rows()
        [('train/3', 'test/59')]
    """
    names = parts.split(",") if isinstance(parts, str) else [*parts]
    if len({*names}) != 2 or len(names) != 2:
        raise UsageError("`between`: give two folders or groups, such as train,test")
    reader = study.reader()
    sides = _sides(reader, names)
    counts = [sum(side == name for side in sides.values()) for name in names]
    one, other = (pl.col(end).replace_strict(sides, default=None, return_dtype=pl.String) for end in NAMES)
    pairs = study.table("duplicates").with_columns(one=one, two=other)
    is_between = (pl.col("one") != pl.col("two")).fill_null(value=False)
    is_turned = pl.col("one") == names[1]
    share = 2 * counts[0] * counts[1] / max(1, len(sides) * (len(sides) - 1))
    found = pairs.filter(is_between).select(
        image_id=pl.when(is_turned).then("other").otherwise("image_id"),
        other=pl.when(is_turned).then("image_id").otherwise("other"),
        cosine="cosine",
        expected_false=pl.col("expected_false") * share,
    )
    return equal_first(found, reader, reader)


def _sides(reader: Reader, names: Sequence[str]) -> dict[str, str | None]:
    """Returns the part of every image; None = neither."""
    ids = reader.ordered_ids()
    places: dict[str, Sequence[str]] = {image_id: PurePosixPath(image_id).parts[:-1] for image_id in ids}
    if reader.info.groups is not None and reader.grouped is None:
        groups = dict(read_groups(reader.folder, reader.info.files.get(FILE, "")).iter_rows())
        if {*names} <= {*groups.values()}:
            places = {image_id: (groups[image_id],) for image_id in ids}
    for name in names:
        if not any(name in parts for parts in places.values()):
            raise UsageError(f"`between` {name}: no image of {reader.folder} lies in such a folder, or group")
    both = [image_id for image_id in ids if {*names} <= {*places[image_id]}]
    if both:
        raise UsageError(f"`between`: {both[0]} lies in both {names[0]} and {names[1]}; give two separate parts")
    return {image_id: next((name for name in names if name in places[image_id]), None) for image_id in ids}


def printed_between(table: pl.DataFrame, one: str, other: str) -> Iterator[str | Grid]:
    """Yields a sentence, and the first pairs."""
    exact = int(table["exact"].sum())
    words = "1 likely copy" if len(table) == 1 else f"{len(table):,} likely copies"
    line = f"Between {one} and {other}: {words}, {exact:,} of equal pixels"
    false = table["expected_false"].max()
    yield f"{line}; {fixed(false, 2)} false ones are expected." if isinstance(false, float) else f"{line}."
    if len(table):
        rows = [
            [row["image_id"], row["other"], "yes" if row["exact"] else "", fixed(row["cosine"], 4)]
            for row in table.head(SHOWN).iter_rows(named=True)
        ]
        yield Grid((one, other, "equal", "cosine"), ("name", "name", "text", "number"), rows)
