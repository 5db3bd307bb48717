"""The steps of an attack: list, load, lock, then read, attack and store image by image."""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedshift.arrays import Pixels
from embedshift.augmentations.purifiers import check_purifiers
from embedshift.config import Json
from embedshift.config.attack import AttackConfig
from embedshift.config.files import expanded, read_file
from embedshift.encoders import Encoder, check_name, load_encoder
from embedshift.encoders.base import Differentiable, EncoderInfo, Preprocess
from embedshift.encoders.device import one_thread
from embedshift.errors import EmbedshiftError, UsageError, cause, foreign_code
from embedshift.pipeline.answers import encoder_answer
from embedshift.pipeline.attack.image import Attacker
from embedshift.pipeline.draw import Clock, guarded, stopped_failure
from embedshift.pipeline.limit import TookTooLong
from embedshift.pipeline.plan import encoder_preprocess, to_input
from embedshift.sources import ImageRef, Source, images, open_images
from embedshift.sources.attacked import (
    FILE,
    ORIGINALS,
    Attack,
    AttackedImage,
    AttackedVariant,
    read_attack,
)
from embedshift.sources.base import IMAGE_BYTES, Failure, storable
from embedshift.sources.pairs import by_stem, refuse_duplicate_stems
from embedshift.store.files import delete_incomplete, locked, write_atomically
from embedshift.store.identity import ENCODER, allowed, differences, distance

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "numpy", "pillow", "opencv-python-headless")
# Counts images: those of the attack and those done before; then one more, again and again.
OnStart = Callable[[int, int, Mapping[str, int]], None]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class ImageReader:
    """How images are read and resized to the encoder's size."""

    source: Source
    config: AttackConfig
    preprocess: Preprocess

    def original(self, sample: ImageRef) -> Pixels | Failure:
        """Returns one image at the encoder's size, uint8 `[S, S, 3]`; a failure if it cannot be read at two tries."""
        seconds = self.config.image_timeout
        for _ in range(2):
            try:
                return guarded(lambda clock: self._read(sample, clock), sample, self.source, seconds)
            except (TookTooLong, MemoryError) as error:
                last = error
        return stopped_failure(sample, last, seconds, "twice")

    def _read(self, sample: ImageRef, clock: Clock) -> Pixels:
        with clock.at("read"):
            data = self.source.read(sample)
        with clock.at("decode"):
            return self.sized(images.decode(data))

    def target(self) -> Pixels | None:
        if self.config.target is None:
            return None
        try:
            return self.sized(images.decode(read_file(expanded(self.config.target), IMAGE_BYTES)))
        except (OSError, EmbedshiftError) as error:
            raise UsageError(f"`target` {self.config.target}: {cause(error)}") from error

    def sized(self, picture: Pixels) -> Pixels:
        return to_input(self.preprocess, self.config.resize)(picture)


@foreign_code()
def run_attack(
    config: AttackConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    progress: Progress = lambda _: None,
    on_start: OnStart = lambda *_: None,
) -> Attack:
    check_purifiers(config.through)
    if encoder is None:
        check_name(config.model)
    source, samples = list_images(config, out)
    log.info("images: %s, variants: %d per image", f"{len(samples):,}", len(attack_variants(config)))
    if encoder is None:
        encoder = load_encoder(config.model, device=config.device, size=config.size, embedding=config.embedding)
    gradients = _gradients(encoder)
    reader = ImageReader(source, config, encoder_preprocess(encoder))
    target, variants = reader.target(), attack_variants(config)
    identity = make_identity(config, encoder, reader.preprocess, samples, target)
    # With other threads, sums would round differently, and the attack would find other images.
    with gradients as embed, locked(out, ORIGINALS), one_thread():
        attack = _stored_attack(out, identity, encoder, variants)
        delete_incomplete(out)
        attacker = Attacker(embed, target, config.steps, config.seed, variants, out)
        before = attack.images
        done = {sample.image_id for sample in samples if attacker.is_done(sample.image_id, before.get(sample.image_id))}
        on_start(len(samples), len(done), source.skipped)
        _write(out, attack)
        for sample in samples:
            original = reader.original(sample)
            if sample.image_id in done and not _has_changed(sample, original, before[sample.image_id]):
                continue
            if isinstance(original, Failure):
                result: AttackedImage | Failure = original
            else:
                result = attacker.attack(sample, original, before.get(sample.image_id))
            attack = _with_result(attack, sample, result)
            _write(out, attack)
            progress(1)
    if len(attack.failures) == len(samples):
        first = attack.failures[0]
        words = f"all {len(samples)} failed, first {first.image_id}: {first.reason}"
        raise EmbedshiftError(f"no image could be attacked: {words}")
    return attack


