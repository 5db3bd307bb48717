"""The vectors of a study and a gallery among which indexes are tried."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from embedshift.arrays import Floats, GroupNumbers
from embedshift.augmentations import ORIGINAL
from embedshift.errors import UsageError
from embedshift.questions.index.experiment import Vectors
from embedshift.statistics.index import all_vectors
from embedshift.statistics.index_parts import layout_of
from embedshift.statistics.sample import group_numbers
from embedshift.statistics.vector_layouts import (
    LAYOUTS,
    MIRRORED,
    OF_GALLERY,
    OF_QUERIES,
    ONE,
    TILE_VECTORS,
    TILES,
    as_query,
)
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import images_tried
from embedshift.store.gallery import Originals, originals
from embedshift.store.reader import Reader

# The column of a study that an index needs beside the embeddings.
COLUMN: Mapping[str, str] = OF_GALLERY | OF_QUERIES
WORDS = {TILE_VECTORS: "tiles: run it with `tiles` 4", MIRRORED: "mirror images: run it with `mirrored`"}


def possible(reader: Reader) -> Iterator[str]:
    """Yields the indexes of several vectors of an image that a study has."""
    yield from (layout for layout in LAYOUTS if layout != ONE and COLUMN[layout] in reader.image_rows.columns)


def refuse_without_vectors(reader: Reader, name: str) -> None:
    """Raises UsageError if a study lacks the vectors of an index."""
    layout = layout_of(name)
    if layout != ONE and layout not in possible(reader):
        raise UsageError(f"{reader.folder}: the index {name:.60} needs vectors of {WORDS[COLUMN[layout]]}")


@dataclass(eq=False)
class Source:
    """Reads unit vectors of a study's first images, whose order is drawn by the seed, and of a gallery.

    Args:
        reader: The study.
        path: Other images to search among: a study or a file; "" = none.
    """

    reader: Reader
    path: str = ""

    @functools.cached_property
    def groups(self) -> GroupNumbers | None:
        return self.reader.first_groups(self._count)

    @functools.cached_property
    def plain(self) -> Vectors:
        """The vectors of an index of one vector an image."""
        own, views = self._queries(ONE)
        groups = group_numbers(self.groups, self._count)
        return Vectors(own, views, groups, self.reader.augmentations, self._others[1])

    def variant(self, layout: str) -> Vectors | str:
        """Returns the same images and views with the vectors of a part such as "tiles", or why there are none."""
        plain = self.plain
        queries, views = self._queries(layout) if layout in OF_QUERIES else (plain.originals, plain.views)
        if layout not in OF_GALLERY:
            return replace(plain, views=views, queries=queries)
        try:
            found = originals(self.reader, self.path, layout)
        except UsageError:
            return f"{self.path or self.reader.folder} has no vectors of {WORDS[OF_GALLERY[layout]]}"
        unit = all_vectors if layout == TILES else _unit
        own = unit(np.asarray(found.gallery.vectors[: self._count]))
        return replace(plain, originals=own, views=views, gallery=unit(self._same(found)), queries=queries)

    @functools.cached_property
    def _count(self) -> int:
        return images_tried(self.reader)

    def _queries(self, layout: str) -> tuple[Floats, Floats]:
        """Returns originals `[n, D]` and views `[n, draws, A, D]` as queries; 0 where one is missing."""
        order, rows = self.reader.image_rows.layout, self.reader.image_rows.head(self._count)
        columns = [OF_QUERIES[layout]] if layout in OF_QUERIES else []
        blocks = list[Floats]()
        for block in rows.blocks("embedding", *columns):
            mirrored = block[columns[0]].to_numpy() if columns else None
            blocks.append(_unit(as_query(layout, block["embedding"].to_numpy(), mirrored)))
        every = np.concatenate(blocks).reshape(self._count, len(order.views), -1)
        views = np.stack([every[:, order.positions(name)] for name in self.reader.augmentations], axis=2)
        return every[:, order.views.index(ORIGINAL)], views

    @functools.cached_property
    def _others(self) -> tuple[pl.Series, Floats]:
        """The names and unit vectors of the gallery, without the study's own originals."""
        if not self.path:
            return pl.Series([], dtype=pl.String), np.zeros((0, self.reader.dim), np.float32)
        found = originals(self.reader, self.path)
        return found.ids[found.images :], normalised_float32(np.asarray(found.gallery.vectors[found.images :]))

    def _same(self, found: Originals) -> Floats:
        """Returns the vectors of the images of the plain gallery, in its order; 0 for one that is not there."""
        rows = {name: row for row, name in enumerate(found.ids[found.images :], start=found.images)}
        places = np.array([rows.get(name, -1) for name in self._others[0]], np.int64)
        vectors = np.asarray(found.gallery.vectors[places])
        vectors[places < 0] = 0
        return vectors


def _unit(vectors: Floats) -> Floats:
    return normalised_float32(np.nan_to_num(vectors))
