"""`VectorSet`: vectors of images, whatever holds them; `VectorGrid`: which row is of which image and view."""

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedshift.arrays import Floats, allocate, release_memory
from embedshift.config.safe_files import expanded, open_file, read_text
from embedshift.errors import UsageError, cause
from embedshift.registry.names import unknown_name
from embedshift.sources.base import COLUMNS, LIST_BYTES, rows_at_once, stem, text_or_none
from embedshift.sources.stores import address_of, open_store
from embedshift.sources.views_file import ORIGINALS, ViewsFile

log = logging.getLogger(__name__)

# Bytes that are read ahead of vectors: a row group may be larger than memory.
AHEAD = 2**20
# The most tiles of an image; slots of a grid for each row, beyond which something is wrong; and names in a message.
MOST_TILES, MOST_SLOTS, LISTED = 64, 64, 8
VECTOR = COLUMNS["vector"]
# The column of vectors in a study's own shards.
SHARDS_VECTOR = "embedding"
_NUMBERS = {"draw": pa.int64(), "tile": pa.int64()}
_KEYS = {"image_id": pa.string(), "view": pa.string(), **_NUMBERS}
_KEYS |= dict.fromkeys(("group", "caption", "path"), pa.string())


@dataclass(frozen=True, eq=False)
class VectorSet:
    """Vectors of images and of their views in the order of their source, read in blocks of bounded memory.

    Args:
        name: The source in messages.
        keys: A row for each vector: `image_id`, `view`, `group`, `caption` and `path` are text or null, `draw` and
            `tile` int64, where tile 0 is the whole image; further columns as they were asked for.
        read: Opens the vectors: yields numbers `[b, D]` of any dtype, in the order of the rows.
        is_numbered: Whether the ids are the numbers of the rows.
        sources: Name and number of rows of each source, if several are joined.

    Example:
        >>> vectors = VectorSet.open(np.eye(3), ids=["a", "b", "c"])
        >>> len(vectors), next(vectors.blocks()).dtype.name, vectors.grid().ids
        (3, 'float32', ['a', 'b', 'c'])
    """

    name: str
    keys: pa.Table
    read: Callable[[], Iterator[NDArray[Any]]]
    is_numbered: bool = False
    sources: Sequence[tuple[str, int]] = ()

    @classmethod
    def open(
        cls, given: Any, view: str = ORIGINALS, *, ids: Sequence[str] | None = None,
        groups: Sequence[object] | None = None, columns: Mapping[str, str] | None = None,
        named: bool = True, used: Sequence[str] = (),
    ) -> Self:  # fmt: skip
        """Opens a source of vectors; the vectors are read later.

        Args:
            given: The path of a Parquet or npy file, the address of a table in a store (`lancedb:DIR/TABLE`,
                `postgresql://USER@HOST:PORT/DB?table=TABLE`), a frame with a column of ids or vectors, or numbers
                `[n, D]`.
            view: The view of rows that name none.
            ids: The image of each row of an array; None = the numbers of the rows.
            groups: The group of each row of an array.
            columns: Names of the columns of a table: keys "id", "view", "vector", "group", "draw", "tile"; None = the
                user cannot choose them.
            named: Whether a table must have ids.
            used: Further columns of a table that are kept in `keys`.

        Raises:
            UsageError: The source cannot be read, or lacks a column; a key of `columns` is unknown.

        Example:
            >>> table = pa.table({"sku": ["a", "b"], "emb": [[1.0, 0.0], [0.0, 1.0]]})
            >>> VectorSet.open(table, columns={"id": "sku", "vector": "emb"}).keys["image_id"].to_pylist()
            ['a', 'b']
        """
        is_file, store = isinstance(given, str | os.PathLike), None
        name = os.path.expanduser(given) if is_file else f"the vectors of {view!r}"
        if address := address_of(given):
            name, store, asked = open_store(address)
            columns = {**asked, **(columns or {})}
        names = column_names(columns)
        kept = [*dict.fromkeys([*(names[column] for column in _KEYS), *used])]
        own = {*map(str, getattr(given, "column_names", getattr(given, "columns", ())))}
        arrays: Callable[[str], Iterator[pa.Array]]
        with _readable(name):
            if store is not None:
                table, schema, arrays = store.keys(kept), store.schema, store.arrays
            elif is_file and Path(name).suffix.lower() == ".parquet":
                table, schema, arrays = _parquet(Path(name), kept)
            elif own & {names["image_id"], names[VECTOR], SHARDS_VECTOR}:
                table = pa.table(given)
                schema, arrays = table.schema, lambda column: iter(table[column].chunks)
            else:
                if columns:
                    log.warning("%s: an array has no columns; `columns` is not used for it", name)
                table, slices = _array(name, mapped_npy(name) if is_file else _as_array(given), ids, groups)
                return cls(name, keys_of(table, view), slices, ids is None)
            if groups is not None:
                raise UsageError(
                    f"{name}: `groups` is a list, which is for arrays; give the column group, or a mapping"
                )
            vector = _vector_column(name, schema, columns, named=named)
            if unused := [column for column in schema.names if column not in (*kept, vector)]:
                log.info("%s: columns that are not used: %s", name, ", ".join(unused))
            return cls(name, keys_of(table, view, names, used), lambda: _matrices(name, arrays(vector)))

    @classmethod
    def joined(cls, sets: "Sequence[VectorSet]") -> Self:
        """Returns the rows of several sets, one after the other."""
        name = sets[0].name if len(sets) == 1 else f"{sets[0].name} and {len(sets) - 1} more"
        keys = pa.concat_tables([each.keys for each in sets])
        sources = [(each.name, len(each)) for each in sets]
        return cls(name, keys, lambda: itertools.chain.from_iterable(each.read() for each in sets), sources=sources)

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, row: int) -> str:
        """Returns a row in words, by its source and its number in there."""
        for name, count in self.sources:
            if row < count:
                return f"{name}: row {row}"
            row -= count
        return f"{self.name}: row {row}"

    def blocks(self, *, zeros: bool = True, infinite: bool = True) -> Iterator[Floats]:
        """Yields the vectors as float32 `[b, D]`; a number that is too large for it becomes infinite.

        Args:
            zeros: Whether zero vectors are accepted.
            infinite: Whether vectors with a number that is NaN or infinite are accepted.

        Raises:
            UsageError: A vector is not accepted or has another length, or the source is damaged.
        """
        row, dim = 0, 0
        for matrix in self.read():
            with np.errstate(over="ignore"):
                vectors = np.ascontiguousarray(matrix, np.float32)
            dim = dim or vectors.shape[1]
            if vectors.shape[1] != dim:
                words = f"has {vectors.shape[1]} numbers, but others have {dim}; give vectors of one encoder"
                raise UsageError(f"{self.place(row)} {words}")
            if not infinite and not (finite := np.isfinite(vectors).all(axis=1)).all():
                raise UsageError(f"{self.place(row + int(finite.argmin()))} {INFINITE}; leave its image out")
            if not zeros and not (directed := vectors.any(axis=1)).all():
                words = "is a zero vector, which has no direction; leave its image out"
                raise UsageError(f"{self.place(row + int(directed.argmin()))} {words}")
            yield vectors
            row += len(vectors)

    @functools.cached_property
    def is_original(self) -> NDArray[np.bool_]:
        """Whether each row is of a whole original, `[n]`; raises UsageError if none is."""
        is_original = pc.and_(pc.equal(self.keys["view"], ORIGINALS), pc.equal(self.keys["tile"], 0))
        if not pc.any(is_original).as_py():
            views = _listed(self.keys["view"].unique().to_pylist()) if len(self) else "none"
            words = f"its views are {views}: rename one, or name the column of views by `columns.view`"
            raise UsageError(f"{self.name}: has no vector of an {ORIGINALS!r}; {words}")
        return np.asarray(pc.fill_null(is_original, False).to_numpy())

    def of_originals(self) -> Self:
        """Returns the same rows as vectors of originals, whatever name their view has."""
        return replace(self, keys=keys_of(self.keys.drop_columns("view")))

    def grid(
        self, kept: NDArray[np.bool_] | None = None, *, images: Iterable[str] | None = None,
        views: Sequence[str] | None = None,
    ) -> "VectorGrid":  # fmt: skip
        """Returns which row is of which image and view: the one check of ids, views, draws and tiles.

        Args:
            kept: The rows that take part, `[n]`; None = all.
            images: Ids of `ViewsFile`, without whose others are refused; endings do not count.
            views: Names of its views.

        Raises:
            UsageError: A row has no id or view, or an unknown one; an image has no original, or two vectors of a view;
                draws have gaps, or a tile has no such number.
        """
        rows = np.arange(len(self)) if kept is None else np.flatnonzero(kept)
        if not len(rows):
            raise UsageError(f"{self.name}: has no rows")
        names = None if views is None else [ORIGINALS, *views]
        image, ids = self._numbered("image_id", rows, known=images)
        view, (_, *others) = self._numbered("view", rows, [ORIGINALS, *(views or ())], names)
        assert self.is_original.any()
        draw, tile = (self.keys[name].to_numpy()[rows] for name in _NUMBERS)
        for place, number in enumerate(np.unique(draw).tolist()):
            if number != place:
                row = self.place(int(rows[(draw == number).argmax()]))
                raise UsageError(f"{row} has a draw {number}; number the draws of a view from 0, without gaps")
        if (wrong := np.flatnonzero((tile < 0) | (tile > MOST_TILES) | ((tile > 0) & (view > 0)))).size:
            words = f"number those of {ORIGINALS!r} from 1 to {MOST_TILES} at most, and give views none"
            raise UsageError(f"{self.place(int(rows[wrong[0]]))} has the tile {tile[wrong[0]]}; {words}")
        draws, tiles, beside = 1 + int(draw.max()), int(tile.max()), 1 + len(others) * (1 + int(draw.max()))
        if len(ids) * beside > MOST_SLOTS * len(rows):
            words = f"{len(others):,} views with {draws:,} draws of {len(ids):,} images"
            raise UsageError(f"{self.name}: only {len(rows):,} vectors for {words}; give one for each")
        slot = np.where(view > 0, draw * len(others) + view, np.where(tile > 0, beside + tile - 1, 0))
        grid = VectorGrid(self, ids, others, draws, tiles, np.full((len(ids), beside + tiles), -1, np.int64))
        grid.rows[image, slot] = rows
        if (twice := np.flatnonzero(grid.rows[image, slot] != rows)).size:
            own = (image[twice[0]], slot[twice[0]])
            count = int(((image == own[0]) & (slot == own[1])).sum())
            words = f"has {count} vectors of {grid.named(own[1])}; give one"
            raise UsageError(f"{self.name}: image {ids[own[0]]!r} {words}")
        grid.refuse_missing(slots=1)
        return grid

    def _numbered(
        self, name: str, rows: NDArray[np.intp], first: Collection[str] = (), known: Iterable[str] | None = None
    ) -> tuple[NDArray[np.int64], list[str]]:
        """Returns the number of each row's text, and the texts: `first`, then others in the order they come."""
        # If some are `known`, no others are accepted; without their endings they are the same.
        column = self.keys[name] if len(rows) == len(self) else self.keys[name].take(pa.array(rows))
        for row in np.flatnonzero(pc.fill_null(pc.equal(column, ""), True).to_numpy())[:1]:
            raise UsageError(f"{self.place(int(rows[row]))} has no {name}")
        coded = column.combine_chunks().dictionary_encode()
        given, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
        by_stem = {stem(text): text for text in known or ()}
        own = given if known is None else [by_stem.get(stem(text), "") for text in given]
        if "" in own:
            row, text = int(rows[np.argmax(codes == own.index(""))]), given[own.index("")]
            raise UsageError(f"{self.place(row)} has the {name} {text!r}, which {ViewsFile.FILE} does not have")
        numbers = {text: number for number, text in enumerate(dict.fromkeys([*first, *own]))}
        return np.array([numbers[text] for text in own], np.int64)[codes], [*numbers]


