"""Vectors that exist: the files and arrays that hold them, and which row belongs to which image, view and draw."""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.config.safe_files import expanded, open_file, read_text
from embedshift.errors import UsageError, cause, reason
from embedshift.sources.base import LIST_BYTES, ImageRef, stem, text_or_none
from embedshift.sources.folder import FolderSource
from embedshift.sources.views_file import ORIGINALS, ViewsFile

log = logging.getLogger(__name__)

# Bytes of vectors in float32 that are in memory at once, and bytes that are read ahead of them: a row group may be
# larger than memory.
AT_ONCE, AHEAD = 2**23, 2**20
# What the column of vectors may be called; the second name is that of a study's own shards.
VECTOR_COLUMNS = ("vector", "embedding")
# The most tiles of an image.
MOST_TILES = 64
# What rows of originals may say of their image.
TEXTS = ("group", "caption", "path")
_NUMBERS = {"draw": pa.int64(), "tile": pa.int64()}
_COLUMNS = {"image_id": pa.string(), "view": pa.string(), **_NUMBERS, **dict.fromkeys(TEXTS, pa.string())}


@dataclass(frozen=True, eq=False)
class Part:
    """Vectors from one place: what its rows are of (`_COLUMNS`), and the vectors in their order, some at a time."""

    name: str
    keys: pa.Table
    matrices: Callable[[], Iterator[NDArray[Any]]]
    numbered: bool = False  # the ids are the numbers of the rows

    def floats(self) -> Iterator[Floats]:
        """Yields the vectors as float32; a number that is too large for it becomes infinite."""
        for matrix in self.matrices():
            with np.errstate(over="ignore"):
                vectors = np.ascontiguousarray(matrix, np.float32)
            yield vectors


def open_part(
    given: Any,
    view: str,
    ids: Sequence[str] | None = None,
    groups: Sequence[object] | None = None,
    *,
    named: bool = True,
    used: Sequence[str] = (),
) -> Part:
    """Opens vectors: the path of a Parquet or npy file, a frame with one of its columns, or an array.

    Rows without a view are of `view`; `ids` and `groups` are those of an array's rows, None = their numbers, and none.
    Without `named`, a frame or file may lack the column `image_id`. Columns that the caller reads are `used`.
    """
    name = os.path.expanduser(given) if isinstance(given, str | os.PathLike) else f"the vectors of {view!r}"
    with _readable(name):
        if isinstance(given, str | os.PathLike):
            path = Path(name)
            open_file(path).close()  # refuses what is no file, for which a reader would wait
            if path.suffix.lower() == ".parquet":
                with open_file(path) as opened, pq.ParquetFile(opened) as file:
                    schema = file.schema_arrow
                    keys = file.read([column for column in _COLUMNS if column in schema.names])
                return _table(
                    name, view, schema, keys, lambda column: _column(path, column), groups, named=named, used=used
                )
            return _array(name, view, lambda: np.load(path, mmap_mode="r", allow_pickle=False), ids, groups)
        if {"image_id", *VECTOR_COLUMNS} & {*map(str, getattr(given, "columns", ()))}:
            frame = pa.table(given)
            keys = frame.select([column for column in _COLUMNS if column in frame.column_names])
            settings: Any = {"named": named, "used": used}
            return _table(name, view, frame.schema, keys, lambda column: iter(frame[column].chunks), groups, **settings)
        array = _as_array(given)
        return _array(name, view, lambda: array, ids, groups)


def listed_ids(given: object) -> list[str] | None:
    if isinstance(given, str | os.PathLike):
        given = read_text(expanded(given), LIST_BYTES).splitlines()
    if not isinstance(given, Iterable | None):
        raise UsageError(f"`ids`: give a list of ids or a text file, not {given!r:.60}")
    return None if given is None else [str(image_id) for image_id in given]


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        words = "give a Parquet file, an npy file, or rows of equal length"
        raise UsageError(f"{name}: cannot be read ({cause(error):.200}); {words}") from error


