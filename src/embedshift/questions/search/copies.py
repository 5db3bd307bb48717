"""The table `gallery_copies`: likely copies between a study and a gallery."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import expanded
from embedshift.questions.search import Choices
from embedshift.questions.search.settings import gallery_label, settings
from embedshift.store.alike import alike
from embedshift.store.gallery import originals
from embedshift.store.grouping import NAMES
from embedshift.store.naming import GALLERY
from embedshift.store.reader import Reader
from embedshift.store.table import Table, table_path

NAME = "gallery_copies"
SCHEMA = pl.Schema({"image_id": str, "other": str, "exact": bool, "cosine": float, "expected_false": float})


def equal_first(pairs: pl.DataFrame, reader: Reader, other: Reader) -> pl.DataFrame:
    """Returns pairs of an image and one of another reader, those of equal pixels first, then the nearest."""
    sides = zip(NAMES, (reader, other), strict=True)
    first, second = (_pixels(pairs[end].str.strip_prefix(GALLERY), of) for end, of in sides)
    table = pairs.with_columns(exact=(first == second).fill_null(value=False))
    ordered = table.sort("exact", "cosine", *NAMES, descending=[True, True, False, False])
    return ordered.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _pixels(ids: pl.Series, reader: Reader) -> pl.Series:
    """Returns hashes of the pixels of originals; null where they are not known."""
    if not reader.exists() or not reader.info.has_pixels:
        return pl.Series([None] * len(ids), dtype=pl.String)
    rows = reader.rows().filter((pl.col("view") == ORIGINAL) & pl.col("image_id").is_in(ids.unique().to_list()))
    known = dict(rows.select("image_id", "pixels").collect().iter_rows())
    return pl.Series([known.get(each) for each in ids], dtype=pl.String)


def gallery_copies(reader: Reader) -> pl.DataFrame:
    """Returns pairs of an original and an image of the gallery by a tail of such pairs, those of equal pixels first."""
    path = str(reader.choice(Choices).gallery or "")
    if not path:
        return pl.DataFrame(schema=SCHEMA)
    source = originals(reader, path, has_own=True)
    found = alike(reader, source, is_between=True, **settings(reader).from_where(reader))
    ends = (source.ids.gather(positions) for positions in (found.first, found.second))
    columns = dict(zip(NAMES, ends, strict=True)) | {"cosine": found.cosine, "expected_false": found.expected}
    pairs = pl.DataFrame(columns, schema_overrides=dict.fromkeys(NAMES, pl.String))
    return equal_first(pairs, reader, Reader(Path(expanded(path))))


def _made_from(reader: Reader) -> Mapping[str, str]:
    """Returns the settings: of the call if it names a gallery or none, else as they were."""
    place, kept = reader.choice(Choices).gallery, reader.kept_settings(NAME)
    if place is None and kept:
        return kept
    label = gallery_label(str(place or ""))
    return settings(reader).for_duplicates | {"gallery": label} if label else {"gallery": ""}


def _is_available(reader: Reader) -> bool:
    is_asked = bool(reader.choice(Choices).gallery) or table_path(reader.folder, NAME).is_file()
    return is_asked and reader.info.has_vectors


TABLE = Table[Reader](
    NAME,
    gallery_copies,
    is_available=_is_available,
    requires="a gallery, and stored embeddings: give `gallery`",
    settings=_made_from,
    names=NAMES,
    doc="Likely copies between the study and its gallery: those of equal pixels first.",
)
