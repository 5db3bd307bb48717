"""Folders, single files, and lists of files and addresses."""

import codecs
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from fsspec.implementations.local import LocalFileSystem

from embedshift.config.safe_files import open_file, read_file
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources.base import (
    CAPTION_ENDINGS,
    ENDINGS,
    IMAGE_BYTES,
    LIST_BYTES,
    TEXT_BYTES,
    ImageRef,
    Source,
    count_ending,
    read_captions,
)
from embedshift.sources.web import answered, file_system

# Archives behind URLs that are listed at once.
_FAR_AT_ONCE = 16
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
    return "://" in path


def open_location(location: str) -> IO[bytes]:
    if not is_url(location):
        return open_file(location)
    files, path = file_system(location)
    if isinstance(files, LocalFileSystem):
        return open_file(path)
    opened: IO[bytes] = answered(lambda: files.open(path, "rb"))
    return opened


def list_archives(
    archives: Sequence[str], list_one: Callable[[str, Counter[str]], Iterable[ImageRef]], skipped: Counter[str]
) -> list[ImageRef]:
    """Returns the images of archives in their order; those behind URLs, which mostly wait, are listed many at once."""
    counts = [Counter[str]() for _ in archives]
    with ThreadPoolExecutor(_FAR_AT_ONCE if any(map(is_url, archives)) else 1) as threads:
        listed = threads.map(lambda archive, counted: [*list_one(archive, counted)], archives, counts)
        samples = [sample for of_archive in listed for sample in of_archive]
    for counted in counts:
        skipped.update(counted)
    return samples


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


log = logging.getLogger(__name__)


class FolderSource(Source):
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
        stems = {os.path.splitext(file)[0] for file in files}
        captions = read_captions(self._texts, stems, self.skipped, lambda path: read_file(path, TEXT_BYTES))
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
