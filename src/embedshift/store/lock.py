"""The lock of a folder while a run works in it."""

import contextlib
import errno
import fcntl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embedshift.config.safe_files import open_internal_file
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import storable

# Folders in which runs of this process work, by device and inode number.
_HELD: set[tuple[int, int]] = set()
_GUARD = threading.Lock()
_AT_WORK = "another run is using this folder; wait for it or choose another `out`"


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
    """Opens the lock file and creates it if needed; does not follow or change what another user put in its place."""
    path = out / ".lock"
    try:
        return open_internal_file(path)
    except OSError as error:
        obstacles = {errno.ELOOP: "a link", errno.EINVAL: "not a regular file"}
        if error.errno in obstacles:
            raise UsageError(f"{path}: {obstacles[error.errno]} where the lock file should be; delete it") from error
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
