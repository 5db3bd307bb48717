"""views.json: the views that `embedshift views` wrote as files, and what decides them; read as untrusted data."""

import dataclasses
import functools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, MaxLen

from embedshift.config import Grade
from embedshift.config.files import read_file, read_text, typed
from embedshift.config.views import Format
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.base import IMAGE_BYTES, Failure, ImageRef, Source, hash_of, stem

FILE, ORIGINALS = "views.json", "original"
# Largest size of the file that is read, and longest text from it that a report shows, in bytes.
LARGEST, TEXT = 2**31, 1_000
# Views of an image, so many at most.
VIEWS = 100_000

Name = Annotated[str, MaxLen(TEXT)]


@dataclass(frozen=True, kw_only=True)
class WrittenAugmentation:
    """What the file says of an augmentation: one line, its place in its family, and the name that its seeds are of."""

    description: Name
    grade: Grade | None = None
    seeded_by: Name = ""


@dataclass(frozen=True, kw_only=True)
class WrittenImage:
    """The hash of an image's own pixels, and by folder the hashes of its files, their seeds and their parameters."""

    pixels: Name
    files: Mapping[str, Name]
    seeds: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    caption: Annotated[str, MaxLen(LARGEST)] | None = None


@dataclass(frozen=True, kw_only=True)
class WrittenViews:
    """The content of views.json."""

    embedshift: Name
    seed: Annotated[int, Ge(0)]
    draws: Annotated[int, Ge(1)]
    format: Format
    identity: Mapping[str, Any]
    augmentations: Mapping[str, WrittenAugmentation]
    images: Mapping[str, WrittenImage] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()

    @property
    def folders(self) -> list[str]:
        """The folders of the views: of each augmentation, and with several draws of each of them."""
        return [folder_of(name, draw, self.draws) for draw in range(self.draws) for name in self.augmentations]


def folder_of(name: str, draw: int, draws: int) -> str:
    return name if draws == 1 else f"{name}/{draw}"


def view_path(folder: Path, view: str, image_id: str, format: str) -> Path:
    """Returns the path of one file: the image's id with the ending of the format."""
    name = stem(image_id)
    for part in (*view.split("/"), *name.split("/")):
        if not part or part.startswith(".") or "\0" in part:
            raise EmbedshiftError(f"{part!r:.40} cannot be used as a file name in a folder of images")
    return folder / view / f"{name}.{'jpg' if format == 'jpeg' else format}"


def is_views_file(path: str) -> bool:
    return os.path.basename(path.partition("#")[0]) == FILE


def read_views_file(path: Path) -> WrittenViews:
    """Reads views.json; UsageError if it is none."""
    status = os.stat(path) if path.is_file() else None
    if status is None:
        raise UsageError(f"{path}: no such file; `embedshift views` writes it")
    return _read(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _read(path: Path, _changed: int, _size: int) -> WrittenViews:
    try:
        content = json.loads(text := read_text(path, LARGEST))
        if "\\u" in text:  # half of a character is no name, except a byte of a file name
            json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogateescape")
        views = typed(WrittenViews, content)
        if not views.augmentations:
            raise ValueError("no augmentation")
        if views.draws * len(views.augmentations) > VIEWS:
            raise ValueError(f"more than {VIEWS:,} views of an image")
        for folder in views.folders:
            view_path(path.parent, folder, ORIGINALS, views.format)
        return views
    except (ValueError, RecursionError, EmbedshiftError) as error:
        raise UsageError(f"{path}: not a file written by `embedshift views` ({error!s:.200})") from error


def views_text(views: WrittenViews) -> str:
    """Returns the text of views.json, escaped, because a name may hold bytes that are no text."""
    return json.dumps(dataclasses.asdict(dataclasses.replace(views, images=dict(sorted(views.images.items())))))


class ViewsSource(Source):
    """The images of one folder that views.json describes, under the ids that they had: `DIR/views.json#FOLDER`."""

    def __init__(self, entries: Sequence[str]) -> None:
        if len(entries) != 1:
            raise UsageError(f"{entries[1]}: give the views of one {FILE} at a time")
        path, _, view = entries[0].partition("#")
        folder, self._view, self._views = Path(path).parent, view or ORIGINALS, read_views_file(Path(path))
        if self._view not in (ORIGINALS, *self._views.folders):
            raise UsageError(f"{path}: it has no views {self._view!r}")
        self.samples = [
            ImageRef(image_id, str(view_path(folder, self._view, image_id, self._views.format)), caption=image.caption)
            for image_id, image in self._views.images.items()
            if self._view in image.files
        ]
        if self._view == ORIGINALS:
            self.samples += [
                ImageRef(failure.image_id, "", problem=f"no views were written ({failure.stage}: {failure.reason})")
                for failure in self._views.failures
            ]
        self.skipped: Counter[str] = Counter()
        self.description = {"kind": "views", "paths": list(entries)}

    def read(self, sample: ImageRef) -> bytes:
        """Reads the bytes of one file; EmbedshiftError if it is not the one that was written."""
        data = read_file(Path(sample.location), IMAGE_BYTES)
        if hash_of(data) != self._views.images[sample.image_id].files[self._view]:
            raise EmbedshiftError("it is not the file that `embedshift views` wrote")
        return data
