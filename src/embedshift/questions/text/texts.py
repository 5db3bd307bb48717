"""The texts that a study compares images with: captions, class names and words for augmentations."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.config.safe_files import expanded, read_text, read_yaml
from embedshift.errors import UsageError
from embedshift.questions.text import Switches
from embedshift.registry import unknown_name

if TYPE_CHECKING:
    from embedshift.sources import ImageRef

log = logging.getLogger(__name__)

# Of a file of labels.
LABELS_BYTES = 2**26
# A phrase for the original image, and for what each of the paper's augmentations makes of it.
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
# CLIP's prompts for ImageNet that do not describe how an image looks.
TEMPLATES = ("a photo of a {}.", "a photo of the {}.", "a photo of one {}.", "a picture of a {}.", "itap of a {}.")


@dataclass(frozen=True)
class Texts:
    """The texts of a study; vectors depend only on them and on the text tower."""

    words: Mapping[str, str]
    labels: tuple[str, ...]
    captions: int
    captions_hash: str

    @property
    def metrics(self) -> tuple[str, ...]:
        return (
            *(("text_alignment_shift",) if self.captions else ()),
            *(("zero_shot_flip", "zero_shot_margin_shift") if self.labels else ()),
        )

    def describe(self) -> Json:
        """Returns everything that can change a number, for the study's identity; empty without text."""
        identity: Json = {}
        if self.words:
            identity["words"] = dict(self.words)
            identity["captions"] = {"count": self.captions, "hash": self.captions_hash}
        if self.labels:
            identity["labels"] = {"count": len(self.labels), "hash": _hash(self.labels)}
            identity["templates"] = list(TEMPLATES)
        return identity


def gather(switches: Switches, augmentations: Sequence[str], samples: "Sequence[ImageRef]") -> Texts:
    is_wanted = switches.text or switches.words is not None
    words = _words(switches.words, augmentations) if is_wanted else {}
    captions = [(s.image_id, s.caption) for s in samples if has_caption(s)] if is_wanted else []
    if is_wanted and not captions:
        log.warning("skipping text_alignment_shift: no image has a caption")
    elif 0 < len(captions) < len(samples):
        log.info("%d of %d images have a caption", len(captions), len(samples))
    if is_wanted and not captions and len(words) < 2:
        raise UsageError("text: no image has a caption and no augmentation has a phrase; give phrases with `words`")
    labels = () if switches.labels is None else _labels(switches.labels)
    return Texts(words, labels, len(captions), _hash([f"{image}\n{caption}" for image, caption in captions]))


def has_caption(sample: "ImageRef") -> bool:
    return bool(sample.caption and sample.caption.strip())


def _labels(source: str | Sequence[str]) -> tuple[str, ...]:
    lines = read_text(expanded(source), LABELS_BYTES).splitlines() if isinstance(source, str) else source
    labels = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(labels) < 2:
        where = f"{source}: " if isinstance(source, str) else ""
        raise UsageError(f"labels: {where}give at least two class names, one per line")
    return labels


def _words(source: str | Mapping[str, str] | None, augmentations: Sequence[str]) -> dict[str, str]:
    phrases: Any = source or {}
    if isinstance(source, str):
        phrases = read_yaml(expanded(source))
    if not isinstance(phrases, Mapping) or not all(
        isinstance(phrase, str) and phrase.strip() for phrase in phrases.values()
    ):
        raise UsageError("words: give 'augmentation: phrase' lines, such as 'blur: a blurry photo'")
    names = (ORIGINAL, *augmentations)
    for name in phrases:
        if name not in names:
            raise UsageError(f"words: {unknown_name('augmentation', str(name), names)}")
    table = WORDS | dict(phrases)
    without = [name for name in augmentations if name not in table]
    if without:
        log.warning("no phrase for %s; give one with `words`", ", ".join(without))
    return {name: table[name] for name in names if name in table}


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()
