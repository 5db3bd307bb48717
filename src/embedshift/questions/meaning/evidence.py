"""What may explain a direction: measured properties of originals, and which images have a word."""

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import expanded, read_file
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.questions.meaning import PROPERTIES
from embedshift.sources.bank import read_bank
from embedshift.sources.base import LIST_BYTES
from embedshift.statistics.meaning import Words
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)

# Nothing is given.
NONE = ""
# A word of a caption.
_WORD = re.compile(r"[^\W\d_][\w'-]{2,}")
TABLES = (".csv", ".parquet")


def read_columns(path: str, option: str, wanted: str) -> pl.DataFrame:
    """Reads a CSV or Parquet file with a column `image_id`."""
    file, names = expanded(path), {"image_id": pl.String, "word": pl.String}
    try:
        content = io.BytesIO(read_file(file, LIST_BYTES))
        if file.suffix == ".parquet":
            table = pl.read_parquet(content)
        else:
            gaps = ["", "NA", "NaN", "nan", "null"]
            table = pl.read_csv(content, schema_overrides=names, infer_schema_length=None, null_values=gaps)
        return table.drop_nulls([name for name in ("image_id", "word") if name in ("image_id", *table.columns)])
    except (OSError, EmbedshiftError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise UsageError(f"`{option}`: {path}: no CSV or Parquet file with {wanted} ({cause(error):.200})") from error


def numbers_of(reader: Reader, given: Any, ids: Sequence[str]) -> tuple[tuple[str, ...], Values]:
    """Returns names of properties and their numbers, `[n, K]`, NaN = not measured: of the rows, and as given."""
    names = [name for name in PROPERTIES if name in reader.image_rows.columns]
    rows = reader.image_rows.head(len(ids)).frame.filter(pl.col("view") == ORIGINAL)
    table = rows.select("image_id", *names).collect()
    if given is not None:
        own = _given_numbers(given, ids)
        table = table.drop(own.columns, strict=False).hstack(own)
    numbers = table.drop("image_id").select(pl.all().cast(pl.Float64).fill_null(np.nan))
    return tuple(numbers.columns), numbers.to_numpy().reshape(len(ids), -1)


def _given_numbers(given: Any, ids: Sequence[str]) -> pl.DataFrame:
    wanted = "the column image_id and columns of numbers"
    is_file = isinstance(given, str | os.PathLike)
    table = read_columns(str(given), "properties", wanted) if is_file else _frame(given)
    if "image_id" not in table.columns or table["image_id"].is_duplicated().any():
        raise UsageError("`properties`: one row for each image, with the column image_id")
    table = table.with_columns(pl.col("image_id").cast(pl.String))
    kinds = dict(table.drop("image_id").schema)
    names = [name for name, kind in kinds.items() if kind.is_numeric() or kind == pl.Boolean]
    own = pl.DataFrame({"image_id": ids}).join(table, on="image_id", how="left", maintain_order="left").select(names)
    there = int(own.select(pl.any_horizontal(pl.all().is_not_null()).sum()).item()) if names else 0
    if not there:
        raise UsageError(f"`properties`: no numbers of images of this study, such as {ids[0]}; give {wanted}")
    if there < len(ids):
        log.warning("`properties` has numbers of %d of %d images", there, len(ids))
    if left := [name for name in kinds if name not in names]:
        log.warning("`properties`: %s left out, which are no numbers", ", ".join(left))
    return own


def words_of(reader: Reader, given: Any, ids: Sequence[str]) -> Words:
    """Returns words, and which images have each: as given, or of captions, classes and folders."""
    if isinstance(given, Mapping):
        return as_words(given, ids)
    is_file = isinstance(given, str | os.PathLike)
    if is_file and Path(given).suffix in TABLES:
        table = read_columns(str(given), "words", "the columns image_id and word")
        if "word" not in table.columns:
            raise UsageError(f"`words`: {given}: no column word; give the columns image_id and word, one word a row")
        return as_words(dict(table.group_by("word", maintain_order=True).agg("image_id").iter_rows()), ids)
    texts = texts_of(reader, ids)
    if given is None:
        words: Iterable[tuple[str, set[str]]] = ((i, _own(text)) for i, text in zip(ids, texts, strict=True))
        members: dict[str, list[str]] = {}
        for image_id, own in words:
            for word in own:
                members.setdefault(word, []).append(image_id)
        return as_words(members, ids)
    whole = [f"{caption or ''}\n{folder}".lower() for caption, folder in texts]
    return as_words({word: _with(word, ids, whole) for word in (read_bank(str(given)) if is_file else given)}, ids)


def texts_of(reader: Reader, ids: Sequence[str]) -> list[tuple[str | None, str]]:
    """Returns the caption and the folders of each image; a class is the folder that holds its images."""
    rows = reader.image_rows.head(len(ids)).frame.filter(pl.col("view") == ORIGINAL).select("caption")
    return list(zip(rows.collect()["caption"], (image_id.rpartition("/")[0] for image_id in ids), strict=True))


def _own(text: tuple[str | None, str]) -> set[str]:
    caption, folder = text
    folders = {part.replace("_", " ").lower() for part in folder.split("/") if part}
    return folders | {word.lower() for word in _WORD.findall(caption or "")}


def _with(word: str, ids: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Returns the images whose caption, or folder, has the word or phrase as a whole."""
    pattern = re.compile(rf"(?<!\w){re.escape(word.lower())}(?!\w)")
    return [image_id for image_id, text in zip(ids, texts, strict=True) if pattern.search(text)]


def _listed(given: Mapping[Any, Any]) -> dict[str, list[str]]:
    return {str(word): [each] if isinstance(each, str) else [*map(str, each)] for word, each in given.items()}


def as_words(given: Mapping[Any, Any], ids: Sequence[str]) -> Words:
    members = _listed(given)
    place, names = {image_id: row for row, image_id in enumerate(ids)}, sorted(members)
    pairs = [(place[i], column) for column, name in enumerate(names) for i in {*members[name]} if i in place]
    rows, columns = np.array(pairs, np.intp).reshape(-1, 2).T
    found = len(np.unique(columns))
    if names and not found:
        words = "give captions, folders, CSV or Parquet with image_id and word, or a `namer`"
        raise UsageError(f"`words`: no image of this study has one of {len(names)} words, such as {names[0]}; {words}")
    if found < len(names):
        log.warning("%d of %d words have no image in this study", len(names) - found, len(names))
    shape = len(ids), len(names)
    return Words(tuple(names), scipy.sparse.csr_array((np.ones(len(pairs), np.float32), (rows, columns)), shape=shape))


def digest(given: Any) -> str:
    """Returns what given properties or words are known by; `NONE` = none are given."""
    if given is None or (isinstance(given, tuple) and not given):
        return NONE
    if isinstance(given, Mapping):
        content = json.dumps(_listed(given), sort_keys=True).encode()
    elif isinstance(given, str | os.PathLike):
        try:
            content = read_file(expanded(given), LIST_BYTES)
        except (OSError, EmbedshiftError) as error:
            raise UsageError(f"{given}: {cause(error)}") from error
    else:
        content = repr(given).encode() if isinstance(given, tuple | list) else _frame(given).write_ndjson().encode()
    return hashlib.sha256(content).hexdigest()


def _frame(given: Any) -> pl.DataFrame:
    return given.collect() if isinstance(given, pl.LazyFrame) else pl.DataFrame(given)


def is_as_kept(file: str | None, kept: str) -> bool:
    """Returns whether a file is the one that the kept table was made with."""
    try:
        return file is not None and digest(file) == kept
    except UsageError:
        return False