INFINITE = "has a number that is NaN or infinite"


@dataclass(frozen=True, eq=False)
class VectorGrid:
    """The row of each vector of an image: `rows[image, slot]`, int64, −1 where there is none.

    Slot 0 is the original. Then come all views, draw by draw, and then tiles 1 to k of the original.

    Example:
        >>> table = {"image_id": ["a", "a"], "view": ["blur", "original"], "vector": [[1.0], [2.0]]}
        >>> grid = VectorSet.open(pa.table(table)).grid()
        >>> grid.views, grid.rows.tolist(), grid.read().tolist()
        (['blur'], [[1, 0]], [[[2.0], [1.0]]])
    """

    vectors: VectorSet
    ids: list[str]
    views: list[str]
    draws: int
    tiles: int
    rows: NDArray[np.int64]

    @functools.cached_property
    def dim(self) -> int:
        return int(next(self.vectors.blocks()).shape[1])

    def named(self, slot: int) -> str:
        """Returns a slot in words."""
        if (tile := int(slot) - len(self.views) * self.draws) > 0:
            return f"tile {tile} of {ORIGINALS!r}"
        draw, view = divmod(int(slot) - 1, len(self.views) or 1)
        name = ORIGINALS if slot == 0 else self.views[view]
        return repr(name) + (f", draw {draw}" if slot and self.draws > 1 else "")

    def refuse_missing(self, slots: int | None = None) -> None:
        """Raises UsageError if an image has no vector in one of the first slots; None = all."""
        for slot, missing in enumerate((self.rows[:, :slots] < 0).T):
            if missing.any():
                words = f"{missing.sum():,} of {len(self.ids):,} images have no vector of {self.named(slot)}"
                first = f"(first: {self.ids[missing.argmax()]}); give it, or leave these images out"
                raise UsageError(f"{self.vectors.name}: {words} {first}")

    def places(self, ids: Sequence[str]) -> list[int]:
        """Returns the positions of some ids."""
        places = {image_id: place for place, image_id in enumerate(self.ids)}
        return [places[image_id] for image_id in ids]

    def with_views(self, views: Sequence[str]) -> "VectorGrid":
        """Returns the grid of originals and of the same views in another order."""
        own = {name: place for place, name in enumerate(self.views, start=1)}
        slots = [0, *(draw * len(own) + own[name] for draw in range(self.draws) for name in views)]
        return replace(self, views=[*views], tiles=0, rows=self.rows[:, slots])

    def texts(self, name: str) -> dict[str, str]:
        """Returns a column of the originals: image id → its text, without null."""
        cells = self.vectors.keys[name].take(pa.array(self.rows[:, 0])).to_pylist()
        return {image_id: text for image_id, text in zip(self.ids, cells, strict=True) if text is not None}

    def read(self, images: Sequence[int] | None = None, *, folder: Path | None = None, strict: bool = False) -> Floats:
        """Returns the vectors of images, float32 `[n, slots, D]`; NaN where one is missing.

        Args:
            images: Positions in `ids`; None = all.
            folder: Where a file without a name holds vectors that are too many for memory; None = memory holds all.
            strict: Whether zero vectors, and those with a number that is NaN or infinite, are refused.
        """
        rows = self.rows if images is None else self.rows[images]
        order = np.argsort(rows, axis=None, kind="stable")
        wanted, start, made = rows.ravel()[order], 0, np.empty((0, 0), np.float32)
        for block in self.vectors.blocks(zeros=not strict, infinite=not strict):
            if not start:
                made = allocate((rows.size, block.shape[1]), folder)
                made[:] = np.nan
            low, high = np.searchsorted(wanted, (start, start + len(block)))
            made[order[low:high]] = block[wanted[low:high] - start]
            start += len(block)
            release_memory(made, len(made))
        return made.reshape(*rows.shape, -1)


