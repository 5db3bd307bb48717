"""SHA-256 checksums of files, of rows and of JSON. They detect damage, not forgery: who changes a file can hash it."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.config import Json
from embedshift.config.safe_files import open_file
from embedshift.errors import EmbedshiftError

T = TypeVar("T")

# Size, times of change (one of which a program may set) and inode of a file.
State = tuple[int, int, int, int]


class Damaged(EmbedshiftError):
    """The shard is not as it was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: damaged ({what}); run the study again with `repair` to measure it")
        self.path = path


class WhileUnchanged(Generic[T]):
    """A function of a file that this process calls again only if the file has changed."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._kept: dict[Path, tuple[State, T]] = {}

    def __call__(self, path: Path) -> T:
        try:
            state = _file_state(path)
            if path not in self._kept or self._kept[path][0] != state:
                self._kept[path] = state, self._read(path)
            return self._kept[path][1]
        except OSError as error:
            if error.errno == errno.EIO:
                raise Damaged(path, os.strerror(errno.EIO)) from error
            raise EmbedshiftError(f"{path}: cannot be read ({error.strerror})") from error

    def __contains__(self, path: Path) -> bool:
        return path in self._kept

    def keep(self, path: Path, value: T) -> None:
        self._kept[path] = _file_state(path), value


def _file_state(path: Path) -> State:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


@WhileUnchanged
def file_checksum(path: Path) -> str:
    try:
        with open_file(path) as file:
            return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    except EmbedshiftError as error:
        raise EmbedshiftError(f"{path}: cannot be read ({error})") from error


def with_checksum(content: Mapping[str, Any]) -> Json:
    as_read: Json = json.loads(json.dumps(content))  # without tuples
    return as_read | {"checksum": _fields_checksum(as_read)}


def is_intact(content: Mapping[str, Any]) -> bool:
    return content.get("checksum") == _fields_checksum(content)


def rows_checksum(table: pa.Table, sums: bytes) -> str:
    """The SHA-256 of a shard's rows and sums, whatever Parquet makes of them; equal for two runs of one study."""
    hasher = hashlib.sha256(sums)
    for name, column in zip(table.column_names, table.columns, strict=True):
        hasher.update(f"\n{name}\n".encode("utf-8", "surrogateescape"))
        _add(hasher, column.combine_chunks())
    return hasher.hexdigest()


def _add(hasher: "hashlib._Hash", array: pa.Array) -> None:
    """Adds the type, the nulls and the values of a column; what a null hides in memory does not count."""
    values = array.drop_null()
    hasher.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        hasher.update(pc.list_value_length(values).to_numpy().tobytes())
        _add(hasher, values.flatten())
    elif pa.types.is_string(array.type):
        texts = [text.encode() for text in values.to_pylist()]
        hasher.update(np.array([len(text) for text in texts], np.int64).tobytes())
        hasher.update(b"".join(texts))
    else:
        hasher.update(str(array.type).encode())
        hasher.update(values.to_numpy(zero_copy_only=False).tobytes())


def _fields_checksum(content: Mapping[str, Any]) -> str:
    fields = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
