"""Pictures with captions, augmentations that mark them, and an encoder that is known to move by the mark."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedshift.augmentations.paper import PAPER
from embedshift.encoders import EncoderOutput
from embedshift.questions.text.texts import WORDS
from support.models import Colours, pictures

NINE = tuple(PAPER)
LABELS = ("cat", "dog", "red boat")


def mark(place: int) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """An augmentation that does nothing but write its number into a corner."""

    def draw(image: np.ndarray, _rng: np.random.Generator) -> np.ndarray:
        image = image.copy()
        image[:2, :2] = 20 * (place + 1)
        return image

    return draw


MARKS = {name: mark(place) for place, name in enumerate(NINE)}


@dataclass
class Planted(Colours):
    """It moves by a direction of its own for every mark, besides some noise; texts move alike, or anyhow."""

    dim: int = 16
    knows: bool = True

    def __call__(self, views: np.ndarray) -> EncoderOutput:
        means = super().__call__(views).embedding
        rows = []
        for view, mean in zip(views, means, strict=True):
            corner = int(view[0, 0, 0]) // 20 - 1 if (view[:2, :2] == view[0, 0, 0]).all() else -1
            rng = np.random.default_rng(zlib.crc32(view.tobytes()))
            rows.append(np.pad(mean, (0, 4)) + 3 + 0.2 * rng.normal(size=16) + 2 * self.axis(corner))
        return EncoderOutput(np.array(rows, np.float32), None, None)

    def axis(self, place: int) -> np.ndarray:
        return np.eye(16)[place] if place >= 0 else np.zeros(16)

    def encode_text(self, texts: Sequence[str]) -> list[np.ndarray]:
        phrases = list(WORDS.values())
        if not self.knows:
            return [np.random.default_rng(zlib.crc32(text.encode())).normal(size=16) for text in texts]
        return [3 + self.axis(phrases.index(text) - 1 if text in phrases else -1) for text in texts]


def captioned(folder: Path) -> Path:
    """Seven pictures, the first four with a caption."""
    pictures(folder, 7)
    for index, text in enumerate(["a photo of a cat", "a dog\n", "the red boat of a cat", "itap"]):
        (folder / f"picture-{index:02d}.txt").write_text(text)
    return folder
