"""Arguments and lists of files → paths and URLs."""

import codecs
import os
import re
from pathlib import Path

from embedshift.errors import UsageError

_COLUMN = re.compile(r"(.+\.parquet)#(.+)", re.IGNORECASE | re.DOTALL)


def expand(path: str) -> list[str]:
    """Paths of one argument: itself, or what a list (`.txt`) names, one a line; local ones are made absolute.

    Raises:
        EmbedshiftError: when it is a local path that does not exist.

    Example:
        >>> expand("s3://bucket/photos")
        ['s3://bucket/photos']
    """
    if is_url(path):
        return [path]
    path = os.path.abspath(os.path.expanduser(path))
    file, _ = file_and_column(path)
    if not os.path.exists(file):
        raise UsageError(f"{file}: no such file or folder")
    if not path.lower().endswith(".txt") or os.path.isdir(path):
        return [path]
    # Split as bytes: a name may hold what Python takes for the end of a line. Editors may begin a text with a mark.
    lines = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    entries = [os.fsdecode(line.strip()) for line in lines if line.strip()]
    return [_resolve(entry, os.path.dirname(path)) for entry in entries]


def is_url(path: str) -> bool:
    """Whether fsspec must find it: `scheme://…`."""
    return "://" in path


def file_and_column(path: str) -> tuple[str, str]:
    """What stands before and behind the `#` of `file.parquet#column`; of any other path itself and nothing.

    Example:
        >>> file_and_column("/data/a.parquet#q50"), file_and_column("photos#1")
        (('/data/a.parquet', 'q50'), ('photos#1', ''))
    """
    found = _COLUMN.fullmatch(path)
    return (found[1], found[2]) if found else (path, "")


def _resolve(entry: str, folder: str) -> str:
    if is_url(entry):
        return entry
    beside = os.path.normpath(os.path.join(folder, os.path.expanduser(entry)))
    here = os.path.abspath(entry)
    there, elsewhere = (os.path.exists(file_and_column(path)[0]) for path in (beside, here))
    return here if elsewhere and not there else beside
