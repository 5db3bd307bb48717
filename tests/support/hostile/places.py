"""Names that are odd, and what is no file at all."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from support.hostile import Kind
from support.hostile.encodings import PHOTO, encoded

SPARSE = 40 * 2**30


def kinds() -> Iterator[Kind]:
    """All of them."""
    data = encoded(PHOTO[::-1], "PNG")
    names = {
        "name in bad utf-8": b"caf\xe9\xff.png",
        "name of 255 bytes": b"n" * 251 + b".png",
        "name with newlines": b"two\nlines\r\n.png",
        "name with escapes": b"\x1b[31mred\x1b[0m\x07.png",
        "name with markup": b"<img src=x onerror=alert(1)>.png",
        "name with quotes": b"'a' \"b\" `c` $(d).png",
        "name like a flag": b"--out=x.png",
        "name with a backslash": b"a\\xe9.png",
        "name in right to left": "\u202egnp.png".encode(),
    }
    for name, file in names.items():
        yield Kind(name=name, ending=".png", data=data, pixels=PHOTO[::-1], file=file)
    yield Kind(name="broken link", ending=".png", place=lambda p: p.symlink_to("nowhere"), words="No such file")
    yield Kind(name="link to itself", ending=".png", place=lambda p: p.symlink_to(p.name), words="Too many levels")
    yield Kind(
        name="link to a device", ending=".jpg", place=lambda p: p.symlink_to("/dev/zero"), words="a device, not a file"
    )
    yield Kind(name="fifo", ending=".jpg", place=os.mkfifo, words="a FIFO, not a file")
    yield Kind(name="socket", ending=".jpg", place=_socket, words="a socket, not a file")
    yield Kind(name="40 GB of holes", ending=".jpg", place=_sparse, words="larger than 1 GB")


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path may have no more than 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, SPARSE)
