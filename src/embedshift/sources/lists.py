"""Converts arguments and lists of files to paths and URLs."""

import codecs
import os
import re
from typing import IO

from fsspec.implementations.local import LocalFileSystem

from embedshift.config.safe_files import open_file, read_file
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources.base import LIST_BYTES
from embedshift.sources.web import answered, file_system

_COLUMN = re.compile(r"(.+(?:\.parquet|\bviews\.json))#(.+)", re.IGNORECASE | re.DOTALL)
TABLE_ENDINGS = (".csv", ".tsv")


def expand(path: str) -> list[str]:
    """The paths of one argument: itself, or those in a list (`.txt`, one a line); local ones become absolute."""
    if not path.strip():
        raise UsageError("an empty path: name a folder, a file or a list of images")
    if is_url(path):
        return [path]
    path = os.path.abspath(os.path.expanduser(path))
    file, _ = file_and_column(path)
    if not os.path.exists(file):
        raise UsageError(f"{file}: no such file or folder")
    ending = os.path.splitext(path)[1].lower()
    if ending in TABLE_ENDINGS and not os.path.isdir(path):
        raise UsageError(f"{path}: a table is not a list of images; give a .txt file with one path per line")
    if ending != ".txt" or os.path.isdir(path):
        return [path]
    # Split as bytes: a name may hold what Python takes for a line end. Editors may write a byte order mark.
    try:
        lines = read_file(path, LIST_BYTES).removeprefix(codecs.BOM_UTF8).splitlines()
    except (OSError, EmbedshiftError) as error:
        raise UsageError(f"{path}: {cause(error)}") from error
    entries = dict.fromkeys(os.fsdecode(line) for line in dict.fromkeys(map(bytes.strip, lines)) if line)
    return [_resolve(entry, os.path.dirname(path)) for entry in entries]


def is_url(path: str) -> bool:
    """Returns whether a path is a URL for fsspec: `scheme://…`."""
    return "://" in path


def open_location(location: str) -> IO[bytes]:
    if not is_url(location):
        return open_file(location)
    files, path = file_system(location)
    if isinstance(files, LocalFileSystem):
        return open_file(path)
    opened: IO[bytes] = answered(lambda: files.open(path, "rb"))
    return opened


def file_and_column(path: str) -> tuple[str, str]:
    """Splits `file.parquet#column` and `views.json#folder` at the `#`; returns any other path and ""."""
    match = _COLUMN.fullmatch(path)
    return (match[1], match[2]) if match else (path, "")


def _resolve(entry: str, folder: str) -> str:
    if is_url(entry):
        return entry
    beside_list = os.path.normpath(os.path.join(folder, os.path.expanduser(entry)))
    if os.path.exists(file_and_column(beside_list)[0]):
        return beside_list
    in_working_folder = os.path.abspath(entry)
    return in_working_folder if os.path.exists(file_and_column(in_working_folder)[0]) else beside_list
