"""The names of variants, and their places."""

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from embedshift.errors import UsageError
from embedshift.sources.lists import file_and_column, is_url
from embedshift.sources.views_file import WrittenViews, is_views_file, read_views_file

_ENDING = re.compile(r"\.(tar|parquet|txt|npy)$", re.IGNORECASE)


def named_variants(pairs: Sequence[str]) -> dict[str, str]:
    """Returns name → path for the texts of the setting `pairs`."""
    paths: dict[str, str] = {}
    if (views := written_views(pairs)) is not None:
        return {folder: f"{pairs[0]}#{folder}" for folder in views.folders}
    for text in pairs:
        name, path = _named(text)
        if name in paths:
            raise UsageError(f"two variants have the name {name!r}: {paths[name]} and {path}; name them as NAME=PATH")
        paths[name] = path
    return paths


def written_views(pairs: Sequence[str]) -> WrittenViews | None:
    """Returns the file of written views that the setting `pairs` names; None if it names other variants."""
    files = [path for path in pairs if is_views_file(path)]
    if files and len(pairs) > 1:
        raise UsageError(f"{files[0]}: give the file of written views alone")
    return read_views_file(Path(files[0]).expanduser()) if files else None


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    # A folder may be called quality=50.
    if equals and name and path and "/" not in name and not os.path.exists(file_and_column(text)[0]):
        return name, path
    file, column = file_and_column(text)
    file = file.rstrip("/") if is_url(file) else os.path.abspath(os.path.expanduser(file))
    return column or _ENDING.sub("", posixpath.basename(file)), text
