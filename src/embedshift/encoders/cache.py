"""The user's cache: results that embedshift keeps to avoid computing them again."""

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embedshift.config.files import read_own

# Largest size of a note, and largest number of notes; the oldest are deleted.
LARGEST, MOST = 65_536, 200
# Errors of a cache that is full, read-only, a file instead of a folder, without a home folder, or damaged.
BROKEN = (OSError, RuntimeError, ValueError, RecursionError)


def cache_folder() -> Path:
    """Returns `$EMBEDSHIFT_CACHE`, else `embedshift` in `$XDG_CACHE_HOME`, `~/.cache`, or macOS's `~/Library/Caches`."""
    if "EMBEDSHIFT_CACHE" in os.environ:
        return Path(os.environ["EMBEDSHIFT_CACHE"])
    usual = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / usual) / "embedshift"


def recall(kind: str, key: str) -> Any:
    """Returns the content stored under a key; None if this user's embedshift has stored none."""
    try:
        return json.loads(read_own(cache_folder() / kind / f"{key}.json", LARGEST))
    except BROKEN:
        return None


def note(kind: str, key: str, content: Any) -> None:
    """Stores JSON under a key, completely or not at all; if nothing can be written, nothing is stored."""
    with contextlib.suppress(*BROKEN):
        folder = cache_folder() / kind
        folder.mkdir(parents=True, exist_ok=True)
        with _hidden(folder) as hidden:
            hidden.write_text(json.dumps(content), encoding="utf-8")
            os.replace(hidden, folder / f"{key}.json")
        notes = [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]+\.json", path.name)]
        for path in sorted(notes, key=lambda path: path.lstat().st_mtime)[:-MOST]:
            path.unlink()


@contextlib.contextmanager
def _hidden(folder: Path) -> Iterator[Path]:
    """Yields a new file with a unique name, which is deleted afterwards unless it was renamed."""
    handle, name = tempfile.mkstemp(dir=folder, prefix=".note-")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
