"""Finds the original images of a study, for exports that name them."""

import os
from dataclasses import replace
from pathlib import Path

from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.store.reader import Reader


def open_reader(folder: Path, images_root: str | Path | None = None) -> Reader:
    """Returns a reader of a study whose images lie in `images_root`; None = where the run read them."""
    return replace(Reader(folder), images_root=check_images_root(images_root))


def check_images_root(images_root: str | Path | None) -> Path | None:
    """Returns the folder that holds a study's images on this machine; UsageError if there is no such folder."""
    root = None if images_root is None else expanded(images_root)
    if root is not None and not root.is_dir():
        raise UsageError(f"`images_root`: {root}: no such folder")
    return root


def original_path(reader: Reader, image_id: str) -> str:
    path = os.path.join(reader.source["root"], image_id)
    path = os.path.abspath(os.fsdecode(path.encode("utf-8", "surrogateescape")))
    reader.roots.check(path)
    return path
