"""Attacks one image, without any influence of other images, and stores it with its variants."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from embedshift.arrays import Pixels
from embedshift.augmentations.purifiers import purifier
from embedshift.augmentations.views import view_seed
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.descent import worst_image
from embedshift.encoders.attack.goal import Embed, Goal, reference_embedding
from embedshift.errors import EmbedshiftError, cause
from embedshift.sources import ImageRef, images
from embedshift.sources.attacked import ORIGINALS, AttackedImage, AttackedVariant, file_hash, variant_path
from embedshift.sources.base import Failure, storable
from embedshift.store.files import made_inside, write_atomically

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Attacker:
    embed: Embed
    target: Pixels | None
    steps: int
    seed: int
    variants: Collection[AttackedVariant]
    folder: Path

    def attack(self, sample: ImageRef, original: Pixels, before: AttackedImage | None) -> AttackedImage | Failure:
        try:
            return self._attack(sample.image_id, original, before)
        except EmbedshiftError as error:
            if "cannot be written" in str(error):
                raise
            return Failure(storable(sample.image_id), "encode", cause(error))

    def is_done(self, image_id: str, record: AttackedImage | None) -> bool:
        names = [ORIGINALS, *(variant.name for variant in self.variants)]
        return record is not None and all(self._holds(image_id, record, name) for name in names)

    def _attack(self, image_id: str, original: Pixels, before: AttackedImage | None) -> AttackedImage:
        variant_path(self.folder, ORIGINALS, image_id)  # before any work, whether its id can be that of a file
        reference = reference_embedding(self.embed, original if self.target is None else self.target)
        pixels = images.pixels_hash(original)
        files, cosine, method = dict[str, str](), dict[str, float](), dict[str, str]()
        earlier = before if before is not None and before.pixels == pixels else None
        if earlier is not None:  # folders that are not asked for this time too
            files, cosine, method = dict(earlier.files), dict(earlier.cosine), dict(earlier.method)
        files[ORIGINALS] = self._write(ORIGINALS, image_id, original)
        for variant in self.variants:
            name = variant.name
            if earlier is not None and self._holds(image_id, earlier, name):
                continue
            picture, cosine[name], best = self._picture(image_id, original, reference, variant)
            method |= {name: best} if best else {}
            files[name] = self._write(name, image_id, picture)
        return AttackedImage(pixels=pixels, files=files, cosine=cosine, method=method)

    def _picture(
        self, image_id: str, original: Pixels, reference: "Tensor", variant: AttackedVariant
    ) -> tuple[Pixels, float, str]:
        seed = view_seed(self.seed, image_id, variant.name, 0)
        budget = Budget(variant.norm, variant.eps)
        purify = purifier(variant.through) if variant.through else None
        goal = Goal(self.embed, reference, self.target is not None, purify)
        if variant.kind == "control":
            picture = budget.random_signs(original, seed)
            return picture, goal.picture_cosine(picture), ""
        return worst_image(goal, original, budget, steps=self.steps, seed=seed)

    def _write(self, variant: str, image_id: str, picture: Pixels) -> str:
        """Writes an image, uint8 `[S, S, 3]`, without loss; returns the hash of the file."""
        path = made_inside(self.folder, variant_path(self.folder, variant, image_id))
        write_atomically(path, lambda hidden: Image.fromarray(picture).save(hidden, "PNG"))
        return file_hash(path)

    def _holds(self, image_id: str, record: AttackedImage, variant: str) -> bool:
        return variant in record.files and record.files[variant] == file_hash(
            variant_path(self.folder, variant, image_id)
        )
