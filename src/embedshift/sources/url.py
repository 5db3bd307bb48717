"""Images behind URLs: any file system that fsspec knows (s3, gs, http, memory)."""

import os
import posixpath
from collections import Counter
from collections.abc import Sequence

import fsspec
from fsspec.implementations.local import LocalFileSystem

from embedshift.config.files import read_file, refuse_larger
from embedshift.errors import UsageError, cause, reason
from embedshift.sources.base import ENDINGS, IMAGE_BYTES, ImageRef, Source, count_ending
from embedshift.sources.lists import answered


class UrlSource(Source):
    """The images below URLs; an `image_id` is the path below the given URL, or below the common parent of several."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "url", "paths": list(urls)}
        files: dict[str, str] = {}
        parents: list[str] = []
        for url in urls:
            folder, paths = _find(url)
            parents.append(folder)
            for path in paths:
                if path == url or self._is_image(path[len(folder) :]):
                    files[path] = url
        root = posixpath.commonpath(parents) if parents else ""
        scheme = urls[0].split("://")[0] if urls else ""
        self.samples = [
            ImageRef(posixpath.relpath(path, root), path if "://" in path else f"{scheme}://{path}")
            for path in sorted(files)
        ]

    def read(self, sample: ImageRef) -> bytes:
        files, path = fsspec.url_to_fs(sample.location)
        if isinstance(files, LocalFileSystem):
            return read_file(path, IMAGE_BYTES)
        data: bytes = files.cat_file(path, end=IMAGE_BYTES + 1)
        refuse_larger(len(data), IMAGE_BYTES)
        return data

    def _is_image(self, below: str) -> bool:
        if any(part.startswith(".") for part in below.split("/")):
            return False
        if os.path.splitext(below)[1].lower() in ENDINGS:
            return True
        count_ending(self.skipped, below)
        return False


def _find(url: str) -> tuple[str, list[str]]:
    """Returns the folder where ids start, and the files below it, both without the scheme if fsspec omits it."""
    try:
        files, path = fsspec.url_to_fs(url)
        if answered(lambda: files.isfile(path)) and not files.isdir(path):
            return posixpath.dirname(path), [path]
        paths = list(files.find(path))
    except TimeoutError as error:
        raise UsageError(f"{url}: {cause(error)}") from error
    except Exception as error:
        raise UsageError(f"{url}: cannot be listed ({reason(error)})") from error
    if not paths:
        raise UsageError(f"{url}: no such file or folder")
    return path.rstrip("/"), paths
