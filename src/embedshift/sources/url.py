"""Images behind URLs: any file system that fsspec knows (s3, gs, http, memory)."""

import os
import posixpath
from collections import Counter
from collections.abc import Sequence

from fsspec.implementations.local import LocalFileSystem

from embedshift.config.safe_files import read_file, refuse_larger
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.sources.base import ENDINGS, IMAGE_BYTES, ImageRef, Source, count_ending
from embedshift.sources.web import answered, file_system, is_image_address


class UrlSource(Source):
    """The images below URLs; an `image_id` is the path below the given URL, or below the common parent of several."""

    def __init__(self, urls: Sequence[str]) -> None:
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "url", "paths": list(urls)}
        schemes = sorted({url.split("://")[0].lower().replace("https", "http") for url in urls})
        if len(schemes) > 1:
            raise UsageError(f"addresses of several kinds ({', '.join(schemes)}); use one kind per study")
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
        files, path = file_system(sample.location)
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
    if is_image_address(url):
        return posixpath.dirname(url), [url]
    try:
        files, path = file_system(url)
        if answered(lambda: files.isfile(path)) and not files.isdir(path):
            return posixpath.dirname(path), [path]
        paths = list(files.find(path))
    except (EmbedshiftError, TimeoutError) as error:
        raise UsageError(f"{url}: {cause(error)}") from error
    except Exception as error:
        raise UsageError(f"{url}: cannot be listed ({cause(error)[:300]})") from error
    if not paths:
        raise UsageError(f"{url}: no such file or folder")
    return path.rstrip("/"), paths
