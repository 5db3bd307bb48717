"""Names of images and places in outputs for others: no local paths, and ids only if images may be shown."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedshift.sources import without_folders
from embedshift.sources.base import ENDINGS

# An absolute path of at least two parts within a text, and its last part. It ends at a space and is not part of a URL
# or another path.
_PATH = re.compile(r"(?:file://|(?<![\w./~-]))/(?:[^/\s'\"(),:;]+/)+([^/\s'\"(),:;]*)")
# An absolute path that is a setting, or follows a colon in it, and may hold spaces; another slash is the user's.
_LAST_PATH = re.compile(r"(?:file://|^|(?<=:))/(?:[^/]+/)*([^/]+)/*$")

# Prefix of the names of a gallery's images beside a study.
GALLERY = "gallery:"


@dataclass(frozen=True)
class ImageNaming:
    source: Mapping[str, Any]
    pictures: bool = True

    def image(self, image_id: str) -> str:
        if self.pictures:
            return image_id
        if image_id.startswith(GALLERY):
            return GALLERY + self.image(image_id.removeprefix(GALLERY))
        hashed = hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=4)
        return f"image-{hashed.hexdigest()}"

    def text(self, text: str, image_id: str = "") -> str:
        short = _PATH.sub(r"\1", without_folders(text, self.source))
        if self.pictures or not image_id:
            return short
        for name in (image_id, os.path.basename(image_id)):
            short = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", self.image(image_id), short)
        return short

    def places(self, paths: Sequence[str]) -> list[str]:
        """Shortens absolute paths to the fewest trailing parts that distinguish them; keeps URLs and relative paths."""
        local = {path: path.removeprefix("file://") for path in paths}
        absolute = [path for path in local if local[path].startswith(("/", "~"))]
        short = dict(zip(absolute, tails([local[path] for path in absolute]), strict=True))
        return [self._file(path) or short.get(path, path) for path in paths]

    def setting(self, text: str) -> str:
        return _LAST_PATH.sub(r"\1", text)

    def settings(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.settings(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.settings(item) for item in value]
        return self.setting(value) if isinstance(value, str) else value

    def _file(self, path: str) -> str | None:
        """Returns the name of an image file in the settings if ids are not shown; None for any other place."""
        if self.pictures or os.path.splitext(path)[1].lower() not in ENDINGS:
            return None
        root = self.source.get("root")
        return self.image(os.path.basename(path) if root is None else os.path.relpath(os.path.abspath(path), root))


def tails(paths: Sequence[str | Path]) -> list[str]:
    parts = [[part for part in Path(path).parts if part != "/"] for path in paths]
    different = len({tuple(path_parts) for path_parts in parts})
    counts = range(1, max(map(len, parts), default=1) + 1)
    shortened = (["/".join(path_parts[-count:]) for path_parts in parts] for count in counts)
    return next(short for short in shortened if len(set(short)) == different)
