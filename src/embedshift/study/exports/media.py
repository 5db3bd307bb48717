"""Finds and reads the original images of a study, for exports that name or copy them."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from embedshift.config.files import expanded
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import image_reader
from embedshift.store.reader import Reader

Media = Literal["originals", "copies", "views"]
DEFAULT_MEDIA: Media = "originals"


def open_reader(folder: Path, images_root: str | Path | None = None) -> Reader:
    """Returns a reader of a study whose images lie in `images_root`; None = where the run read them."""
    return replace(Reader(folder), images_root=check_images_root(images_root))


def check_images_root(images_root: str | Path | None) -> Path | None:
    """Returns the folder that holds a study's images on this machine; UsageError if there is no such folder."""
    root = None if images_root is None else expanded(images_root)
    if root is not None and not root.is_dir():
        raise UsageError(f"`images_root`: {root}: no such folder")
    return root


def check_media(media: str) -> None:
    """Raises UsageError for a name that is none of `Media`."""
    if media not in get_args(Media):
        raise UsageError(f"media: {media!r} is none of {', '.join(get_args(Media))}")


def original_path(reader: Reader, image_id: str) -> str:
    """Returns the absolute path of an image of a folder, whatever encoding of file names the locale sets."""
    path = os.path.join(reader.source["root"], image_id)
    path = os.path.abspath(os.fsdecode(path.encode("utf-8", "surrogateescape")))
    reader.roots.check(path)
    return path


def original_bytes(reader: Reader) -> Callable[[str], bytes]:
    """Returns a function `image_id -> bytes` of the originals; UsageError if all are gone or none may be read."""
    if reader.unseen:
        raise UsageError(f"{reader.folder}: {reader.unseen}; name their folder with `images_root`")
    try:
        return image_reader(reader.source, reader.roots)
    except EmbedshiftError as error:
        raise UsageError(f"{reader.folder}: {error}") from error