def _array(
    name: str, view: str, opened: Callable[[], Any], ids: Sequence[str] | None, groups: Sequence[object] | None
) -> Part:
    array = opened()
    shape: tuple[int, ...] = getattr(array, "shape", ())
    kind: Any = getattr(array, "dtype", type(array).__name__)
    if len(shape) != 2 or not shape[1] or kind.kind not in "fiu":
        raise UsageError(f"{name}: {kind} of shape {shape}; give numbers [images, length of a vector]")
    columns: dict[str, Sequence[object]] = {"image_id": range(shape[0]) if ids is None else ids}
    columns |= {} if groups is None else {"group": groups}
    for column, values in columns.items():
        if len(values) != shape[0]:
            raise UsageError(f"{name}: has {shape[0]:,} rows, but {len(values):,} of {column!r} are given")
    texts = {column: [text_or_none(value) for value in values] for column, values in columns.items()}
    step = _rows_at_once(shape[1])

    def matrices() -> Iterator[NDArray[Any]]:
        # A file is mapped for one use: what was read would stay in memory otherwise.
        return (opened()[start : start + step] for start in range(0, shape[0], step))

    return Part(name, _keys(pa.table(texts), view), matrices, numbered=ids is None)


def _table(
    name: str,
    view: str,
    schema: pa.Schema,
    keys: pa.Table,
    arrays: Callable[[str], Iterator[pa.Array]],
    groups: Sequence[object] | None = None,
    *,
    named: bool = True,
    used: Sequence[str] = (),
) -> Part:
    if groups is not None:
        raise UsageError(f"{name}: `groups` is a list, which is for arrays; give the column group, or a mapping")
    vector = next((column for column in VECTOR_COLUMNS if column in schema.names), VECTOR_COLUMNS[0])
    if lacking := {vector, *(["image_id"] if named else [])} - {*schema.names}:
        raise UsageError(f"{name}: has no column {min(lacking)!r}; give {'image_id, view and ' if named else ''}vector")
    kind = schema.field(vector).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    number = kind.value_type if is_list else pa.null()
    if not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise UsageError(f"{name}: its column {vector!r} holds {kind}, not lists of numbers")
    if unused := [column for column in schema.names if column not in (*_COLUMNS, *used, vector)]:
        log.info("%s: columns that are not used: %s", name, ", ".join(unused))

    def matrices() -> Iterator[NDArray[Any]]:
        start = 0
        with _readable(name):
            for array in filter(len, arrays(vector)):
                yield _matrix(array, name, start)
                start += len(array)

    return Part(name, _keys(keys, view), matrices)


