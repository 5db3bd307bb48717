"""The pictures of an attack on disk: one PNG for each image in each folder, whole or not at all."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.sources.attacked import FILE, AttackedImage, file_of, hash_of
from embedshift.store.shards import write_whole

# What a run that was killed may leave.
_HIDDEN = re.compile(rf"\.(.+\.png|{re.escape(FILE)})\.\d+")


@dataclass(frozen=True)
class Pictures:
    """Where they lie.

    Args:
        folder: Of the attack.
    """

    folder: Path

    def path(self, variant: str, image_id: str) -> Path:
        """The file of an image; raises EmbedshiftError as `file_of` does."""
        return file_of(self.folder, variant, image_id)

    def write(self, variant: str, image_id: str, picture: Pixels) -> str:
        """Writes one, uint8 `[S, S, 3]`, without loss; gives the hash of the file."""
        path = self.path(variant, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda hidden: Image.fromarray(picture).save(hidden, "PNG"))
        return self.hash_of(variant, image_id)

    def hash_of(self, variant: str, image_id: str) -> str:
        """The hash of a file's bytes; "" where it cannot be read."""
        return hash_of(self.path(variant, image_id))

    def hold(self, image_id: str, record: AttackedImage, variants: Collection[str]) -> bool:
        """Whether the files of an image are as they were written."""
        return all(each in record.files and record.files[each] == self.hash_of(each, image_id) for each in variants)

    def sweep(self) -> None:
        """Deletes what a run that was killed left half written."""
        for path in self.folder.rglob(".*"):
            if _HIDDEN.fullmatch(path.name):
                path.unlink()