def column_names(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the usual name of each column → its name in a table.

    Raises:
        UsageError: A key is unknown, or a name is no text.

    Example:
        >>> column_names({"id": "sku"})["image_id"]
        'sku'
    """
    if not isinstance(columns, Mapping | None):
        raise UsageError(f"`columns`: give a mapping such as {{'id': 'sku'}}, not {columns!r:.60}")
    for key, name in (columns or {}).items():
        if key not in COLUMNS:
            raise UsageError(unknown_name("key of `columns`", str(key), COLUMNS))
        if not isinstance(name, str) or not name:
            raise UsageError(f"`columns.{key}`: give the name of a column, not {name!r:.60}")
    own = {COLUMNS[key]: name for key, name in (columns or {}).items()}
    return {usual: own.get(usual, usual) for usual in (*_KEYS, VECTOR)}


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
    name: str, opened: Callable[[], Any], ids: Sequence[str] | None, groups: Sequence[object] | None
) -> tuple[pa.Table, Callable[[], Iterator[NDArray[Any]]]]:
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
    step = rows_at_once(shape[1])
    # A file is mapped for one use: what was read would stay in memory otherwise.
    return pa.table(texts), lambda: (opened()[start : start + step] for start in range(0, shape[0], step))


def mapped_npy(name: str) -> Callable[[], Any]:
    """Returns a function that maps an npy file; refuses what is no file."""
    open_file(Path(name)).close()  # a reader would wait for what is no file
    return functools.partial(np.load, name, mmap_mode="r", allow_pickle=False)


def _vector_column(name: str, schema: pa.Schema, columns: Mapping[str, str] | None, *, named: bool) -> str:
    """Returns the name of the column of vectors, and refuses a table that lacks it, or another column."""
    usual = SHARDS_VECTOR if VECTOR not in schema.names and SHARDS_VECTOR in schema.names else VECTOR
    needed = ({"id": COLUMNS["id"]} if named else {}) | {"vector": usual} | dict(columns or {})
    for key, column in needed.items():
        if column not in schema.names:
            hint = "rename one" if columns is None else f"name one by `columns.{key}`"
            raise UsageError(f"{name}: has no column {column!r}; its columns are {_listed(schema.names)}: {hint}")
    kind = schema.field(vector := needed["vector"]).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    number = kind.value_type if is_list else pa.null()
    if not (pa.types.is_floating(number) or pa.types.is_integer(number)):
        raise UsageError(f"{name}: its column {vector!r} holds {kind}, not lists of numbers")
    return vector


def _parquet(path: Path, kept: Sequence[str]) -> tuple[pa.Table, pa.Schema, Callable[[str], Iterator[pa.Array]]]:
    with open_file(path) as opened, pq.ParquetFile(opened) as file:
        table = file.read([column for column in kept if column in file.schema_arrow.names])
        return table, file.schema_arrow, functools.partial(_column, path)


def _column(path: Path, name: str) -> Iterator[pa.Array]:
    with open_file(path) as opened, pq.ParquetFile(opened, buffer_size=AHEAD) as file:
        columns = (file.schema.column(place).path for place in range(len(file.schema)))
        column = next(place for place, path in enumerate(columns) if path.startswith(f"{name}."))
        for group in range(file.num_row_groups):  # a reader of all would keep what it has read
            about = file.metadata.row_group(group)
            rows = rows_at_once(about.column(column).num_values // max(1, about.num_rows))
            yield from (batch[name] for batch in file.iter_batches(rows, row_groups=[group], columns=[name]))


def keys_of(
    given: pa.Table, view: str = ORIGINALS, names: Mapping[str, str] | None = None, used: Sequence[str] = ()
) -> pa.Table:
    """Returns the `keys` of a set from the columns of a table; rows without a column of views are of `view`."""
    own, has = {column: (names or {}).get(column, column) for column in _KEYS}, {*given.column_names}
    none = pa.nulls(len(given))
    cells = {
        column: _without_nan(given[own[column]] if own[column] in has else none).cast(kind)
        for column, kind in _KEYS.items()
    }
    if own["view"] not in has:
        cells["view"] = pa.repeat(view, len(given))
    cells |= {name: pc.fill_null(cells[name], 0) for name in _NUMBERS}
    keys = pa.table(cells | {column: given[column] for column in used if column in has})
    keys.validate(full=True)  # that texts are UTF-8
    return keys


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _matrices(name: str, arrays: Iterator[pa.Array]) -> Iterator[NDArray[Any]]:
    """Yields vectors `[b, D]`; a missing number becomes NaN."""
    start = 0
    with _readable(name):
        for lists in filter(len, arrays):
            lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
            if (different := np.flatnonzero((lengths != lengths[0]) | (lengths == 0))).size:
                length = lengths[different[0]]
                words = f"{length} numbers, but row {start} has {lengths[0]}" if length else "no vector"
                raise UsageError(f"{name}: row {start + different[0]} has {words}")
            yield np.asarray(lists.flatten().to_numpy(zero_copy_only=False)).reshape(len(lists), -1)
            start += len(lists)


def _as_array(given: Any) -> Callable[[], NDArray[Any]]:
    if hasattr(given, "detach"):  # a tensor of torch, which nothing here imports
        given = given.detach().cpu()
        given = given.float() if str(given.dtype) == "torch.bfloat16" else given
    array: Any = np.ma.asarray(given.to_numpy() if hasattr(given, "to_numpy") else given)
    if array.dtype == object:
        array = np.ma.stack([np.ma.asarray(row) for row in array])
    # What is masked is no number, for which an array of integers has no value.
    plain = array.data if np.ma.getmask(array) is np.ma.nomask else array.astype(np.float64).filled(np.nan)
    return lambda: np.asarray(plain)


def _listed(names: Sequence[object]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(repr, names[:LISTED])) + more if names else "none"
