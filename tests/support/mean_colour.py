"""An encoder without a model, for tests of engines: a process that loads it needs no transformers."""

from typing import Any

import numpy as np

from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput


class MeanColour:
    """Mean colours of quarters, and a grid of brightness as attention."""

    name, dim, size = "mean-colour", 12, 32
    grid: tuple[int, int] | None = (4, 4)
    mean = std = (0.5, 0.5, 0.5)
    weights_hash = "none"

    def __call__(self, views: Pixels) -> EncoderOutput:
        count = len(views)
        quarters = views.reshape(count, 2, 16, 2, 16, 3).mean(axis=(2, 4), dtype=np.float64).reshape(count, 12)
        light = views.reshape(count, 4, 8, 4, 8, 3).mean(axis=(2, 4, 5), dtype=np.float64)
        return EncoderOutput(quarters.astype(np.float32), light.astype(np.float32), "mean")


class Bundled(MeanColour):
    """In the place of the encoder that comes with the package, which takes seconds."""

    name = "dinov2-small-offline"


def in_place_of_bundled(monkeypatch: Any) -> None:
    """Lets that name load the encoder of mean colours."""
    from embedshift.encoders import ENCODERS

    monkeypatch.setitem(ENCODERS._entries, Bundled.name, lambda **_settings: Bundled())