def _column(path: Path, name: str) -> Iterator[pa.Array]:
    with open_file(path) as opened, pq.ParquetFile(opened, buffer_size=AHEAD) as file:
        column = next(i for i in range(len(file.schema)) if file.schema.column(i).path.partition(".")[0] == name)
        for group in range(file.num_row_groups):  # a reader of all would keep what it has read
            about = file.metadata.row_group(group)
            rows = _rows_at_once(about.column(column).num_values // max(1, about.num_rows))
            yield from (batch.column(0) for batch in file.iter_batches(rows, row_groups=[group], columns=[name]))


def _rows_at_once(dim: int) -> int:
    return max(1, AT_ONCE // (4 * max(1, dim)))


def _keys(given: pa.Table, view: str) -> pa.Table:
    names = given.column_names
    cells = {
        name: _without_nan(given[name]).cast(kind) if name in names else pa.nulls(len(given), kind)
        for name, kind in _COLUMNS.items()
    }
    cells["view"] = cells["view"] if "view" in names else pa.array([view] * len(given), pa.string())
    keys = pa.table(cells | {name: pc.fill_null(cells[name], 0) for name in _NUMBERS})
    keys.validate(full=True)  # that texts are UTF-8
    return keys


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _matrix(lists: pa.Array, name: str, start: int) -> NDArray[Any]:
    """Returns vectors `[n, D]`; a missing number becomes NaN."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    if (different := np.flatnonzero((lengths != lengths[0]) | (lengths == 0))).size:
        length = lengths[different[0]]
        words = f"{length} numbers, but row {start} has {lengths[0]}" if length else "no vector"
        raise UsageError(f"{name}: row {start + different[0]} has {words}")
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lists), -1)


def _as_array(given: Any) -> NDArray[Any]:
    if hasattr(given, "detach"):  # a tensor of torch, which nothing here imports
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    array: Any = np.ma.asarray(given.to_numpy() if hasattr(given, "to_numpy") else given)
    if array.dtype == object:
        array = np.ma.stack([np.ma.asarray(row) for row in array])
    # What is masked is no number, for which an array of integers has no value.
    return np.asarray(array.data) if np.ma.getmask(array) is np.ma.nomask else array.astype(np.float64).filled(np.nan)


KIND = "vectors"
# Rows of whole originals.
_OF_IMAGES = (pc.field("view") == ORIGINALS) & (pc.field("tile") == 0)


class ListedImages(FolderSource):
    """The images of vectors, at the places in the column `path` of the tables in some files."""

    def __init__(self, files: Sequence[str], parts: Sequence[Part] | None = None) -> None:
        self.skipped: Counter[str] = Counter()
        parts = [open_part(file, ORIGINALS) for file in files] if parts is None else parts
        self.samples = [
            # A relative path is beside the table.
            ImageRef(row["image_id"], os.path.abspath(Path(part.name).parent / os.path.expanduser(row["path"])))
            for part in parts
            for row in part.keys.filter(_OF_IMAGES & pc.field("path").is_valid()).to_pylist()
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
        draws, tiles = (keys[name].to_numpy() for name in _NUMBERS)
        self.draws, self.tiles = 1 + int(draws.max()), int(tiles.max())
        self.rows = self._index(images, views, draws, tiles, ids)
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
        self,
        images: NDArray[np.int64],
        views: NDArray[np.int64],
        draws: NDArray[np.int64],
        tiles: NDArray[np.int64],
        ids: Sequence[str],
    ) -> NDArray[np.int64]:
        beside = 1 + len(self.views) * self.draws
        width = beside + self.tiles
        if not self.views:
            raise UsageError(f"all vectors are of {ORIGINALS!r}; give those of one view at least")
        if (draws < 0).any():
            raise UsageError(f"{self.place(int(draws.argmin()))} has a draw that is not numbered from 0")
        if (wrong := np.flatnonzero((tiles < 0) | (tiles > MOST_TILES) | ((tiles > 0) & (views > 0)))).size:
            words = f"number those of {ORIGINALS!r} from 1 to {MOST_TILES} at most, and give views none"
            raise UsageError(f"{self.place(int(wrong[0]))} has the tile {tiles[wrong[0]]}; {words}")
        if len(ids) * width > 64 * len(images):
            words = f"{len(self.views):,} views with {self.draws:,} draws of {len(ids):,} images"
            raise UsageError(f"only {len(images):,} vectors for {words}; give one for each")
        slots = np.where(views > 0, draws * len(self.views) + views, np.where(tiles > 0, beside + tiles - 1, 0))
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
        if (tile := int(slot) - len(self.views) * self.draws) > 0:
            return f"tile {tile} of {ORIGINALS!r}"
        draw, view = divmod(int(slot) - 1, len(self.views))
        name = ORIGINALS if slot == 0 else self.views[view]
        return repr(name) + (f", draw {draw}" if slot and self.draws > 1 else "")

    def _copied(self, parts: Sequence[Part], digest: Any) -> str:
        """Copies all vectors, and returns a hash of them; refuses different lengths and zero vectors."""
        row = 0
        try:
            for part in parts:
                for vectors in part.floats():  # an infinite number is a failure of its image
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
