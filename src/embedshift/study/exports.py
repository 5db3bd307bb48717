"""Exports: the rows of a study for pandas and Hugging Face `datasets`, and text for a model card."""

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

log = logging.getLogger(__name__)
# As `datasets` stores an image: the bytes, or the path of a file.
_IMAGE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


class Exports:
    """The exports of a study. `Study` has all of these methods.

    Args:
        folder: The study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def to_pandas(self, *, embeddings: bool = False) -> "pandas.DataFrame":
        """Returns all rows as a pandas DataFrame: one per image, view and draw.

        The columns are `image_id, view, draw, view_seed`, every metric (float64, NaN on the original) and `caption`, in
        the order of the shards. The lists of a row stay in `rows()`. For a table of means use
        `study.summary().to_pandas()`.

        Args:
            embeddings: Adds the column `embedding`, float32 `[D]` a row.

        Raises:
            EmbedshiftError: If pandas is not installed, or if nothing is measured yet.

        Example:
            >>> frame = study.to_pandas()
            >>> frame.groupby("view")["cosine_similarity"].mean().round(3).to_dict()["blur"]
            0.991
            >>> study.to_pandas(embeddings=True)["embedding"][0].shape
            (8,)
        """
        try:
            import pandas  # noqa: F401 - Polars imports it too, but would say so in three lines
        except ImportError as error:
            raise EmbedshiftError("to_pandas needs pandas: pip install pandas") from error
        return _rows_frame(Reader(self.folder), embeddings=embeddings).to_pandas()

    def to_datasets(
        self, *, images: bool = True, embeddings: bool = True, images_root: str | Path | None = None
    ) -> "datasets.Dataset":
        """Returns all rows as a `Dataset` of Hugging Face `datasets`: one row per image, view and draw.

        Args:
            images: Adds the column `image`: the file of the **original**, also in the rows of its views. `datasets`
                decodes it when a row is read. It is None for an image that is not a readable file of its own, as in an
                archive.
            embeddings: Adds the column `embedding`, float32 `[D]`.
            images_root: The folder that holds the images on this machine. By default they are read from where the run
                read them, if a run of this user did.

        Returns:
            The dataset, held in memory, with the columns of `to_pandas` and those that are added.

        Raises:
            MissingExtra: If the extra `datasets` is not installed.

        Example:
            >>> rows = study.to_datasets()
            >>> type(rows.features["image"]).__name__, rows.num_rows
            ('Image', 30)
            >>> rows[0]["image"].size, len(rows[0]["embedding"])
            ((40, 32), 8)
        """
        try:
            import datasets
        except ImportError as error:
            raise MissingExtra("to_datasets", "datasets") from error
        reader = replace(Reader(self.folder), images_root=check_images_root(images_root))
        table = _rows_frame(reader, embeddings=embeddings).to_arrow()
        texts = pa.large_string(), pa.string_view()
        fields = (field.with_type(pa.string()) if field.type in texts else field for field in table.schema)
        table = table.cast(pa.schema(fields))
        if images:
            table = table.append_column("image", _images(reader, table["image_id"].to_pylist()))
        features = datasets.Features.from_arrow_schema(table.schema)
        if images:
            features["image"] = datasets.Image()
        words = f"Metrics and embeddings of {reader.naming.setting(reader.info.encoder.name)}, measured by embedshift"
        return datasets.Dataset(table, info=datasets.DatasetInfo(description=words, features=features))

    def card(self) -> str:
        """Returns a Markdown section for the model card of the encoder.

        It says what was measured, has a table of relative shifts with 95 % intervals and of the recall of a search if
        the study has one, the limits, the command that repeats the measurement, and a citation. Names are escaped, and
        no path of this machine is in it. It has no front matter, so that it fits into a card that exists.

        Example:
            >>> print(study.card().splitlines()[0])
            ## How far the embedding moves when an image changes
        """
        from embedshift.study.card import card  # with jinja2

        return card(Reader(self.folder))


def check_images_root(images_root: str | Path | None) -> Path | None:
    """Returns the folder that holds a study's images on this machine; UsageError if there is no such folder."""
    root = None if images_root is None else expanded(images_root)
    if root is not None and not root.is_dir():
        raise UsageError(f"`images_root`: {root}: no such folder")
    return root


def _rows_frame(reader: Reader, *, embeddings: bool) -> pl.DataFrame:
    rows = reader.rows()
    flat = [name for name, kind in rows.collect_schema().items() if not kind.is_nested() and name != "pixels"]
    return rows.select([*flat, *(["embedding"] if embeddings else [])]).collect()


def _images(reader: Reader, image_ids: list[str]) -> pa.Array:
    files, missing = dict[str, str](), dict[str, str]()
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
    path = os.path.join(reader.source["root"], image_id)
    path = os.path.abspath(os.fsdecode(path.encode("utf-8", "surrogateescape")))
    reader.roots.check(path)
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        raise EmbedshiftError("no such file, or it cannot be read")
    return path
