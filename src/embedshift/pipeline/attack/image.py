"""Attacks one image: its variants within every budget, made without any influence of other images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedshift.arrays import Pixels
from embedshift.augmentations.purifiers import purifier
from embedshift.augmentations.views import view_seed
from embedshift.encoders.attack.budget import Budget
from embedshift.encoders.attack.goal import Embed, Goal, reference_of
from embedshift.encoders.attack.worst import worst
from embedshift.errors import EmbedshiftError, cause
from embedshift.pipeline.attack.pictures import Pictures
from embedshift.sources import ImageRef, images
from embedshift.sources.attacked import ORIGINALS, AttackedImage, AttackedVariant
from embedshift.sources.base import storable
from embedshift.store.shards import Failure

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Attacker:
    """Attacks images, one after the other."""

    embed: Embed
    target: Pixels | None
    steps: int
    seed: int
    pictures: Pictures

    def attack(
        self,
        sample: ImageRef,
        original: Pixels,
        wanted: Mapping[str, AttackedVariant],
        before: AttackedImage | None,
    ) -> AttackedImage | Failure:
        """Stores the original and its requested variants."""
        try:
            return self._attacked(sample.image_id, original, wanted, before)
        except EmbedshiftError as error:
            if "cannot be written" in str(error):
                raise
            return Failure(storable(sample.image_id), "encode", cause(error))

    def _attacked(
        self, image_id: str, original: Pixels, wanted: Mapping[str, AttackedVariant], before: AttackedImage | None
    ) -> AttackedImage:
        self.pictures.path(ORIGINALS, image_id)  # before any work, whether its id can be that of a file
        reference = reference_of(self.embed, original if self.target is None else self.target)
        pixels = images.pixels_hash(original)
        kept = before if before is not None and before.pixels == pixels else None
        files = {ORIGINALS: self.pictures.write(ORIGINALS, image_id, original)}
        cosine, method = dict[str, float](), dict[str, str]()
        if kept is not None:  # folders that are not asked for this time too
            files, cosine, method = {**kept.files, **files}, dict(kept.cosine), dict(kept.method)
        for name, variant in wanted.items():
            if kept is not None and self.pictures.hold(image_id, kept, [name]):
                continue
            picture, cosine[name], by = self._picture(image_id, original, reference, variant)
            method |= {name: by} if by else {}
            files[name] = self.pictures.write(name, image_id, picture)
        return AttackedImage(pixels=pixels, files=files, cosine=cosine, method=method)

    def _picture(
        self, image_id: str, original: Pixels, reference: "Tensor", variant: AttackedVariant
    ) -> tuple[Pixels, float, str]:
        """Returns a variant, its cosine with the reference, and the method that made it."""
        seed = view_seed(self.seed, image_id, variant.name, 0)
        budget = Budget(variant.norm, variant.eps)
        purify = purifier(variant.through) if variant.through else None
        goal = Goal(self.embed, reference, self.target is not None, purify)
        if variant.kind == "control":
            picture = budget.random_signs(original, seed)
            return picture, goal.cosine_of(picture), ""
        found = worst(goal, original, budget, steps=self.steps, seed=seed)
        return found.picture, found.cosine, found.method
