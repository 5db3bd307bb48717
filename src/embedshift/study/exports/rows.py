"""The rows of a study as one table, for pandas and Hugging Face `datasets`, with the original images."""

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from embedshift.config.safe_files import expanded
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError
from embedshift.store.reader import Reader

if TYPE_CHECKING:
    import datasets
    import pandas


def open_reader(folder: Path, images_root: str | Path | None = None) -> Reader:
    """Returns a reader of a study whose images lie in `images_root`; None = where the run read them."""
    return replace(Reader(folder), images_root=check_images_root(images_root))


def check_images_root(images_root: str | Path | None) -> Path | None:
    """Returns the folder that holds a study's images on this machine; UsageError if there is no such folder."""
    root = None if images_root is None else expanded(images_root)
    if root is not None and not root.is_dir():
        raise UsageError(f"`images_root`: {root}: no such folder")
    return root


def original_path(reader: Reader, image_id: str) -> str:
    path = os.path.join(reader.source["root"], image_id)
    path = os.path.abspath(os.fsdecode(path.encode("utf-8", "surrogateescape")))
    reader.roots.check(path)
    return path


log = logging.getLogger(__name__)

# As `datasets` stores an image: the bytes, or the path of a file.
_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def to_pandas(reader: Reader, *, embeddings: bool) -> "pandas.DataFrame":
    try:
        import pandas  # noqa: F401 - Polars imports it too, but would say so in three lines
    except ImportError as error:
        raise EmbedshiftError("to_pandas needs pandas: pip install pandas") from error
    return _rows_frame(reader, embeddings=embeddings).to_pandas()


def to_datasets(reader: Reader, *, images: bool, embeddings: bool) -> "datasets.Dataset":
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("to_datasets", "datasets") from error
    table = _plain(_rows_frame(reader, embeddings=embeddings).to_arrow())
    if images:
        table = table.append_column("image", _images(reader, table["image_id"].to_pylist()))
    features = datasets.Features.from_arrow_schema(table.schema)
    if images:
        features["image"] = datasets.Image()
    words = f"Metrics and embeddings of {reader.naming.setting(reader.info.encoder.name)}, measured by embedshift"
    return datasets.Dataset(table, info=datasets.DatasetInfo(description=words, features=features))


def _rows_frame(reader: Reader, *, embeddings: bool) -> pl.DataFrame:
    rows = reader.rows()
    flat = [name for name, kind in rows.collect_schema().items() if not kind.is_nested() and name != "pixels"]
    return rows.select([*flat, *(["embedding"] if embeddings else [])]).collect()


def _plain(table: pa.Table) -> pa.Table:
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) or pa.types.is_string_view(field.type)
        else field for field in table.schema
    ]  # fmt: skip
    return table.cast(pa.schema(fields))


def _images(reader: Reader, image_ids: list[str]) -> pa.Array:
    files: dict[str, str] = {}
    missing: dict[str, str] = {}
    for image_id in dict.fromkeys(image_ids):
        try:
            files[image_id] = _readable_file(reader, image_id)
        except (EmbedshiftError, ValueError) as error:  # ValueError: no name of a file
            missing[image_id] = str(error)
    if missing:
        first = next(iter(missing))
        log.warning("%d images have no file in the dataset (first: %s: %s)", len(missing), first, missing[first])
    values = [{"bytes": None, "path": files[name]} if name in files else None for name in image_ids]
    return pa.array(values, _IMAGE)


def _readable_file(reader: Reader, image_id: str) -> str:
    if reader.source["kind"] != "folder":
        raise EmbedshiftError("it lies in an archive or behind a URL and is no file of its own")
    path = original_path(reader, image_id)
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise EmbedshiftError("no such file, or it cannot be read")
    return path
