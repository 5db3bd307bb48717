"""Where the images of a study lie, for exports that name or copy them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import read_again
from embedshift.store.reader import Reader

Media = Literal["originals", "copies", "views"]
DEFAULT: Media = "originals"

IN_ARCHIVE = "it lies in an archive or behind a URL and is no file of its own"


def reader_of(folder: Path, images_root: str | Path | None = None) -> Reader:
    """Returns the study as it is now."""
    root = None if images_root is None else Path(images_root).expanduser()
    if root is not None and not root.is_dir():
        raise UsageError(f"`images_root`: {root}: no such folder")
    return replace(Reader(folder), images_root=root)


def check_media(media: str) -> None:
    """Raises UsageError for a name that is none of `Media`."""
    if media not in get_args(Media):
        raise UsageError(f"media: {media!r} is none of {', '.join(get_args(Media))}")


def original_files(reader: Reader, image_ids: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Finds the files of images that are files of their own."""
    found: dict[str, str] = {}
    without: dict[str, str] = {}
    source = reader.source
    for image_id in image_ids:
        if source["kind"] != "folder":
            without[image_id] = IN_ARCHIVE
            continue
        try:
            path = path_of(reader, image_id)
            reader.roots.check(path)
        except (EmbedshiftError, ValueError) as error:  # ValueError: no name of a file
            without[image_id] = str(error)
            continue
        if os.path.isfile(path) and os.access(path, os.R_OK):
            found[image_id] = path
        else:
            without[image_id] = "no such file, or it cannot be read"
    return found, without


def path_of(reader: Reader, image_id: str) -> str:
    """Returns the absolute path of an image of a folder, whatever the locale takes names of files for."""
    path = os.path.join(reader.source["root"], image_id)
    return os.path.abspath(os.fsdecode(path.encode("utf-8", "surrogateescape")))


def reading(reader: Reader) -> Callable[[str], bytes]:
    """Returns `image_id -> bytes` of the originals; it raises OSError or EmbedshiftError for one that is gone."""
    if reader.unseen:
        raise UsageError(f"{reader.folder}: {reader.unseen}; name their folder with `images_root`")
    try:
        return read_again(reader.source, reader.roots)
    except EmbedshiftError as error:
        raise UsageError(f"{reader.folder}: {error}") from error
