"""`VectorSource`: the vectors of a study that is made of them, image by image."""

import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from embedshift.arrays import Floats
from embedshift.config import Json
from embedshift.errors import UsageError, reason
from embedshift.sources.base import ImageRef
from embedshift.sources.folder import FolderSource
from embedshift.sources.vectors import VectorSet
from embedshift.sources.views_file import ORIGINALS, ViewsFile

KIND = "vectors"
# Rows of whole originals whose file is known.
_WITH_PATH = (pc.field("view") == ORIGINALS) & (pc.field("tile") == 0) & pc.field("path").is_valid()


class ListedImages(FolderSource):
    """The images of vectors, at the places in the column `path` of the tables in some files."""

    def __init__(
        self, files: Sequence[str], columns: Mapping[str, str] | None = None, sets: Sequence[VectorSet] | None = None
    ) -> None:
        self.skipped: Counter[str] = Counter()
        sets = [VectorSet.open(file, columns=columns) for file in files] if sets is None else sets
        self.samples = [
            # A relative path is beside the table.
            ImageRef(row["image_id"], os.path.abspath(Path(each.name).parent / os.path.expanduser(row["path"])))
            for each in sets
            for row in each.keys.filter(_WITH_PATH).to_pylist()
        ]
        folders = [os.path.dirname(sample.location) for sample in self.samples]
        about: Json = {"root": os.path.commonpath(folders) if folders else None, "columns": {**(columns or {})}}
        about |= {"numbered": bool(sets) and sets[0].is_numbered}
        known = {name: value for name, value in about.items() if value}
        self.description = {"kind": KIND, "paths": list(files), **known}


class VectorSource(ListedImages):
    """The vectors of images and their views, given in any order.

    They are copied once into a file without a name in the folder, or above it, which the system deletes with the
    process. Memory holds the ids, and some bytes a row. `views_file` is what `embedshift views` wrote.
    """

    def __init__(
        self, sets: Sequence[VectorSet], *, folder: Path, views_file: ViewsFile | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        super().__init__([os.path.abspath(each.name) for each in sets if os.path.isfile(each.name)], columns, sets)
        self.set, self.views_file = VectorSet.joined(sets), views_file
        known: Any = {} if views_file is None else {"images": views_file.images, "views": [*views_file.augmentations]}
        grid = self.set.grid(**known)
        if not grid.views:
            raise UsageError(f"all vectors are of {ORIGINALS!r}; give those of one view at least")
        grid.refuse_missing()
        self.views, self.draws, self.tiles, self.rows = grid.views, grid.draws, grid.tiles, grid.rows
        self.groups = grid.texts("group")
        captions = {image_id: image.caption for image_id, image in known.get("images", {}).items()}
        captions |= grid.texts("caption")
        places = {sample.image_id: sample.location for sample in self.samples}
        self.samples = [
            ImageRef(image_id, places.get(image_id, ""), captions.get(image_id), archive=KIND, position=position)
            for position, image_id in enumerate(grid.ids)
        ]
        self._copy = tempfile.TemporaryFile(dir=existing_folder(folder))  # noqa: SIM115 - as long as this object
        about = json.dumps([grid.ids, self.views]).encode() + self.rows.tobytes()
        self.dim, self.digest = self._copied(hashlib.sha256(about))

    def vectors(self, positions: Sequence[int]) -> Floats:
        # Row by row: of a mapped file, the pages around each row would be in memory, too.
        rows, size = self.rows[list(positions)], 4 * self.dim
        content = b"".join(os.pread(self._copy.fileno(), size, row * size) for row in rows.ravel().tolist())
        return np.frombuffer(content, np.float32).reshape(*rows.shape, self.dim)

    def place(self, position: int, slot: int) -> str:
        return self.set.place(int(self.rows[position, slot]))

    def _copied(self, digest: Any) -> tuple[int, str]:
        """Copies all vectors, and returns their length and a hash; an infinite number is a failure of its image."""
        dim = 0
        try:
            for vectors in self.set.blocks(zeros=False):
                dim = vectors.shape[1]
                digest.update(content := vectors.tobytes())
                self._copy.write(content)
            self._copy.flush()
        except OSError as error:
            words = f"the vectors cannot be read, or copied to a file beside `out` ({reason(error):.200})"
            raise UsageError(words) from error
        return dim, str(digest.hexdigest())


def existing_folder(folder: Path) -> Path:
    return next(place for place in (folder, *folder.resolve().parents) if place.is_dir())
