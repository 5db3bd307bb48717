"""Vectors that exist: which row belongs to which image, view and draw, and the vectors of some images."""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.config.files import read_file
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.sources.base import IMAGE_BYTES, ImageRef, stem
from embedshift.sources.vector_files import TEXTS, Part, Rows, open_part
from embedshift.sources.views_file import ORIGINALS, WrittenViews

KIND = "vectors"
# Number of image, number of view, and draw of some rows, `[n]` each.
Keys = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


class VectorSource:
    """The vectors of images and their views, given in any order.

    They are copied once into a file without a name, which the system deletes with the process. Memory holds the ids,
    and eight bytes a row.

    Args:
        parts: The places of the vectors.
        folder: The folder of the copy, or one that will be there.
        written: What `embedshift views` wrote of the views.
    """

    def __init__(self, parts: Sequence[Part], *, folder: Path, written: WrittenViews | None = None) -> None:
        self.written, self.skipped = written, Counter[str]()
        self._parts, self._starts, self.dim = parts, [0], 0
        self._written_ids = {stem(image_id): image_id for image_id in written.images} if written else {}
        self._numbers: dict[str, int] = {}
        names = (ORIGINALS, *(written.augmentations if written else ()))
        self._views = {name: number for number, name in enumerate(names)}
        self.texts: dict[str, dict[str, str]] = {name: {} for name in TEXTS}
        self._kind = np.dtype(np.float16 if all(part.is_half for part in parts) else np.float32)
        self._copy = tempfile.TemporaryFile(dir=existing_folder(folder))  # noqa: SIM115 - open as long as this object
        digest = hashlib.sha256()
        keys = [key for part in parts for key in self._read(part, digest)]
        self._copy.flush()
        digest.update("\n".join(self._numbers).encode())
        images, views, draws = (np.concatenate(column) for column in zip(*keys, strict=True))
        self.draws = 1 + int(draws.max(initial=0, where=views > 0))
        self._rows = self._index(images, views, draws)
        digest.update(self._rows.tobytes())
        self.digest = digest.hexdigest()
        captions, paths = self.texts["caption"], self.texts["path"]
        self.samples = [
            ImageRef(image_id, paths.get(image_id, ""), captions.get(image_id), archive=KIND, position=position)
            for image_id, position in self._numbers.items()
        ]
        root = {"root": os.path.commonpath([os.path.dirname(path) for path in paths.values()])} if paths else {}
        files = [os.path.abspath(part.name) for part in parts if os.path.isfile(part.name)]
        self.description: Mapping[str, Any] = {"kind": KIND, "paths": files, **root}

    @property
    def views(self) -> list[str]:
        """Names of the views without the original."""
        return [*self._views][1:]

    def vectors(self, positions: Sequence[int]) -> Floats:
        """Returns the vectors of some images `[n, 1 + A * draws, D]`: the original first, then draw by draw."""
        # Mapped for one use: what was read would stay in memory otherwise.
        copied = np.memmap(self._copy, self._kind, "r").reshape(-1, self.dim)
        return np.asarray(copied[self._rows[list(positions)]], np.float32)

    def place(self, position: int, view: int) -> str:
        """Returns where the vector of an image's view stands, in words."""
        row = int(self._rows[position, view])
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return f"row {row - self._starts[number]} of {self._parts[number].name}"

    def read(self, sample: ImageRef) -> bytes:
        """Raises: measuring vectors reads no image."""
        raise EmbedshiftError("only its vectors are given")

    def block(self, sample: ImageRef) -> None:
        """Returns None: vectors are read in any order."""

    def _read(self, part: Part, digest: Any) -> Iterator[Keys]:
        """Checks and copies the vectors of one place; yields what its rows are of."""
        count = 0
        try:
            for rows in part.rows():
                keys = self._keys(rows, part, count)
                vectors = self._checked(rows, part, count).tobytes()
                digest.update(vectors)
                self._copy.write(vectors)
                count += len(rows.vectors)
                yield keys
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{part.name}: cannot be read, or not copied ({reason(error):.200})") from error
        if not count:
            raise UsageError(f"{part.name}: has no rows")
        self._starts.append(self._starts[-1] + count)

    def _checked(self, rows: Rows, part: Part, start: int) -> NDArray[Any]:
        """Returns the vectors as they are copied; refuses other lengths and zero vectors."""
        with np.errstate(over="ignore"):  # an infinite number is a failure of its image
            vectors = np.ascontiguousarray(rows.vectors, self._kind)
        self.dim = self.dim or vectors.shape[1]
        if vectors.shape[1] != self.dim:
            words = f"{vectors.shape[1]} numbers, but others have {self.dim}; give vectors of one encoder"
            raise UsageError(f"{part.name}: row {start} has {words}")
        if (zero := np.flatnonzero(~vectors.any(axis=1))).size:
            image_id, words = rows.columns["image_id"][zero[0]], "a zero vector has no direction; leave the image out"
            raise UsageError(f"{part.name}: row {start + zero[0]} (image {image_id}): {words}")
        return vectors

    def _keys(self, rows: Rows, part: Part, start: int) -> Keys:
        count, columns = len(rows.vectors), {"view": [part.view] * len(rows.vectors), **rows.columns}
        for name in ("image_id", "view"):
            if not all(columns[name]):
                row = next(row for row, value in enumerate(columns[name]) if not value)
                raise UsageError(f"{part.name}: row {start + row} has no {name!r}")
        ids, views = columns["image_id"], columns["view"]
        if self.written is not None:
            ids = [self._written_id(image_id, part) for image_id in ids]
            if unknown := {*views} - {*self._views}:
                words = f"`views` has no view {min(unknown)!r}; it has {', '.join(self.views)}"
                raise UsageError(f"{part.name}: {words}")
        for name, texts in self.texts.items():
            for image_id, view, text in zip(ids, views, columns.get(name, ()), strict=False):
                if view == ORIGINALS and text is not None:
                    texts[image_id] = _absolute(text, part) if name == "path" else str(text)
        draws = np.array(columns.get("draw", [0] * count), np.int64)
        if (draws < 0).any():
            raise UsageError(f"{part.name}: row {start + draws.argmin()}: draws are numbered from 0")
        images = [self._numbers.setdefault(image_id, len(self._numbers)) for image_id in ids]
        return np.array(images), np.array([self._views.setdefault(view, len(self._views)) for view in views]), draws

    def _written_id(self, image_id: str, part: Part) -> str:
        """Returns the id of an image in views.json, which may have another ending."""
        if stem(image_id) not in self._written_ids:
            words = f"`views` has no image {image_id!r}; it has {', '.join([*self._written_ids.values()][:2])}"
            raise UsageError(f"{part.name}: {words}")
        return self._written_ids[stem(image_id)]

    def _index(self, images: NDArray[Any], views: NDArray[Any], draws: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the row of every image's view and draw, `[N, 1 + A * draws]`; refuses doubles and gaps."""
        ids, names, count = [*self._numbers], self.views, len(images)
        width = 1 + len(names) * self.draws
        if not names:
            raise UsageError(f"all vectors are of {ORIGINALS!r}; give those of one view at least")
        if len(ids) * width > 64 * count:
            words = f"{len(names):,} views and {self.draws:,} draws; give a row for each view and draw of an image"
            raise UsageError(f"only {count:,} rows for {len(ids):,} images, {words}")
        slots = np.where(views > 0, draws * len(names) + views, 0)
        counts = np.bincount(images * width + slots, minlength=len(ids) * width).reshape(-1, width)
        if (counts > 1).any():
            image, slot = np.argwhere(counts > 1)[0]
            raise UsageError(f"image {ids[image]!r} has {counts[image, slot]} vectors of {self._named(slot)}; give one")
        for slot, missing in enumerate((counts == 0).T):
            if missing.any():
                words = f"{missing.sum():,} of {len(ids):,} images have no vector of {self._named(slot)}"
                raise UsageError(f"{words} (first: {ids[missing.argmax()]}); give it, or leave these images out")
        rows = np.empty((len(ids), width), np.int64)
        rows[images, slots] = np.arange(count)
        return rows

    def _named(self, slot: int) -> str:
        draw, view = divmod(int(slot) - 1, len(self.views))
        name = ORIGINALS if slot == 0 else self.views[view]
        return repr(name) + (f", draw {draw}" if slot and self.draws > 1 else "")


def existing_folder(folder: Path) -> Path:
    """Returns the folder, or the first above it that exists."""
    return next(place for place in (folder, *folder.resolve().parents) if place.is_dir())


class ListedImages:
    """The images whose vectors a table holds, at the places in its column `path`."""

    def __init__(self, files: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": KIND, "paths": list(files)}
        self.samples = [sample for file in files for sample in _listed(open_part(file, ORIGINALS))]

    def read(self, sample: ImageRef) -> bytes:
        return read_file(sample.location, IMAGE_BYTES)

    def block(self, sample: ImageRef) -> None:
        """Returns None: each image is read by itself."""


def _listed(part: Part) -> Iterator[ImageRef]:
    for vectors, columns in part.rows():
        views = columns.get("view", [part.view] * len(vectors))
        for image_id, view, path in zip(columns["image_id"], views, columns.get("path", ()), strict=False):
            if view == ORIGINALS and path is not None:
                yield ImageRef(image_id, _absolute(path, part))


def _absolute(path: str, part: Part) -> str:
    """Returns the place of an image; a relative one is beside the table that names it."""
    return os.path.abspath(Path(part.name).parent / os.path.expanduser(path))
