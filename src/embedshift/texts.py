"""What pictures are held against: captions, class names and the words for augmentations, read and made vectors."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from embedshift.augmentations import ORIGINAL
from embedshift.config import StudyConfig
from embedshift.encoders.base import Encoder, code_of
from embedshift.errors import EmbedshiftError, reason
from embedshift.metrics import METRICS
from embedshift.metrics.text import direction, unit
from embedshift.registry import unknown_name
from embedshift.sources import Sample

log = logging.getLogger(__name__)

Values = NDArray[np.float64]
EncodeText = Callable[[Sequence[str]], Any]

# What each of the paper's augmentations does to a photo, in a few words; what the original is, to begin with.
WORDS = {
    ORIGINAL: "a photo",
    "noise": "a noisy photo",
    "blur": "a blurry photo",
    "color_jitter": "a photo with wrong colors",
    "shift_scale_rotate": "a rotated photo",
    "horizontal_flip": "a mirrored photo",
    "elastic": "a warped photo",
    "perspective": "a photo taken at an angle",
    "brightness_contrast": "a photo with wrong brightness and contrast",
    "coarse_dropout": "a photo with small patches missing",
}
# Of CLIP's prompts for ImageNet, those that say nothing of what a photo looks like.
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a photo of one {}.", "a picture of a {}.", "itap of a {}.")


@dataclass(frozen=True)
class Texts:
    """The texts of a study: nothing that a vector depends on besides the text tower.

    Args:
        words: Of the original view and of every augmentation that has a phrase; empty = not asked for.
        labels: Names of classes; empty = not asked for.
        captions: How many images have one; 0 = none, or not asked for.
        captions_hash: Over ids and captions.
    """

    words: Mapping[str, str]
    labels: tuple[str, ...]
    captions: int
    captions_hash: str

    def __bool__(self) -> bool:
        return bool(self.words or self.labels)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The columns that they add."""
        return (
            *(("text_alignment_shift",) if self.captions else ()),
            *(("zero_shot_flip",) if self.labels else ()),
        )

    def describe(self) -> dict[str, Any]:
        """All that can change a number, for the study's identity; nothing where there is no text."""
        found: dict[str, Any] = {}
        if self.words:
            found["words"] = dict(self.words)
            found["captions"] = {"count": self.captions, "hash": self.captions_hash}
        if self.labels:
            found["labels"] = {"count": len(self.labels), "hash": _hash(self.labels)}
            found["templates"] = list(TEMPLATES)
        return found


@dataclass(frozen=True)
class TextVectors:
    """The texts as the text tower sees them, for the pipeline.

    Args:
        captions: Whether captions are compared; their vectors are made shard by shard.
        classes: Float64 `[C, D]`; None without labels.
        directions: Of the words, in suite order, float64 `[W, D]`; None without.
    """

    captions: bool
    classes: Values | None
    directions: Values | None


def gather(config: StudyConfig, augmentations: Sequence[str], samples: Sequence[Sample]) -> Texts:
    """The texts that a study asks for.

    Args:
        config: Its settings.
        augmentations: Names, in suite order.
        samples: Its images.

    Raises:
        EmbedshiftError: when a file of labels or words cannot be read or makes no sense, or `metrics` names what these
            options switch on (exit code 2).
    """
    for name in config.metrics:
        if name in METRICS and METRICS[name].option != "--metrics":
            raise EmbedshiftError(f"metrics: {name} is switched on by {METRICS[name].option}", exit_code=2)
    wanted = config.text or config.words is not None
    words = _words(config.words, augmentations) if wanted else {}
    given = [(s.image_id, s.caption) for s in samples if has_caption(s)] if wanted else []
    if wanted and not given:
        log.warning("no image has a caption: text_alignment_shift is left out")
    elif 0 < len(given) < len(samples):
        log.info("%d of %d images have a caption", len(given), len(samples))
    if wanted and not given and len(words) < 2:
        raise EmbedshiftError(
            "text: no image has a caption, and no augmentation a word: name some by --words", exit_code=2
        )
    labels = () if config.labels is None else _labels(config.labels)
    return Texts(words, labels, len(given), _hash([f"{image}\n{caption}" for image, caption in given]))


def has_caption(sample: Sample) -> bool:
    """Whether there is a word in it."""
    return bool(sample.caption and sample.caption.strip())