def _gradients(encoder: Encoder) -> AbstractContextManager[Any]:
    if not isinstance(encoder, Differentiable):
        raise UsageError(f"{encoder.name} cannot be attacked: it gives no gradients, see `Differentiable`")
    return encoder.differentiable()


def _has_changed(sample: ImageRef, original: Pixels | Failure, record: AttackedImage) -> bool:
    """Returns whether an image has other pixels than when it was attacked, with a warning; False for a failure."""
    if isinstance(original, Failure) or images.pixels_hash(original) == record.pixels:
        return False
    log.warning("%s has changed since it was attacked; attacking it again", sample.image_id)
    return True


def _with_result(attack: Attack, sample: ImageRef, result: AttackedImage | Failure) -> Attack:
    if isinstance(result, Failure):
        return replace(attack, failures=(*attack.failures, result))
    return replace(attack, images={**attack.images, sample.image_id: result})


def attack_variants(config: AttackConfig) -> list[AttackedVariant]:
    """Returns the folders of an attack: for each budget its variants, the control, and those through each purifier."""
    variants: list[AttackedVariant] = []
    for eps in config.eps:
        variants.append(AttackedVariant(norm=config.norm, eps=eps))
        variants.append(AttackedVariant(norm=config.norm, eps=eps, kind="control"))
        variants += [AttackedVariant(norm=config.norm, eps=eps, through=name) for name in config.through]
    return variants


def list_images(config: AttackConfig, out: Path) -> tuple[Source, list[ImageRef]]:
    source, samples = open_images(config.images, limit=config.limit, sample=config.sample, seed=config.seed)
    refuse_duplicate_stems("images", by_stem(samples), by_stem(samples))
    root = source.description.get("root")
    if root is not None and Path(root).resolve() in (out.resolve(), (out / ORIGINALS).resolve()):
        raise UsageError(f"{out} is the folder of the images; choose another `out`")
    return source, sorted(samples)


def make_identity(
    config: AttackConfig, encoder: Encoder, preprocess: Preprocess, samples: Sequence[ImageRef], target: Pixels | None
) -> Json:
    """Returns everything that decides the images of all folders; the name of a folder gives the rest."""
    ids = "\n".join(sorted(storable(sample.image_id) for sample in samples))
    crop = {"shortest": preprocess.shortest, "resample": preprocess.resample} if config.resize == "crop" else {}
    return {
        "images": {"count": len(samples), "ids_hash": hashlib.sha256(ids.encode()).hexdigest()},
        "weights_hash": encoder.weights_hash,
        "configuration": dict(EncoderInfo.of(encoder).configuration or {}),
        "answer": encoder_answer(encoder),
        "embedding": EncoderInfo.of(encoder).embedding_name,
        "size": preprocess.size,
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "resize": config.resize,
        **crop,
        "seed": config.seed,
        "steps": config.steps,
        "target": None if target is None else images.pixels_hash(target),
        "versions": {name: importlib.metadata.version(name) for name in ("opencv-python-headless",)},
    }


def _stored_attack(out: Path, identity: Json, encoder: Encoder, variants: Sequence[AttackedVariant]) -> Attack:
    """Returns the attack in the folder, to continue it; refuses another one and names the differences."""
    stored = read_attack(out)
    if stored is not None:
        then, now = dict(stored.identity), dict(identity)
        moved = distance(then.pop("answer", ()), now.pop("answer"))
        changes = differences(then, now) or ["the encoder gives other numbers"] * (moved > allowed(ENCODER, "float32"))
        if changes:
            raise UsageError(f"{out} contains another attack: {'; '.join(changes)}. Choose another `out`, or delete it")
    earlier_variants = {} if stored is None else dict(stored.variants)
    return Attack(
        embedshift=importlib.metadata.version("embedshift"),
        encoder=encoder.name,
        identity=identity,
        variants=earlier_variants | {variant.name: variant for variant in variants},
        images={} if stored is None else stored.images,
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
    )


def _write(out: Path, attack: Attack) -> None:
    """Writes attack.json, escaped, because a name may hold bytes that are no text."""
    text = json.dumps(dataclasses.asdict(attack), indent=1, sort_keys=True)
    write_atomically(out / FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))
