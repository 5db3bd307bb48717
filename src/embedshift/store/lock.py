"""The lock of a folder while a run works in it."""

import contextlib
import errno
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from embedshift.config.files import open_internal_file
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import storable


@contextlib.contextmanager
def locked(out: Path, inside: str = "shards") -> Iterator[None]:
    """Creates the folder, and one inside it, and keeps other runs out."""
    if storable(str(out)) != str(out):  # Arrow and Polars open no such path
        raise UsageError(f"{storable(str(out))}: contains bytes that are not UTF-8; choose another `out`")
    try:
        (out / inside).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror})") from error
    with _lock_file(out) as lock:
        try:
            # Of an opened file, not of a process: threads of one process keep each other out, too.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            words = "another run is using this folder; wait for it or choose another `out`"
            raise EmbedshiftError(f"{out}: {words}") from error
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # processes that were forked meanwhile hold the opened file


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
