"""The images of an attack on disk: one PNG for each image in each folder, complete or not at all."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.sources.attacked import FILE, AttackedImage, file_of, hash_of
from embedshift.store.shards import write_whole

# Files that a killed run may leave.
_HIDDEN = re.compile(rf"\.(.+\.png|{re.escape(FILE)})\.\d+")


@dataclass(frozen=True)
class Pictures:
    """The store of an attack's images."""

    folder: Path

    def path(self, variant: str, image_id: str) -> Path:
        """Returns the path of an image; raises EmbedshiftError as `file_of` does."""
        return file_of(self.folder, variant, image_id)

    def write(self, variant: str, image_id: str, picture: Pixels) -> str:
        """Writes an image, uint8 `[S, S, 3]`, without loss; returns the hash of the file."""
        path = self.path(variant, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda hidden: Image.fromarray(picture).save(hidden, "PNG"))
        return self.hash_of(variant, image_id)

    def hash_of(self, variant: str, image_id: str) -> str:
        """Returns the hash of a file's bytes; "" if it cannot be read."""
        return hash_of(self.path(variant, image_id))

    def hold(self, image_id: str, record: AttackedImage, variants: Collection[str]) -> bool:
        """Returns whether the files of an image are unchanged."""
        return all(each in record.files and record.files[each] == self.hash_of(each, image_id) for each in variants)

    def sweep(self) -> None:
        """Deletes incomplete files of killed runs."""
        for path in self.folder.rglob(".*"):
            if _HIDDEN.fullmatch(path.name):
                path.unlink()
