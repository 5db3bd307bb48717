"""`ToInput`: how an image becomes the encoder's square input, and which place of it each pixel shows."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels, Values
from embedshift.config import Resize
from embedshift.sources.images import resize, with_shortest


def reduced(image: Pixels, longest: int) -> Pixels:
    """Reduces an image whose longest side has more pixels; by Pillow, whose pixels are equal on all processors."""
    height, width = image.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(factor * width)), max(1, round(factor * height))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))


@dataclass(frozen=True)
class ToInput:
    """Makes the encoder's square input of images, by `resize` with these arguments."""

    size: int
    how: Resize = "squash"
    shortest: int | None = None
    resample: int = 3

    def __call__(self, image: Pixels) -> Pixels:
        return resize(image, self.size, self.how, shortest=self.shortest, resample=self.resample)

    def places(self, height: int, width: int) -> tuple[Values, Values]:
        scaled = self.size, self.size
        if self.how == "crop":
            scaled = with_shortest(height, width, max(self.shortest or self.size, self.size))
        step = np.array([width / scaled[1], height / scaled[0]])
        first = np.array([(length - self.size) // 2 for length in scaled[::-1]])
        return (first + 0.5) * step - 0.5, step
