"""The steps of an attack: list the images, load the encoder, then attack image by image and write the variants."""

import importlib.metadata
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedshift.arrays import Pixels
from embedshift.augmentations.variant import check_purifiers, purifier
from embedshift.augmentations.views import view_seed
from embedshift.config import AttackConfig, Json
from embedshift.config.safe_files import expanded, read_file
from embedshift.encoders import Encoder, check_name, load_encoder
from embedshift.encoders.attack import Budget, Embed, Goal, reference_embedding, worst_image
from embedshift.encoders.base import Differentiable, EncoderInfo
from embedshift.encoders.device import one_torch_thread
from embedshift.engines.job import Progress, Start
from embedshift.engines.views_folder import ViewsFolder, continued, fill, images_identity, list_images, made_one_by_one
from embedshift.errors import EmbedshiftError, UsageError, cause, foreign_code
from embedshift.pipeline.identity import encoder_answer
from embedshift.pipeline.plan import encoder_preprocess, to_input
from embedshift.registry.extras import versions
from embedshift.sources import ImageRef, images
from embedshift.sources.base import IMAGE_BYTES, Failure, storable
from embedshift.sources.images import ToInput
from embedshift.sources.views_file import ORIGINALS, Attack, AttackedImage, AttackedVariant, ImageFiles
from embedshift.store.info import ENCODER, allowed, differences, distance

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "numpy", "pillow", "opencv-python-headless")


@foreign_code()
def run_attack(
    config: AttackConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    progress: Progress = lambda _: None,
    on_start: Callable[[Start], None] = lambda _: None,
) -> Attack:
    check_purifiers(config.through)
    if encoder is None:
        check_name(config.model)
    source, samples = list_images(config, out)
    log.info("images: %s, variants: %d per image", f"{len(samples):,}", len(attack_variants(config)))
    if encoder is None:
        encoder = load_encoder(config.model, device=config.device, size=config.size, embedding=config.embedding)
    if not isinstance(encoder, Differentiable):
        raise UsageError(f"{encoder.name} cannot be attacked: it gives no gradients, see `Differentiable`")
    gradients, resized = encoder.differentiable(), to_input(encoder_preprocess(encoder), config.resize)
    target, variants = _target(config, resized), attack_variants(config)
    begun = Attack(
        embedshift=importlib.metadata.version("embedshift"),
        encoder=encoder.name,
        identity=make_identity(config, encoder, samples, target),
        variants={variant.name: variant for variant in variants},
        versions=versions(VERSIONS),
    )
    folder = AttackedFolder(out=out, config=config, folders=(ORIGINALS, *begun.variants), resized=resized)
    # With other threads, sums round differently, and the attack finds other images.
    with gradients as embed, continued(out, begun, _changes) as begun, one_torch_thread():
        attacker = Attacker(embed, target, variants, folder, begun.images)

        def attacked(pending: Sequence[ImageRef]) -> Iterator[ImageFiles | Failure]:
            return made_one_by_one(pending, source, folder, "encode", attacker.attack)

        return fill(begun, folder, source, samples, attacked, progress=progress, on_start=on_start)


@dataclass(frozen=True, kw_only=True)
class AttackedFolder(ViewsFolder):
    config: AttackConfig
    resized: ToInput

    def canvas(self, image: Pixels) -> Pixels:
        return self.resized(image)


@dataclass(frozen=True)
class Attacker:
    embed: Embed
    target: Pixels | None
    variants: Sequence[AttackedVariant]
    folder: AttackedFolder
    earlier: Mapping[str, AttackedImage]

    def attack(self, sample: ImageRef, pixels: str, original: Pixels) -> AttackedImage:
        image_id = sample.image_id
        self.folder.path(ORIGINALS, image_id)  # checked before any work: its id must be a file name
        reference = reference_embedding(self.embed, original if self.target is None else self.target)
        earlier = self.earlier.get(storable(image_id))
        if earlier is None or earlier.pixels != pixels:
            earlier = AttackedImage(pixels=pixels, files={}, cosine={})
        # Folders of an earlier call with other budgets stay in the manifest.
        files, cosine, method = dict(earlier.files), dict(earlier.cosine), dict(earlier.method)
        files[ORIGINALS] = self.folder.write(ORIGINALS, image_id, original)
        for variant in self.variants:
            name = variant.name
            if self.folder.holds(name, image_id, earlier):
                continue
            picture, cosine[name], best = self._picture(image_id, original, reference, variant)
            method |= {name: best} if best else {}
            files[name] = self.folder.write(name, image_id, picture)
        return AttackedImage(pixels=pixels, files=files, cosine=cosine, method=method)

    def _picture(
        self, image_id: str, original: Pixels, reference: "Tensor", variant: AttackedVariant
    ) -> tuple[Pixels, float, str]:
        config = self.folder.config
        seed = view_seed(config.seed, image_id, variant.name, 0)
        budget = Budget(variant.norm, variant.eps)
        purify = purifier(variant.through) if variant.through else None
        goal = Goal(self.embed, reference, self.target is not None, purify)
        if variant.kind == "control":
            picture = budget.random_signs(original, seed)
            return picture, goal.picture_cosine(picture), ""
        return worst_image(goal, original, budget, steps=config.steps, seed=seed)


def _target(config: AttackConfig, resized: ToInput) -> Pixels | None:
    if config.target is None:
        return None
    try:
        return resized(images.decode(read_file(expanded(config.target), IMAGE_BYTES)))
    except (OSError, EmbedshiftError) as error:
        raise UsageError(f"`target` {config.target}: {cause(error)}") from error


def attack_variants(config: AttackConfig) -> list[AttackedVariant]:
    variants: list[AttackedVariant] = []
    for eps in config.eps:
        variants.append(AttackedVariant(norm=config.norm, eps=eps))
        variants.append(AttackedVariant(norm=config.norm, eps=eps, kind="control"))
        variants += [AttackedVariant(norm=config.norm, eps=eps, through=name) for name in config.through]
    return variants


def make_identity(config: AttackConfig, encoder: Encoder, samples: Sequence[ImageRef], target: Pixels | None) -> Json:
    """Returns everything that decides the images of all folders, except a folder's name."""
    info, preprocess = EncoderInfo.of(encoder), encoder_preprocess(encoder)
    crop = {"shortest": preprocess.shortest, "resample": preprocess.resample} if config.resize == "crop" else {}
    return {
        "images": images_identity(samples),
        "weights_hash": encoder.weights_hash,
        "configuration": dict(info.configuration or {}),
        "answer": encoder_answer(encoder),
        "embedding": info.embedding_name,
        "size": preprocess.size,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "resize": config.resize,
        **crop,
        "seed": config.seed,
        "steps": config.steps,
        "target": None if target is None else images.pixels_hash(target),
        "versions": versions(["opencv-python-headless"]),
    }


def _changes(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    moved = distance(stored.get("answer", ()), now["answer"])
    other_numbers = ["the encoder gives other numbers"] if moved > allowed(ENCODER, "float32") else []
    return differences(stored, {**now, "answer": stored.get("answer")}) or other_numbers
