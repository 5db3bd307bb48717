"""A checksum over every bit of a shard, stored in the shard's own footer.

Parquet writes its footer before the file is complete, but a checksum is known only after. A shard is therefore written
with zeros in the place of its checksum and hashed with them; then the checksum is written to that place.
"""

import errno
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embedshift.config.files import open_file
from embedshift.errors import EmbedshiftError

_FILE, _ROWS = b"embedshift.checksum", b"embedshift.rows"
_ZEROS = b"0" * 64
# Metadata that the writer of a shard adds.
PLACEHOLDERS = {_FILE: _ZEROS, _ROWS: _ZEROS}
# Behind the footer stand its length and the mark of Parquet.
_END = struct.Struct("<I4s")
_BLOCK = 1 << 20


class Damaged(EmbedshiftError):
    """The shard is not as it was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: damaged ({what}); run the study again with `repair` to measure it")
        self.path = path


class NoChecksum(Damaged):
    """No run of this version wrote the Parquet file."""


@dataclass(frozen=True)
class Digests:
    """SHA-256 digests in hexadecimal."""

    file: str
    rows: str


def seal(path: Path, sums: bytes) -> None:
    """Writes both digests into the footer of a shard that was written with `PLACEHOLDERS`."""
    with path.open("r+b") as file:
        start, footer = _footer(path, file)
        hashed = _hashed_up_to(file, start)
        rows = hashed.copy()
        rows.update(sums)
        footer = _with(footer, _ROWS, rows.hexdigest().encode())
        hashed.update(footer)
        footer = _with(footer, _FILE, hashed.hexdigest().encode())
        file.seek(start)
        file.write(footer)


def digests(path: Path) -> Digests:
    """Returns the digests of an undamaged shard."""
    try:
        with _opened(path) as file:
            start, footer = _footer(path, file)
            said = {name: footer[at : at + len(_ZEROS)] for name in PLACEHOLDERS if (at := _place(footer, name)) > 0}
            if len(said) < len(PLACEHOLDERS):
                raise NoChecksum(path, "it contains no checksum")
            hashed = _hashed_up_to(file, start)
    except OSError as error:
        if error.errno == errno.EIO:
            raise Damaged(path, os.strerror(errno.EIO)) from error
        raise EmbedshiftError(f"{path}: cannot be read ({error.strerror})") from error
    hashed.update(_with(footer, _FILE, _ZEROS))
    if hashed.hexdigest().encode() != said[_FILE]:
        raise Damaged(path, "its content does not match its checksum")
    return Digests(said[_FILE].decode(), said[_ROWS].decode())


def _opened(path: Path) -> BinaryIO:
    try:
        return open_file(path)
    except EmbedshiftError as error:
        raise EmbedshiftError(f"{path}: cannot be read ({error})") from error


def _footer(path: Path, file: BinaryIO) -> tuple[int, bytes]:
    """Returns where the footer begins, and all bytes from there to the end of the file."""
    size = file.seek(0, os.SEEK_END)
    if size < _END.size:
        raise Damaged(path, "it is truncated")
    file.seek(size - _END.size)
    length, mark = _END.unpack(file.read(_END.size))
    start = size - _END.size - length
    if mark != b"PAR1" or start < 0:
        raise Damaged(path, "it is truncated, or its end was changed")
    file.seek(start)
    return start, file.read()


def _place(footer: bytes, name: bytes) -> int:
    """Returns where the digest of a name begins; 0 if there is none."""
    key = b"\x18" + bytes([len(name)]) + name + b"\x18" + bytes([len(_ZEROS)])  # as Thrift writes two texts
    found = footer.rfind(key)
    return found + len(key) if found >= 0 else 0


def _with(footer: bytes, name: bytes, digest: bytes) -> bytes:
    place = _place(footer, name)
    return footer[:place] + digest + footer[place + len(digest) :]


def _hashed_up_to(file: BinaryIO, end: int) -> "hashlib._Hash":
    found, block, left = hashlib.sha256(), memoryview(bytearray(_BLOCK)), end
    file.seek(0)
    while left and (count := file.readinto(block[: min(left, _BLOCK)])):  # type: ignore[attr-defined]
        found.update(block[:count])
        left -= count
    return found
