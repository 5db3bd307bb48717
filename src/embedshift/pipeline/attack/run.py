"""The steps of an attack: list, load, lock, then read, attack and store image by image."""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedshift.arrays import Pixels
from embedshift.augmentations.purifiers import check_purifiers
from embedshift.config import Json
from embedshift.config.attack import AttackConfig
from embedshift.config.files import read_file
from embedshift.encoders import Encoder, check_name, load_encoder
from embedshift.encoders.attack.pgd import library
from embedshift.encoders.attack.worst import fixed_threads
from embedshift.encoders.base import Differentiable, EncoderInfo, Preprocess
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.pipeline.attack.image import Attacker
from embedshift.pipeline.attack.pictures import Pictures
from embedshift.pipeline.draw import Clock, guarded, out_of_reach
from embedshift.pipeline.limit import TookTooLong
from embedshift.pipeline.plan import preprocess_of
from embedshift.sources import ImageRef, Source, images, open_source, passed_over, select
from embedshift.sources.attacked import FILE, ORIGINALS, Attack, AttackedImage, AttackedVariant, Failed, read_attack
from embedshift.sources.base import IMAGE_BYTES, storable
from embedshift.sources.pairs import by_stem, refuse_equal
from embedshift.store.differences import differences
from embedshift.store.lock import locked
from embedshift.store.shards import Failure, write_whole

log = logging.getLogger(__name__)

VERSIONS = ("torch", "transformers", "numpy", "pillow", "opencv-python-headless", "foolbox")
# Counts images: those of the attack and those done before; then one more, again and again.
OnStart = Callable[[int, int, Mapping[str, int]], None]
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Inputs:
    """How images are read and resized to the encoder's size."""

    source: Source
    config: AttackConfig
    how: Preprocess

    def original(self, sample: ImageRef) -> Pixels | Failure:
        """Returns one image at the encoder's size, uint8 `[S, S, 3]`; a failure if it cannot be read at two tries."""
        for last in (False, True):
            try:
                found = guarded(lambda clock: self._read(sample, clock), sample, self.source, self.config.image_timeout)
            except (TookTooLong, MemoryError) as error:
                found = out_of_reach(sample, error, self.config.image_timeout, "twice")
                if not last:
                    continue
            break
        return found

    def _read(self, sample: ImageRef, clock: Clock) -> Pixels:
        with clock.at("read"):
            data = self.source.read(sample)
        with clock.at("decode"):
            return self.sized(images.decode(data))

    def target(self) -> Pixels | None:
        """Returns the image to move towards, at the encoder's size."""
        if self.config.target is None:
            return None
        try:
            return self.sized(images.decode(read_file(Path(self.config.target).expanduser(), IMAGE_BYTES)))
        except (OSError, EmbedshiftError) as error:
            raise UsageError(f"`target` {self.config.target}: {cause(error)}") from error

    def sized(self, picture: Pixels) -> Pixels:
        """Resizes an image to the encoder's size."""
        how = self.how
        return images.resize(picture, how.size, self.config.resize, shortest=how.shortest, resample=how.resample)


def run_attack(
    config: AttackConfig,
    out: Path,
    *,
    encoder: Encoder | None = None,
    progress: Progress = lambda _: None,
    on_start: OnStart = lambda *_: None,
) -> Attack:
    """Attacks every image that is not attacked yet."""
    check_purifiers(config.through)
    library("foolbox")
    if encoder is None:
        check_name(config.model)
    source, samples = list_images(config, out)
    log.info("images: %s, variants: %d per image", f"{len(samples):,}", len(variants_of(config)))
    if encoder is None:
        encoder = load_encoder(config.model, device=config.device, size=config.size, embedding=config.embedding)
    if not isinstance(encoder, Differentiable):
        raise UsageError(f"{encoder.name} cannot be attacked: it gives no gradients, see `Differentiable`")
    inputs = Inputs(source, config, preprocess_of(encoder, EncoderInfo.of(encoder).preprocess))
    target, wanted = inputs.target(), {each.name: each for each in variants_of(config)}
    identity = identity_of(config, encoder, inputs.how, samples, target)
    with encoder.differentiable() as embed, locked(out, ORIGINALS), fixed_threads():
        attack, pictures = _begun(out, identity, encoder, wanted), Pictures(out)
        pictures.sweep()
        attacker = Attacker(embed, target, config.steps, config.seed, pictures)
        names, known = [ORIGINALS, *wanted], attack.images
        done = [s for s in samples if s.image_id in known and pictures.hold(s.image_id, known[s.image_id], names)]
        on_start(len(samples), len(done), source.skipped)
        there = {sample.image_id for sample in done}
        failures: list[Failure] = []
        _write(out, attack)
        for sample in samples:
            original = inputs.original(sample)
            if sample.image_id in there:
                if isinstance(original, Failure) or images.pixels_hash(original) == known[sample.image_id].pixels:
                    continue
                log.warning("%s has changed since it was attacked; attacking it again", sample.image_id)
            made: AttackedImage | Failure
            if isinstance(original, Failure):
                made = original
            else:
                made = attacker.attack(sample, original, wanted, known.get(sample.image_id))
            if isinstance(made, Failure):
                failures.append(made)
                attack = replace(attack, failures=tuple(Failed(**vars(each)) for each in failures))
            else:
                attack = replace(attack, images={**attack.images, sample.image_id: made})
            _write(out, attack)
            progress(1)
    if len(failures) == len(samples):
        first = failures[0]
        raise EmbedshiftError(
            f"no image could be attacked: all {len(samples)} failed, first {first.image_id}: {first.reason}"
        )
    return attack


