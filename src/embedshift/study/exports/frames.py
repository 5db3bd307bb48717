"""The rows of a study as one table, without the lists of a row, for pandas and Hugging Face `datasets`."""

from typing import TYPE_CHECKING

import polars as pl

from embedshift.errors import EmbedshiftError
from embedshift.store.reader import Reader

if TYPE_CHECKING:
    import pandas


def rows_frame(reader: Reader, *, embeddings: bool) -> pl.DataFrame:
    """Returns one row per image, view and draw, with every column that holds one value."""
    rows = reader.rows()
    flat = [name for name, kind in rows.collect_schema().items() if not kind.is_nested() and name != "pixels"]
    return rows.select([*flat, *(["embedding"] if embeddings else [])]).collect()


def to_pandas(reader: Reader, *, embeddings: bool) -> "pandas.DataFrame":
    """Returns the rows as a pandas DataFrame; see `Study.to_pandas`."""
    try:
        import pandas  # noqa: F401 - Polars imports it too, but would say so in three lines
    except ImportError as error:
        raise EmbedshiftError("to_pandas needs pandas: pip install pandas") from error
    return rows_frame(reader, embeddings=embeddings).to_pandas()
