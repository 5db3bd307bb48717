"""Folders, single files and lists of files."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedshift.errors import EmbedshiftError
from embedshift.sources.base import Sample

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


class FolderSource:
    """The pictures in folders (with all folders below), among single files, and in lists (`.txt`, one path a line).

    Names that begin with a dot, and folders that hold a study of embedshift, are passed over; files with other endings
    are counted in `skipped`. An `image_id` is the path below the one folder given, or below the common parent of all
    that was given, with `/`.

    Args:
        paths: Folders, files and lists. Relative paths in a list count from the list's folder, else from here.

    Raises:
        EmbedshiftError: when a path does not exist.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for name in ("b.JPG", "a.png", "notes.md", ".hidden.png"): _ = (root / name).write_bytes(b"")
        >>> source = FolderSource([str(root)])
        >>> [s.image_id for s in source.samples], dict(source.skipped)
        (['a.png', 'b.JPG'], {'.md': 1})
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self._unlisted: dict[str, str] = {}
        given = [entry for path in paths for entry in _expand(path)]
        files: dict[str, None] = {}
        parents: list[str] = []
        for entry in given:
            if os.path.isdir(entry):
                parents.append(entry)
                files |= dict.fromkeys(self._walk(entry))
            else:
                parents.append(os.path.dirname(entry))
                files[entry] = None
        root = os.path.commonpath(parents) if parents else ""
        self.samples = [
            Sample(os.path.relpath(file, root).replace(os.sep, "/"), file, problem=self._unlisted.get(file))
            for file in sorted(files)
        ]
        self.description = {"kind": "folder", "root": root}

    def read(self, sample: Sample) -> bytes:
        """The bytes of one file."""
        return Path(sample.location).read_bytes()

    def _walk(self, folder: str) -> Iterator[str]:
        def note(error: OSError) -> None:
            # A folder that cannot be listed stands in the study as one image that failed, so that it is not lost.
            self._unlisted[str(error.filename)] = f"the folder cannot be listed: {error.strerror}"

        for place, folders, names in os.walk(folder, followlinks=True, onerror=note):
            ancestors = os.path.realpath(place)
            folders[:] = sorted(
                name
                for name in folders
                if not name.startswith(".")
                and not _holds_study(os.path.join(place, name))
                and not (ancestors + os.sep).startswith(os.path.realpath(os.path.join(place, name)) + os.sep)
            )
            for name in names:
                if name.startswith("."):
                    continue
                ending = os.path.splitext(name)[1].lower()
                if ending in ENDINGS:
                    yield os.path.join(place, name)
                else:
                    self.skipped[ending or "no ending"] += 1
        yield from (path for path in self._unlisted if path.startswith(folder))


def _holds_study(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "study.json")) and os.path.isdir(os.path.join(folder, "shards"))


def _expand(path: str) -> list[str]:
    """Absolute paths of one argument: itself, or what a list names."""
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.exists(path):
        raise EmbedshiftError(f"{path}: no such file or folder", exit_code=2)
    if not path.lower().endswith(".txt") or os.path.isdir(path):
        return [path]
    lines = os.fsdecode(Path(path).read_bytes()).splitlines()
    entries = [line.strip() for line in lines if line.strip()]
    return [_resolve(entry, os.path.dirname(path)) for entry in entries]


def _resolve(entry: str, folder: str) -> str:
    beside = os.path.normpath(os.path.join(folder, os.path.expanduser(entry)))
    here = os.path.abspath(entry)
    return here if not os.path.exists(beside) and os.path.exists(here) else beside
