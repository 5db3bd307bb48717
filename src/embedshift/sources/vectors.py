"""Vectors that exist: which row belongs to which image, view and draw, and the vectors of some images."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.errors import UsageError, reason
from embedshift.sources.base import ImageRef, stem
from embedshift.sources.folder import FolderSource
from embedshift.sources.vector_files import Part, open_part
from embedshift.sources.views_file import FILE, ORIGINALS, WrittenViews

KIND = "vectors"


class ListedImages(FolderSource):
    """The images of vectors, at the places in the column `path` of the tables in some files."""

    def __init__(self, files: Sequence[str], parts: Sequence[Part] | None = None) -> None:
        self.skipped: Counter[str] = Counter()
        parts = [open_part(file, ORIGINALS) for file in files] if parts is None else parts
        self.samples = [
            # A relative path is beside the table.
            ImageRef(image_id, os.path.abspath(Path(part.name).parent / os.path.expanduser(path)))
            for part in parts
            for image_id, path in part.keys.filter(view=ORIGINALS).select("image_id", "path").drop_nulls().iter_rows()
        ]
        folders = [os.path.dirname(sample.location) for sample in self.samples]
        root = {"root": os.path.commonpath(folders)} if folders else {}
        self.description = {"kind": KIND, "paths": list(files), **root}


class VectorSource(ListedImages):
    """The vectors of images and their views, given in any order.

    They are copied once into a file without a name, which the system deletes with the process. Memory holds the ids,
    and some bytes a row.

    Args:
        parts: The places of the vectors.
        folder: The folder of the copy, or one that will be there.
        written: What `embedshift views` wrote of the views.
    """

    def __init__(self, parts: Sequence[Part], *, folder: Path, written: WrittenViews | None = None) -> None:
        super().__init__([os.path.abspath(part.name) for part in parts if os.path.isfile(part.name)], parts)
        self.written, self._names, self.dim = written, [part.name for part in parts], 0
        self._starts = np.cumsum([0, *(len(part.keys) for part in parts)])
        keys = self._checked_keys(pl.concat([part.keys for part in parts]).with_row_index("row"))
        ids = keys["image_id"].unique(maintain_order=True).to_list()
        names = keys["view"].unique(maintain_order=True).to_list() if written is None else [*written.augmentations]
        self.views = [name for name in names if name != ORIGINALS]
        self.draws = 1 + int(keys.select(pl.col("draw").max()).item())
        self._rows = self._index(keys, ids)
        originals = keys.filter(view=ORIGINALS)
        self.groups = dict(originals.select("image_id", "group").drop_nulls().iter_rows())
        captions = dict(originals.select("image_id", "caption").iter_rows())
        places = {sample.image_id: sample.location for sample in self.samples}
        self.samples = [
            ImageRef(image_id, places.get(image_id, ""), captions[image_id], archive=KIND, position=position)
            for position, image_id in enumerate(ids)
        ]
        self._copy = tempfile.TemporaryFile(dir=existing_folder(folder))  # noqa: SIM115 - as long as this object
        self.digest = self._copied(parts, hashlib.sha256("\n".join(ids).encode() + self._rows.tobytes()))

    def vectors(self, positions: Sequence[int]) -> Floats:
        """Returns the vectors of some images `[n, 1 + A * draws, D]`: the original first, then draw by draw."""
        # Mapped for one use: what was read would stay in memory otherwise.
        copied = np.memmap(self._copy, np.float32, "r").reshape(-1, self.dim)
        return np.asarray(copied[self._rows[list(positions)]])

    def place(self, position: int, slot: int) -> str:
        """Returns where the vector of an image's view is, in words."""
        return self._named_row(int(self._rows[position, slot]))

    def _named_row(self, row: int) -> str:
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return f"{self._names[number]}: row {row - self._starts[number]}"

    def _checked_keys(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Returns what rows are of; the ids as in views.json, if there is one, where they may have other endings."""
        if keys.is_empty():
            raise UsageError(f"{self._names[0]}: has no rows")
        for is_wrong, words in (
            (pl.col("image_id").is_null(), "has no image_id"),
            (pl.col("view").is_null(), "has no view"),
            (~pl.col("draw").is_between(0, len(keys)), "has a draw that is not numbered from 0"),
        ):
            for row in keys.filter(is_wrong)["row"].head(1):
                raise UsageError(f"{self._named_row(row)} {words}")
        if self.written is None:
            return keys
        by_stem = {stem(image_id): image_id for image_id in self.written.images}
        known = {image_id: by_stem.get(stem(image_id)) for image_id in keys["image_id"].unique()}
        views = [ORIGINALS, *self.written.augmentations]
        for name, listed in (("image_id", [name for name, own in known.items() if own]), ("view", views)):
            for row, text in keys.filter(~pl.col(name).is_in(listed)).select("row", name).head(1).iter_rows():
                raise UsageError(f"{self._named_row(row)} has the {name} {text!r}, which {FILE} does not have")
        return keys.with_columns(pl.col("image_id").replace_strict(known, return_dtype=pl.String))

    def _index(self, keys: pl.DataFrame, ids: Sequence[str]) -> NDArray[np.int64]:
        """Returns the row of every image's view and draw, `[N, 1 + A * draws]`; refuses doubles and gaps."""
        width = 1 + len(self.views) * self.draws
        if not self.views:
            raise UsageError(f"all vectors are of {ORIGINALS!r}; give those of one view at least")
        if len(ids) * width > 64 * len(keys):
            words = f"{len(self.views):,} views with {self.draws:,} draws of {len(ids):,} images"
            raise UsageError(f"only {len(keys):,} vectors for {words}; give one for each")
        images, views = (
            keys[name].cast(pl.Enum(values)).to_physical().cast(pl.Int64).to_numpy()
            for name, values in (("image_id", ids), ("view", [ORIGINALS, *self.views]))
        )
        slots = np.where(views > 0, keys["draw"].to_numpy() * len(self.views) + views, 0)
        counts = np.bincount(images * width + slots, minlength=len(ids) * width).reshape(-1, width)
        if (counts > 1).any():
            image, slot = np.argwhere(counts > 1)[0]
            raise UsageError(f"image {ids[image]!r} has {counts[image, slot]} vectors of {self._named(slot)}; give one")
        for slot, missing in enumerate((counts == 0).T):
            if missing.any():
                words = f"{missing.sum():,} of {len(ids):,} images have no vector of {self._named(slot)}"
                raise UsageError(f"{words} (first: {ids[missing.argmax()]}); give it, or leave these images out")
        rows = np.empty((len(ids), width), np.int64)
        rows[images, slots] = np.arange(len(keys))
        return rows

    def _named(self, slot: int) -> str:
        draw, view = divmod(int(slot) - 1, len(self.views))
        name = ORIGINALS if slot == 0 else self.views[view]
        return repr(name) + (f", draw {draw}" if slot and self.draws > 1 else "")

    def _copied(self, parts: Sequence[Part], digest: Any) -> str:
        """Copies all vectors, and returns a hash of them; refuses different lengths and zero vectors."""
        row = 0
        try:
            for part in parts:
                for given in part.matrices():
                    with np.errstate(over="ignore"):  # an infinite number is a failure of its image
                        vectors = np.ascontiguousarray(given, np.float32)
                    self.dim = self.dim or vectors.shape[1]
                    if vectors.shape[1] != self.dim:
                        words = f"has {vectors.shape[1]} numbers, but others have {self.dim}"
                        raise UsageError(f"{self._named_row(row)} {words}; give vectors of one encoder")
                    if (zero := np.flatnonzero(~vectors.any(axis=1))).size:
                        words = "is a zero vector, which has no direction; leave its image out"
                        raise UsageError(f"{self._named_row(row + int(zero[0]))} {words}")
                    digest.update(content := vectors.tobytes())
                    self._copy.write(content)
                    row += len(vectors)
            self._copy.flush()
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"the vectors cannot be read, or not copied ({reason(error):.200})") from error
        return str(digest.hexdigest())


def existing_folder(folder: Path) -> Path:
    """Returns the folder, or the first above it that exists."""
    return next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
