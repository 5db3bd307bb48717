"""Images in tables: Parquet files, and datasets of Hugging Face's library as written by `save_to_disk`."""

import bisect
import collections
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from embedshift.config import Json
from embedshift.config.safe_files import open_file, refuse_larger
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError, cause, reason
from embedshift.sources.base import IMAGE_BYTES, WINDOW, Block, ImageRef, Source
from embedshift.sources.folder import file_and_column, is_url, list_archives, open_location
from embedshift.sources.web import fetch

# Of a column with images, in this order; as Hugging Face datasets and img2dataset name it.
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "bytes", "image_bytes", "content")
# Of a column with their addresses, as lists of datasets for img2dataset name it: it is used where there are no images.
ADDRESS_COLUMNS = ("url", "URL", "image_url")
_ADDRESS = re.compile(r"https?://.|(?!file:|local:)[a-z][a-z0-9+.-]*://(?!.*::).", re.IGNORECASE)
ID_COLUMNS = ("image_id", "key", "path")
CAPTION_COLUMNS = ("caption", "text", "txt", "TEXT")


class ParquetSource(Source):
    def __init__(self, files: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self._starts: dict[str, list[int]] = {}
        self._columns: dict[str, str] = {}
        self._groups: collections.OrderedDict[Block, pa.ChunkedArray] = collections.OrderedDict()
        self.samples = list_archives(files, self._list, self.skipped)
        self.description = {"kind": "parquet", "paths": list(files)}

    def read(self, sample: ImageRef) -> bytes:
        if (block := self.block(sample)) is None:
            return fetch(sample.location)
        if block not in self._groups:
            location = file_and_column(sample.archive)[0]
            try:
                with open_location(location) as file:
                    table = pq.ParquetFile(file).read_row_group(block[1], columns=[self._columns[sample.archive]])
            except pa.ArrowException as error:
                raise EmbedshiftError(f"{location}: damaged ({reason(error)})") from error
            start, end = self._starts[sample.archive][block[1] : block[1] + 2]
            if table.num_rows != end - start:  # a damaged page may hold fewer, and rows would be mixed up
                raise EmbedshiftError(f"{location}: damaged ({table.num_rows} rows, expected {end - start})")
            self._groups[block] = table.column(0)
            if len(self._groups) > WINDOW:
                self._groups.popitem(last=False)
        self._groups.move_to_end(block)
        return image_bytes(self._groups[block][sample.position - self._starts[sample.archive][block[1]]].as_py())

    def block(self, sample: ImageRef) -> Block | None:
        if not sample.archive:  # an address
            return None
        return sample.archive, bisect.bisect_right(self._starts[sample.archive], sample.position) - 1

    def __getstate__(self) -> Json:
        """Leaves out the images in memory, too."""
        return super().__getstate__() | {"_groups": collections.OrderedDict()}

    def _list(self, path: str, _skipped: Counter[str]) -> Iterator[ImageRef]:
        location, column = file_and_column(path)
        try:
            with open_location(location) as file:
                parquet = pq.ParquetFile(file)
                groups = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
                self._starts[path] = [0, *itertools.accumulate(groups)]
                self._columns[path] = image_column(location, parquet.schema_arrow, column)
                listed = listed_columns(parquet.schema_arrow, self._columns[path])
                columns = parquet.read(columns=listed).to_pydict()
        except FileNotFoundError as error:
            raise UsageError(f"{location}: no such file") from error
        except UsageError:
            raise
        except (TimeoutError, EmbedshiftError) as error:
            raise UsageError(f"{location}: {cause(error)}") from error
        except Exception as error:  # errors of Arrow, of a file system, or of invalid texts
            from_system = isinstance(error, OSError) and error.strerror
            words = cause(error) if from_system else f"not Parquet ({cause(error)})"
            raise UsageError(f"{location}: {words}") from error
        yield from named_samples(path, os.path.basename(location), sum(groups), columns)


def listed_columns(schema: pa.Schema, column: str) -> list[str]:
    """Returns the columns of a table from which its images are listed: with names, captions, and perhaps addresses."""
    addresses = () if _holds_bytes(schema.field(column).type) else (column,)
    return [name for name in ID_COLUMNS + CAPTION_COLUMNS + addresses if name in schema.names]


def named_samples(archive: str, name: str, rows: int, columns: dict[str, list[Any]]) -> Iterator[ImageRef]:
    addresses = next((columns[c] for c in ADDRESS_COLUMNS if c in columns), None)
    ids = next((columns[c] for c in ID_COLUMNS if c in columns), None)
    captions = next((columns[c] for c in CAPTION_COLUMNS if c in columns), None)
    for row in range(rows):
        image_id = f"{name}#{row}" if ids is None or ids[row] is None else str(ids[row])
        caption = None if captions is None or captions[row] is None else str(captions[row])
        if addresses is None:
            yield ImageRef(image_id, f"{archive}#{row}", caption, archive=archive, position=row)
        else:
            is_address = isinstance(addresses[row], str) and _ADDRESS.match(addresses[row])
            problem = None if is_address else "the row contains no address of an image"
            yield ImageRef(image_id, str(addresses[row]), caption, problem, position=row)


def image_column(path: str, schema: pa.Schema, requested: str = "") -> str:
    holding = [field.name for field in schema if _holds_bytes(field.type)]
    texts = {field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)}
    addresses = [name for name in ADDRESS_COLUMNS if name in texts]
    if requested and requested not in holding + addresses:
        words = "contains no bytes" if requested in schema.names else "does not exist"
        raise UsageError(f"{path}: the column {requested!r} {words}; those with bytes: {', '.join(holding) or 'none'}")
    if requested:
        return requested
    # Bytes of one length are a hash or a number, unless they are called otherwise.
    likely = [name for name in holding if not pa.types.is_fixed_size_binary(schema.field(name).type)]
    candidates = [name for name in IMAGE_COLUMNS if name in holding] or addresses or likely * (len(likely) == 1)
    if not candidates:
        columns = ", ".join(schema.names)
        if named := next((name for name in IMAGE_COLUMNS if name in schema.names), None):
            kind = str(schema.field(named).type)[:200]
            raise UsageError(f"{path}: the column {named!r} contains {kind}, not the bytes of images (binary)")
        raise UsageError(f"{path}: no column with images as bytes, or with their addresses as `url` (it has {columns})")
    return candidates[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _holds_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        # A column of paths alone has bytes of no type; its rows say that no path is opened.
        return any(f.name == "bytes" and (pa.types.is_null(f.type) or _holds_bytes(f.type)) for f in kind)
    kinds = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(is_kind(kind) for is_kind in kinds)


def image_bytes(value: Any) -> bytes:
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            # Whoever wrote the table would choose which files of this machine are shown.
            raise EmbedshiftError(
                "the row contains a path instead of bytes; paths are not opened, so store the images in the table"
            )
        value = value.get("bytes")
    if value is None:
        raise EmbedshiftError("the row contains no image")
    if not isinstance(value, bytes):
        raise EmbedshiftError(f"the row contains no bytes, but a value of the type {type(value).__name__}")
    refuse_larger(len(value), IMAGE_BYTES)
    return bytes(value)


class DatasetSource(Source):
    def __init__(self, folders: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "dataset", "paths": list(folders)}
        self._splits = {split: data for folder in folders for split, data in _load(folder).items()}
        self._columns = {split: image_column(split, data.features.arrow_schema) for split, data in self._splits.items()}
        for split, column in self._columns.items():
            if hasattr(kind := self._splits[split].features[column], "decode"):  # we decode, so that views are equal
                self._splits[split] = self._splits[split].cast_column(column, replace(kind, decode=False))
        self.samples = [sample for split in self._splits for sample in self._list(split)]

    def read(self, sample: ImageRef) -> bytes:
        if not sample.archive:
            return fetch(sample.location)
        column = self._columns[sample.archive]
        return image_bytes(self._splits[sample.archive][sample.position][column])

    def _list(self, split: str) -> Iterator[ImageRef]:
        data = self._splits[split]
        named = data.select_columns(listed_columns(data.features.arrow_schema, self._columns[split]))
        yield from named_samples(split, split, len(data), named.to_dict() if named.column_names else {})


def _load(folder: str) -> Json:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(f"{folder}: reading it", "datasets") from error
    name = os.path.basename(folder.rstrip("/"))
    try:
        if not is_url(folder):
            _refuse_special_files(folder)
        loaded = datasets.load_from_disk(folder)
    except Exception as error:
        raise UsageError(f"{folder}: not a saved dataset ({reason(error)})") from error
    if isinstance(loaded, datasets.DatasetDict):
        return {f"{name}/{split}": data.with_format(None) for split, data in loaded.items()}
    return {name: loaded.with_format(None)}


def _refuse_special_files(folder: str) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                open_file(os.path.join(parent, name)).close()
            except EmbedshiftError as error:
                raise EmbedshiftError(f"{name}: {error}") from error
