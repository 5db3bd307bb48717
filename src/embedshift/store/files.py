"""Files of a folder that runs write: checksums, atomic writing, and the lock of a run.

Checksums detect damage, not forgery: who changes a file can hash it.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, cast

from embedshift.config import Json
from embedshift.config.safe_files import open_file, open_internal_file, write_whole
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import storable

# Size, times of change (one is settable by programs) and inode of a file.
State = tuple[int, int, int, int]

# Folders within a study. Another person's study may have a link instead, which would overwrite its target.
INSIDE = ("shards", "tables", "figures")
_HIDDEN_IMAGE = re.compile(r"\..+\.(png|jpg|webp|json)\.\d+")

# Folders with a run of this process, by device and inode number.
_HELD: set[tuple[int, int]] = set()
_GUARD = threading.Lock()
_AT_WORK = "another run is using this folder; wait for it or choose another `out`"


class Damaged(EmbedshiftError):
    """A shard differs from the one that was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: damaged ({what}); run the study again with `repair` to measure it")
        self.path = path


def file_state(path: Path) -> State:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def file_checksum(path: Path) -> str:
    """Returns the SHA-256 of a file, cached until the file changes."""
    try:
        return _checksum(path, file_state(path))
    except OSError as error:
        if error.errno == errno.EIO:
            raise Damaged(path, os.strerror(errno.EIO)) from error
        raise EmbedshiftError(f"{path}: cannot be read ({error.strerror})") from error
    except EmbedshiftError as error:
        raise EmbedshiftError(f"{path}: cannot be read ({error})") from error


@functools.cache
def _checksum(path: Path, _: State) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()


def with_checksum(content: Mapping[str, Any]) -> Json:
    as_read: Json = json.loads(json.dumps(content))  # without tuples
    return as_read | {"checksum": _fields_checksum(as_read)}


def is_intact(content: Mapping[str, Any]) -> bool:
    return content.get("checksum") == _fields_checksum(content)


def _fields_checksum(content: Mapping[str, Any]) -> str:
    fields = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, write: Callable[[Path], object]) -> str:
    """Writes a file of a study by `write(hidden path)`, completely or not at all; returns its SHA-256."""
    try:
        path.parent.mkdir(exist_ok=True)
        if path.parent.is_symlink() and path.parent.name in INSIDE:
            raise EmbedshiftError(f"{path.parent}: a link to another folder; replace it by a folder of the study")
        write_whole(path, write)
    except OSError as error:
        if error.errno is None:
            raise
        refused = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        first = "copy the study to a folder of your own" if refused else "free space"
        words = f"{first} or choose another folder, and run the same command again"
        raise EmbedshiftError(f"{path}: cannot be written ({os.strerror(error.errno)}); {words}") from error
    return file_checksum(path)


def made_inside(out: Path, path: Path) -> Path:
    """Returns a path in a folder of images, and creates its parents; refuses links that lead out."""
    if not path.parent.resolve().is_relative_to(out.resolve()):
        raise EmbedshiftError(f"{path.parent}: a link to another folder; replace it by a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def delete_incomplete(folder: Path) -> None:
    for path in folder.rglob(".*"):
        if _HIDDEN_IMAGE.fullmatch(path.name):
            path.unlink()


@contextlib.contextmanager
def locked(out: Path, inside: str = "shards") -> Iterator[None]:
    if storable(str(out)) != str(out):  # Arrow and Polars open no such path
        raise UsageError(f"{storable(str(out))}: contains bytes that are not UTF-8; choose another `out`")
    try:
        (out / inside).mkdir(parents=True, exist_ok=True)
        folder = out.stat()
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    key = (folder.st_dev, folder.st_ino)
    with _GUARD:
        if key in _HELD:  # the kernel asks no thread of this process
            raise EmbedshiftError(f"{out}: {_AT_WORK}")
        _HELD.add(key)
    try:
        with _lock_file(out) as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise EmbedshiftError(f"{out}: {_AT_WORK}") from error
            yield
    finally:
        _HELD.discard(key)


def _lock_file(out: Path) -> BinaryIO:
    """Opens the lock file, created if needed; does not follow or change a replacement by another user."""
    path = out / ".lock"
    try:
        return open_internal_file(path)
    except OSError as error:
        obstacles = {errno.ELOOP: "a link", errno.EINVAL: "not a regular file"}
        if error.errno in obstacles:
            raise UsageError(f"{path}: {obstacles[error.errno]} where the lock file should be; delete it") from error
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
