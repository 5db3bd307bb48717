"""The pictures of an attack on disk: one PNG for each image in each folder, whole or not at all."""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.config.files import read_file
from embedshift.errors import EmbedshiftError
from embedshift.sources.attacked import FILE, AttackedImage
from embedshift.sources.base import IMAGE_BYTES, stem
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
        """The file of an image: its id, with the ending of a PNG.

        Raises:
            EmbedshiftError: for an id that cannot be the name of a file below the folder.

        Example:
            >>> Pictures(Path("adv")).path("linf-4", "cats/tom.jpg").as_posix()
            'adv/linf-4/cats/tom.png'
        """
        name = stem(image_id)
        if "\0" in name or any(not part or part.startswith(".") for part in name.split("/")):
            raise EmbedshiftError("its id cannot be the name of a file that a folder of images shows")
        return self.folder / variant / f"{name}.png"

    def write(self, variant: str, image_id: str, picture: Pixels) -> str:
        """Writes one, uint8 `[S, S, 3]`, without loss; gives the hash of the file."""
        path = self.path(variant, image_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda hidden: Image.fromarray(picture).save(hidden, "PNG"))
        return self.hash_of(variant, image_id)

    def hash_of(self, variant: str, image_id: str) -> str:
        """The hash of a file's bytes; "" where it cannot be read."""
        try:
            data = read_file(self.path(variant, image_id), IMAGE_BYTES)
        except (OSError, EmbedshiftError):
            return ""
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    def hold(self, image_id: str, record: AttackedImage, variants: Collection[str]) -> bool:
        """Whether the files of an image are as they were written."""
        return all(each in record.files and record.files[each] == self.hash_of(each, image_id) for each in variants)

    def sweep(self) -> None:
        """Deletes what a run that was killed left half written."""
        for path in self.folder.rglob(".*"):
            if _HIDDEN.fullmatch(path.name):
                path.unlink()
