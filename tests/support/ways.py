"""A study whose shifts are known: an encoder that reads image, augmentation and draw from one pixel."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels, Values
from embedshift.encoders.base import EncoderOutput

SIZE, DIM = 32, 48
# Augmentation → strength and the direction, by its number, that its shifts relative shift.
WAYS = {"a": (1.6, 0), "b": (0.3, 0), "c": (1.5, 1), "d": (0.3, 2)}


class Ways:
    """Originals in a cone; every view is moved along its augmentation's direction, and a little on its own."""

    name, dim, size = "ways", DIM, SIZE
    grid: tuple[int, int] | None = None
    mean = std = (0.5, 0.5, 0.5)
    weights_hash = "ways"

    def __call__(self, views: Pixels) -> EncoderOutput:
        embedding = [self.vector(*(int(value) for value in view[0, 0])) for view in views]
        return EncoderOutput(np.array(embedding, np.float32), None, None)

    def vector(self, image: int, code: int, jitter: int) -> Values:
        """The embedding of a view; code 0 = the original."""
        base = 0.7 * np.eye(DIM)[-1] + np.random.default_rng(image).normal(size=DIM) / np.sqrt(DIM)
        if not code:
            return np.asarray(base)
        strength, way = list(WAYS.values())[code - 1]
        own = np.random.default_rng([image, code, jitter]).normal(size=DIM) / np.sqrt(DIM)
        return np.asarray(base + strength * (np.eye(DIM)[way] + 0.6 * own))


def marked(code: int) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """An augmentation that writes its number into the pixel, and a random one beside it."""

    def augment(image: Pixels, rng: np.random.Generator) -> Pixels:
        changed = image.copy()
        changed[0, 0, 1:] = code, rng.integers(256)
        return changed

    return augment


def suite(*names: str) -> dict[str, Any]:
    """Some of `WAYS`."""
    return {name: marked(1 + list(WAYS).index(name)) for name in names or WAYS}


def write_images(folder: Path, count: int) -> Path:
    """Images whose first pixel says their number, the green and blue of it 0."""
    folder.mkdir()
    for number in range(count):
        pixels = np.full((SIZE, SIZE, 3), 100, np.uint8)
        pixels[0, 0] = number, 0, 0
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return folder
