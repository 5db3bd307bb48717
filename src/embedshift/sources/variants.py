"""The names of variants, and their places."""

import os
import posixpath
import re
from collections.abc import Sequence

from embedshift.errors import UsageError
from embedshift.sources.lists import file_and_column, is_url

_ENDING = re.compile(r"\.(tar|parquet|txt)$", re.IGNORECASE)


def named_variants(pairs: Sequence[str]) -> dict[str, str]:
    """Returns name → path for the texts of the setting `pairs`."""
    found: dict[str, str] = {}
    for text in pairs:
        name, path = _named(text)
        if name in found:
            raise UsageError(f"two variants have the name {name!r}: {found[name]} and {path}; name them as NAME=PATH")
        found[name] = path
    return found


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    # A folder may be called quality=50.
    if equals and name and path and "/" not in name and not os.path.exists(file_and_column(text)[0]):
        return name, path
    file, column = file_and_column(text)
    file = file.rstrip("/") if is_url(file) else os.path.abspath(os.path.expanduser(file))
    return column or _ENDING.sub("", posixpath.basename(file)), text
