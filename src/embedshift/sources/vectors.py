"""Vectors that exist: which row belongs to which image, view and draw, and the vectors of some images."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.errors import UsageError, reason
from embedshift.sources.base import ImageRef, stem
from embedshift.sources.folder import FolderSource
from embedshift.sources.vector_files import Part, open_part
from embedshift.sources.views_file import ORIGINALS, ViewsFile

KIND = "vectors"


class ListedImages(FolderSource):
    """The images of vectors, at the places in the column `path` of the tables in some files."""

    def __init__(self, files: Sequence[str], parts: Sequence[Part] | None = None) -> None:
        self.skipped: Counter[str] = Counter()
        parts = [open_part(file, ORIGINALS) for file in files] if parts is None else parts
        self.samples = [
            # A relative path is beside the table.
            ImageRef(row["image_id"], os.path.abspath(Path(part.name).parent / os.path.expanduser(row["path"])))
            for part in parts
            for row in part.keys.filter((pc.field("view") == ORIGINALS) & pc.field("path").is_valid()).to_pylist()
        ]
        folders = [os.path.dirname(sample.location) for sample in self.samples]
        root = {"root": os.path.commonpath(folders)} if folders else {}
        numbered = {"numbered": True} if parts and parts[0].numbered else {}
        self.description = {"kind": KIND, "paths": list(files), **root, **numbered}


class VectorSource(ListedImages):
    """The vectors of images and their views, given in any order.

    They are copied once into a file without a name in the folder, or above it, which the system deletes with the
    process. Memory holds the ids, and some bytes a row. `views_file` is what `embedshift views` wrote.
    """

    def __init__(self, parts: Sequence[Part], *, folder: Path, views_file: ViewsFile | None = None) -> None:
        super().__init__([os.path.abspath(part.name) for part in parts if os.path.isfile(part.name)], parts)
        self.views_file, self._names, self.dim = views_file, [part.name for part in parts], 0
        self._starts = np.cumsum([0, *(len(part.keys) for part in parts)])
        if not self._starts[-1]:
            raise UsageError(f"{self._names[0]}: has no rows")
        keys = pa.concat_tables([part.keys for part in parts])
        names = [ORIGINALS, *(() if views_file is None else views_file.augmentations)]
        listed = None if views_file is None else views_file.images
        images, ids = self._numbered(keys["image_id"], "image_id", known=listed)
        views, (_, *self.views) = self._numbered(keys["view"], "view", names, None if views_file is None else names)
        draws = keys["draw"].to_numpy()
        self.draws = 1 + int(draws.max())
        self.rows = self._index(images, views, draws, ids)
        of_images = np.array(ids, object)[images[views == 0]].tolist()
        texts = {name: keys[name].filter(pa.array(views == 0)).to_pylist() for name in ("group", "caption")}
        self.groups, captions = (
            {name: text for name, text in zip(of_images, cells, strict=True) if text is not None}
            for cells in texts.values()
        )
        captions = {image_id: image.caption for image_id, image in (listed or {}).items()} | captions
        places = {sample.image_id: sample.location for sample in self.samples}
        self.samples = [
            ImageRef(image_id, places.get(image_id, ""), captions.get(image_id), archive=KIND, position=position)
            for position, image_id in enumerate(ids)
        ]
        self._copy = tempfile.TemporaryFile(dir=existing_folder(folder))  # noqa: SIM115 - as long as this object
        self.digest = self._copied(parts, hashlib.sha256(json.dumps([ids, self.views]).encode() + self.rows.tobytes()))

    def vectors(self, positions: Sequence[int]) -> Floats:
        """Returns the vectors of some images `[n, 1 + A * draws, D]`: the original first, then draw by draw."""
        # Row by row: of a mapped file, the pages around each row would be in memory, too.
        rows, size = self.rows[list(positions)], 4 * self.dim
        content = b"".join(os.pread(self._copy.fileno(), size, row * size) for row in rows.ravel().tolist())
        return np.frombuffer(content, np.float32).reshape(*rows.shape, self.dim)

    def place(self, row: int) -> str:
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return f"{self._names[number]}: row {row - self._starts[number]}"

    def _numbered(
        self, column: pa.ChunkedArray, name: str, first: Iterable[str] = (), known: Iterable[str] | None = None
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Returns the number of each row's text, and the texts: `first`, then others in the order they come."""
        # If some are `known`, no others are accepted; without their endings they are the same.
        for row in np.flatnonzero(pc.fill_null(pc.equal(column, ""), True).to_numpy())[:1]:
            raise UsageError(f"{self.place(row)} has no {name}")
        coded = column.combine_chunks().dictionary_encode()
        given, rows = coded.dictionary.to_pylist(), coded.indices.to_numpy()
        by_stem = {stem(text): text for text in known or ()}
        own = given if known is None else [by_stem.get(stem(text), "") for text in given]
        if "" in own:
            row, text = int(np.argmax(rows == own.index(""))), given[own.index("")]
            raise UsageError(f"{self.place(row)} has the {name} {text!r}, which {ViewsFile.FILE} does not have")
        numbers = {text: number for number, text in enumerate(dict.fromkeys([*first, *own]))}
        return np.array([numbers[text] for text in own], np.int64)[rows], [*numbers]

    def _index(
        self, images: NDArray[np.int64], views: NDArray[np.int64], draws: NDArray[np.int64], ids: Sequence[str]
    ) -> NDArray[np.int64]:
        """Returns the row of every image's view and draw, `[N, 1 + A * draws]`; refuses doubles and gaps."""
        width = 1 + len(self.views) * self.draws
        if not self.views:
            raise UsageError(f"all vectors are of {ORIGINALS!r}; give those of one view at least")
        if (draws < 0).any():
            raise UsageError(f"{self.place(int(draws.argmin()))} has a draw that is not numbered from 0")
        if len(ids) * width > 64 * len(images):
            words = f"{len(self.views):,} views with {self.draws:,} draws of {len(ids):,} images"
            raise UsageError(f"only {len(images):,} vectors for {words}; give one for each")
        slots = np.where(views > 0, draws * len(self.views) + views, 0)
        counts = np.bincount(images * width + slots, minlength=len(ids) * width).reshape(-1, width)
        if (counts > 1).any():
            image, slot = np.argwhere(counts > 1)[0]
            raise UsageError(f"image {ids[image]!r} has {counts[image, slot]} vectors of {self._named(slot)}; give one")
        for slot, missing in enumerate((counts == 0).T):
            if missing.any():
                words = f"{missing.sum():,} of {len(ids):,} images have no vector of {self._named(slot)}"
                raise UsageError(f"{words} (first: {ids[missing.argmax()]}); give it, or leave these images out")
        rows = np.empty((len(ids), width), np.int64)
        rows[images, slots] = np.arange(len(images))
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
                        raise UsageError(f"{self.place(row)} {words}; give vectors of one encoder")
                    if (zero := np.flatnonzero(~vectors.any(axis=1))).size:
                        words = "is a zero vector, which has no direction; leave its image out"
                        raise UsageError(f"{self.place(row + int(zero[0]))} {words}")
                    digest.update(content := vectors.tobytes())
                    self._copy.write(content)
                    row += len(vectors)
            self._copy.flush()
        except OSError as error:
            raise UsageError(
                f"the vectors cannot be read, or copied to a file beside `out` ({reason(error):.200})"
            ) from error
        return str(digest.hexdigest())


def existing_folder(folder: Path) -> Path:
    return next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
