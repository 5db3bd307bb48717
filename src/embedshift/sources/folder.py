"""Folders, single files and lists of files."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from embedshift.config.safe_files import read_file
from embedshift.errors import EmbedshiftError, cause
from embedshift.sources.base import (
    CAPTION_ENDINGS,
    ENDINGS,
    IMAGE_BYTES,
    TEXT_BYTES,
    ImageRef,
    Source,
    count_ending,
    read_captions,
)
from embedshift.sources.lists import expand

log = logging.getLogger(__name__)


class FolderSource(Source):
    """The images in folders (with all folders below), in single files, and in lists (`.txt`, one path a line)."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self._unlisted: dict[str, str] = {}
        entries = [entry for path in paths for entry in expand(path)]
        files: dict[str, None] = {}
        self._texts: list[str] = []
        parents: list[str] = []
        for entry in entries:
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
        return read_file(sample.location, IMAGE_BYTES)

    def _captions(self, stems: Set[str]) -> dict[str, str]:
        """Returns stem → caption; a text without an image counts as a skipped file."""
        captions: dict[str, str] = {}
        for path in sorted({*self._texts}):  # one by one, since all of them at once may be large
            stem = os.path.splitext(path)[0]
            if stem not in stems:
                count_ending(self.skipped, path)
                continue
            try:
                captions |= read_captions({path: (stem, read_file(path, TEXT_BYTES))})
            except (OSError, EmbedshiftError) as error:
                log.warning("%s: no caption could be read (%s)", path, cause(error))
        return captions

    def _walk(self, folder: str) -> Iterator[str]:
        def note(error: OSError) -> None:
            # A folder that cannot be listed becomes one failed image of the study, so that it is not lost.
            self._unlisted[str(error.filename)] = f"the folder cannot be listed: {error.strerror}"

        # Folder to be listed → real paths of it and of the folders above: a link to one of them would be a circle.
        ancestors = {folder: [Path(os.path.realpath(folder))]}
        for parent, folders, names in os.walk(folder, followlinks=True, onerror=note):
            above = ancestors.pop(parent)
            if holds_study(parent):  # the folder that was named: others are left out below
                log.info("%s: holds a study too; skipping the study's own figures", parent)
                folders[:] = [name for name in folders if name != "figures"]
            kept: list[str] = []
            for name in sorted(folders):
                path = os.path.join(parent, name)
                target = Path(os.path.realpath(path))
                if not (
                    name.startswith(".")
                    or holds_study(path)
                    or any(ancestor.is_relative_to(target) for ancestor in above)
                ):
                    kept.append(name)
                    ancestors[path] = [*above, target]
            folders[:] = kept
            for name in names:
                if name.startswith("."):
                    continue
                ending = os.path.splitext(name)[1].lower()
                if ending in ENDINGS:
                    yield os.path.join(parent, name)
                elif ending in CAPTION_ENDINGS:
                    self._texts.append(os.path.join(parent, name))
                else:
                    count_ending(self.skipped, name)
        yield from (path for path in self._unlisted if path.startswith(folder))


def holds_study(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "study.json")) and os.path.isdir(os.path.join(folder, "shards"))
