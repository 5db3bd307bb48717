"""Folders, single files and lists of files."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from embedshift.config.files import read_file
from embedshift.errors import EmbedshiftError, cause
from embedshift.sources.base import (
    CAPTION_ENDINGS,
    ENDINGS,
    IMAGE_BYTES,
    TEXT_BYTES,
    Block,
    ImageRef,
    captions_of,
    count_ending,
)
from embedshift.sources.lists import expand

log = logging.getLogger(__name__)


class FolderSource:
    """The images in folders (with all folders below), in single files, and in lists (`.txt`, one path a line)."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self._unlisted: dict[str, str] = {}
        given = [entry for path in paths for entry in expand(path)]
        files: dict[str, None] = {}
        self._texts: list[str] = []
        parents: list[str] = []
        for entry in given:
            if os.path.isdir(entry):
                parents.append(entry)
                files |= dict.fromkeys(self._walk(entry))
            else:
                parents.append(os.path.dirname(entry))
                files[entry] = None
                self._texts += filter(os.path.isfile, (os.path.splitext(entry)[0] + end for end in CAPTION_ENDINGS))
        root = os.path.commonpath(parents) if parents else ""
        captions = self._captions({os.path.splitext(file)[0] for file in files})
        self.samples = [
            ImageRef(
                os.path.relpath(file, root).replace(os.sep, "/"),
                file,
                captions.get(os.path.splitext(file)[0]),
                problem=self._unlisted.get(file),
            )
            for file in sorted(files)
        ]
        self.description = {"kind": "folder", "root": root}

    def read(self, sample: ImageRef) -> bytes:
        """Reads the bytes of one file."""
        return read_file(sample.location, IMAGE_BYTES)

    def block(self, sample: ImageRef) -> Block | None:
        """Returns None: every image can be read by itself."""
        return None

    def _captions(self, stems: Set[str]) -> dict[str, str]:
        """Returns stem → caption; a text without an image counts as a skipped file."""
        found: dict[str, str] = {}
        for path in sorted({*self._texts}):  # one by one, since all of them at once may be large
            stem = os.path.splitext(path)[0]
            if stem not in stems:
                count_ending(self.skipped, path)
                continue
            try:
                found |= captions_of({path: (stem, read_file(path, TEXT_BYTES))})
            except (OSError, EmbedshiftError) as error:
                log.warning("%s: no caption could be read (%s)", path, cause(error))
        return found

    def _walk(self, folder: str) -> Iterator[str]:
        def note(error: OSError) -> None:
            # A folder that cannot be listed becomes one failed image of the study, so that it is not lost.
            self._unlisted[str(error.filename)] = f"the folder cannot be listed: {error.strerror}"

        # Per folder to come, the real paths of those on the way to it: a link back to or above one goes in a circle.
        way = {folder: [Path(os.path.realpath(folder))]}
        for place, folders, names in os.walk(folder, followlinks=True, onerror=note):
            passed = way.pop(place)
            kept: list[str] = []
            for name in sorted(folders):
                path = os.path.join(place, name)
                end = Path(os.path.realpath(path))
                if not (name.startswith(".") or holds_study(path) or any(one.is_relative_to(end) for one in passed)):
                    kept.append(name)
                    way[path] = [*passed, end]
            folders[:] = kept
            for name in names:
                if name.startswith("."):
                    continue
                ending = os.path.splitext(name)[1].lower()
                if ending in ENDINGS:
                    yield os.path.join(place, name)
                elif ending in CAPTION_ENDINGS:
                    self._texts.append(os.path.join(place, name))
                else:
                    count_ending(self.skipped, name)
        yield from (path for path in self._unlisted if path.startswith(folder))


def holds_study(folder: str) -> bool:
    """Returns whether a folder holds a study, whose figures are no images to measure."""
    return os.path.isfile(os.path.join(folder, "study.json")) and os.path.isdir(os.path.join(folder, "shards"))