def variants_of(config: AttackConfig) -> list[AttackedVariant]:
    """Returns the folders of an attack: for each budget its variants, the control, and those through each purifier."""
    found: list[AttackedVariant] = []
    for eps in config.eps:
        found += [AttackedVariant(norm=config.norm, eps=eps)]
        found += [AttackedVariant(norm=config.norm, eps=eps, kind="control")]
        found += [AttackedVariant(norm=config.norm, eps=eps, through=name) for name in config.through]
    return found


def list_images(config: AttackConfig, out: Path) -> tuple[Source, list[ImageRef]]:
    """Returns the source of the images, and the images to attack, ordered by id."""
    source = open_source(config.images)
    samples = select(source.samples, limit=config.limit, sample=config.sample, seed=config.seed)
    if not samples:
        raise EmbedshiftError(f"no image in {', '.join(config.images) or 'nothing'}{passed_over(source.skipped)}")
    refuse_equal("images", by_stem(samples), by_stem(samples))
    root = source.description.get("root")
    if root is not None and Path(root).resolve() in (out.resolve(), (out / ORIGINALS).resolve()):
        raise UsageError(f"{out} is the folder of the images; choose another `out`")
    return source, sorted(samples)


def identity_of(
    config: AttackConfig, encoder: Encoder, how: Preprocess, samples: Sequence[ImageRef], target: Pixels | None
) -> Json:
    """Returns everything that decides the images of all folders; the name of a folder gives the rest."""
    ids = "\n".join(sorted(storable(sample.image_id) for sample in samples))
    crop = {"shortest": how.shortest, "resample": how.resample} if config.resize == "crop" else {}
    return {
        "images": {"count": len(samples), "ids_hash": hashlib.sha256(ids.encode()).hexdigest()},
        "weights_hash": encoder.weights_hash,
        "embedding": EncoderInfo.of(encoder).embedding_name,
        "size": how.size,
        "mean": list(how.mean),
        "std": list(how.std),
        "resize": config.resize,
        **crop,
        "seed": config.seed,
        "steps": config.steps,
        "target": None if target is None else images.pixels_hash(target),
        "versions": {name: importlib.metadata.version(name) for name in ("foolbox", "opencv-python-headless")},
    }


def _begun(out: Path, identity: Json, encoder: Encoder, wanted: Mapping[str, AttackedVariant]) -> Attack:
    """Returns the attack in the folder, to continue it; refuses another one and names the differences."""
    there = read_attack(out)
    if there is not None and (what := differences(there.identity, identity)):
        raise UsageError(f"{out} contains another attack: {'; '.join(what)}. Choose another `out`, or delete it")
    others: dict[str, Any] = {} if there is None else {"variants": there.variants, "images": there.images}
    return Attack(
        embedshift=importlib.metadata.version("embedshift"),
        encoder=encoder.name,
        identity=identity,
        variants={**others.get("variants", {}), **wanted},
        images=others.get("images", {}),
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
    )


def _write(out: Path, attack: Attack) -> None:
    """Writes attack.json, escaped, because a name may hold bytes that are no text."""
    text = json.dumps(dataclasses.asdict(attack), indent=1, sort_keys=True)
    write_whole(out / FILE, lambda hidden: hidden.write_text(text, encoding="utf-8"))