def with_text_tower(
    load: Callable[..., Encoder], load_text: Callable[..., EncodeText] | None, device: str | None = None
) -> Encoder:
    """The loaded encoder with a method `encode_text`: its own, else that of the text tower loaded beside it.

    Args:
        load: Loads the encoder.
        load_text: Loads its text tower, `load_text(device=...)`; None = the encoder is the user's own.
        device: Where; None = where `load` puts the encoder.

    Raises:
        EmbedshiftError: when there is no text tower (exit code 2).
    """
    encoder: Any = load() if device is None else load(device=device)
    if getattr(encoder, "encode_text", None) is None:
        if load_text is None:
            raise EmbedshiftError(
                f"{encoder.name} has no text tower: text, labels and words need an encoder with a method "
                "encode_text(texts) -> [N, D], as embedshift.wrap(..., encode_text=...) makes it",
                exit_code=2,
            )
        encoder.encode_text = load_text(device=str(encoder.device))
    loaded: Encoder = encoder
    return loaded


def tower_hash(encoder: Encoder) -> str:
    """What tells one text tower from another."""
    encode: Any = encoder.encode_text  # type: ignore[attr-defined]
    return str(getattr(encode, "weights_hash", None) or code_of(encode))


def encode(texts: Sequence[str], encoder: Encoder) -> Values:
    """Vectors of N texts, float64 `[N, dim]`.

    Raises:
        EmbedshiftError: when they are not in the space of the encoder's embedding.
    """
    encode_text: EncodeText = encoder.encode_text  # type: ignore[attr-defined]
    vectors = np.asarray(encode_text(list(texts)), np.float64)
    if vectors.shape != (len(texts), encoder.dim):
        raise EmbedshiftError(
            f"{encoder.name}: the text tower gives {vectors.shape} for {len(texts)} texts and the encoder embeddings "
            f"of {encoder.dim} numbers: they are not of one space",
            exit_code=2,
        )
    return vectors


def vectors(texts: Texts, encoder: Encoder) -> TextVectors | None:
    """What the pipeline compares with; None where there is no text."""
    if not texts:
        return None
    directions, classes = None, None
    phrases = [phrase for name, phrase in texts.words.items() if name != ORIGINAL]
    if phrases:
        directions = direction(encode(phrases, encoder), encode([texts.words[ORIGINAL]], encoder))
    if texts.labels:
        prompts = encode([t.replace("{}", label) for label in texts.labels for t in TEMPLATES], encoder)
        classes = unit(unit(prompts).reshape(len(texts.labels), len(TEMPLATES), -1).mean(axis=1))
    return TextVectors(bool(texts.captions), classes, directions)


def caption_vectors(samples: Sequence[Sample], encoder: Encoder) -> dict[str, Values]:
    """Image id → vector of its caption `[D]`, for the images of one shard that have one."""
    there = [sample for sample in samples if has_caption(sample)]
    if not there:
        return {}
    found = encode([str(sample.caption) for sample in there], encoder)
    return {sample.image_id: vector for sample, vector in zip(there, found, strict=True)}


def _labels(given: str | Sequence[str]) -> tuple[str, ...]:
    lines = _read(given).splitlines() if isinstance(given, str) else given
    labels = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(labels) < 2:
        where = f"{given}: " if isinstance(given, str) else ""
        raise EmbedshiftError(f"labels: {where}two class names at least, one a line", exit_code=2)
    return labels


def _words(given: str | Mapping[str, str] | None, augmentations: Sequence[str]) -> dict[str, str]:
    """The phrase of the original view and of each augmentation that has one, in suite order."""
    own: Any = given or {}
    if isinstance(given, str):
        try:
            own = yaml.safe_load(_read(given))
        except yaml.YAMLError as error:
            raise EmbedshiftError(f"words: {given}: not YAML ({reason(error)})", exit_code=2) from error
    if not isinstance(own, Mapping) or not all(isinstance(phrase, str) and phrase.strip() for phrase in own.values()):
        raise EmbedshiftError("words: give 'augmentation: phrase' lines, such as 'blur: a blurry photo'", exit_code=2)
    names = (ORIGINAL, *augmentations)
    for name in own:
        if name not in names:
            raise EmbedshiftError(
                f"words: {unknown_name('augmentation', str(name), dict.fromkeys(names))}", exit_code=2
            )
    table = WORDS | dict(own)
    without = [name for name in augmentations if name not in table]
    if without:
        log.warning("no word for %s: name one by --words", ", ".join(without))
    return {name: table[name] for name in names if name in table}


def _read(file: str) -> str:
    try:
        return Path(file).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise EmbedshiftError(f"{file}: {error.strerror}", exit_code=2) from error
    except UnicodeDecodeError as error:
        raise EmbedshiftError(f"{file}: not text in UTF-8", exit_code=2) from error


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
