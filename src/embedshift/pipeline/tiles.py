"""Vectors of whole images and of their tiles, as `run` with `tiles` stores them, for an index of one's own."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.views import Canvas
from embedshift.config import LONGEST, ApplyTo, Resize
from embedshift.config.safe_files import expanded, open_file
from embedshift.encoders import Encoder, load_encoder
from embedshift.encoders.base import usual_batch
from embedshift.encoders.images import ImageEncoder, encoder_object
from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.pipeline.batches import BatchEncoder
from embedshift.pipeline.plan import encoder_preprocess, to_input
from embedshift.sources.images import decode
from embedshift.statistics.tiles import TILES, tiles_of


@dataclass(frozen=True)
class Tiles:
    """Encodes whole images and their overlapping tiles: several vectors an image, for a gallery.

    Args:
        encoder: An encoder, or its name as for `run`.
        tiles: 4 (2 × 2, each 60 % of a side) or 9 (3 × 3, 45 %).
        resize: As in `run`; None = "own" with `apply_to` "file", else "squash".
        apply_to: As in `run`: "file" reduces larger images first, and gives encoders of images each at its own size.
        longest: As in `run`, in pixels.

    Raises:
        UsageError: There is no such number of tiles, or no such encoder.

    Example:
        >>> from embedshift import wrap
        >>> from torch import nn
        >>> encoder = wrap(nn.Flatten(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> Tiles(encoder, 4)([np.zeros((20, 30, 3), np.uint8)]).shape
        (1, 5, 192)
    """

    encoder: Any
    tiles: int = 4
    resize: Resize | Literal["own"] | None = None
    apply_to: ApplyTo = "input"
    longest: int = LONGEST

    def __post_init__(self) -> None:
        if self.tiles not in TILES:
            raise UsageError(f"`tiles` {self.tiles!r:.40}: choose {' or '.join(map(str, TILES))}")
        given = self.encoder
        object.__setattr__(
            self, "encoder", load_encoder(given) if isinstance(given, str) else encoder_object(given, {})
        )

    def __call__(self, images: Sequence[str | Path | Image.Image | Pixels]) -> Floats:
        """Returns the vectors of N images float32 `[N, 1 + tiles, D]`, that of the whole image first; not normalised.

        Args:
            images: Paths, images of PIL, or arrays RGB uint8 `[H, W, 3]`.

        Raises:
            EmbedshiftError: An image cannot be read or encoded.
        """
        encoder: Encoder = self.encoder
        own_size = self.apply_to == "file" and isinstance(encoder, ImageEncoder)
        how = to_input(encoder_preprocess(encoder), self.resize or ("own" if self.apply_to == "file" else "squash"))
        inputs = (
            Canvas.of(part, how, self.apply_to, self.longest).encoded(own_size=own_size)
            for image in map(_pixels, images)
            for part in (image, *tiles_of(image, self.tiles))
        )
        batches = BatchEncoder(encoder, usual_batch("cpu", encoder.grid), own_size)
        vectors = np.empty((len(images) * (1 + self.tiles), encoder.dim), np.float32)
        start = 0
        while views := [*itertools.islice(inputs, batches.size)]:
            for output, problem in batches.finish(views, None):
                if problem is not None:
                    raise EmbedshiftError(f"{encoder.name}: {reason(problem)}") from problem
                vectors[start : start + len(output)] = output.embedding
                start += len(output)
        return vectors.reshape(len(images), 1 + self.tiles, encoder.dim)


def _pixels(image: str | Path | Image.Image | Pixels) -> Pixels:
    if isinstance(image, str | os.PathLike):
        with open_file(expanded(image)) as file:
            return decode(file.read())
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise UsageError(f"Tiles: {pixels.dtype} {pixels.shape}; give paths, images of PIL, or RGB uint8 [H, W, 3]")
    return pixels
