"""Embeddings of whole images and of their tiles, as `run` with `tiles` stores them, for your own index."""

import io
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image, ImageOps

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

if TYPE_CHECKING:
    from embedshift.study import Study

# Modes of PIL that a PNG keeps.
AS_PNG = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


@dataclass(frozen=True)
class Tiles:
    """Encodes whole images and their overlapping tiles: several vectors an image, for a gallery.

    Args:
        encoder: An encoder, or its name as for `run`.
        tiles: 4 (2 × 2, each 60 % of a side) or 9 (3 × 3, 45 %).
        resize: As in `run`; None = "own" with `apply_to` "file", else "squash".
        apply_to: As in `run`: "file" reduces larger images first, and gives encoders of images each at its own size. It
            is the default of the suites `everyday` and `copies`.
        longest: As in `run`, in pixels.

    Raises:
        UsageError: A setting is not one of these, or there is no such encoder.

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
        if not isinstance(self.tiles, int) or self.tiles not in TILES:
            raise UsageError(f"`tiles` {self.tiles!r:.40}: choose {' or '.join(map(str, TILES))}")
        for name, known in (("resize", (None, "own", *get_args(Resize))), ("apply_to", get_args(ApplyTo))):
            if (value := getattr(self, name)) not in known:
                raise UsageError(f"`{name}` {value!r:.40}: choose one of {', '.join(filter(None, known))}")
        given = self.encoder
        loaded = load_encoder(given) if isinstance(given, str) else encoder_object(given, {})
        object.__setattr__(self, "encoder", loaded)

    @classmethod
    def of(cls, study: "Study", encoder: Encoder | ImageEncoder | None = None) -> "Tiles":
        """Returns the tiles of a study that was run with `tiles`, with its encoder and its settings.

        Args:
            study: The finished study.
            encoder: Its encoder, where it was given as an object; None = it is loaded by its name.

        Raises:
            UsageError: The study has no tiles of images.
        """
        config, record = study.info()["config"], study.reader().info.encoder
        if config.get("tiles") not in TILES or not study.reader().info.has_pixels:
            raise UsageError(f"{study.folder}: has no tiles of images; run it with `tiles`")
        if encoder is None:
            given: Any = {name: config.get(name) for name in ("size", "embedding", "mean", "std")}
            encoder = load_encoder(config["model"], **given | {"precision": record.precision})
        settings = {name: config[name] for name in ("tiles", "resize", "apply_to", "longest")}
        return cls(encoder, **settings)

    def __call__(self, images: Sequence[str | Path | Image.Image | Pixels]) -> Floats:
        """Returns the vectors of N images float32 `[N, 1 + tiles, D]`, that of the whole image first; not normalised.

        Args:
            images: Paths, images of PIL, or arrays RGB uint8 `[H, W, 3]`.

        Raises:
            EmbedshiftError: An image cannot be read or encoded.
        """
        if isinstance(images, str | os.PathLike | Image.Image) or not isinstance(images, Iterable):
            raise UsageError(f"Tiles: give a list of images, not {type(images).__name__}")
        encoder, listed = self.encoder, [*images]
        own_size = self.apply_to == "file" and isinstance(encoder, ImageEncoder)
        how = to_input(encoder_preprocess(encoder), self.resize or ("own" if self.apply_to == "file" else "squash"))
        inputs = (
            Canvas.of(part, how, self.apply_to, self.longest).encoded(own_size=own_size)
            for number, image in enumerate(listed)
            for pixels in [_pixels(image, number)]
            for part in (pixels, *tiles_of(pixels, self.tiles))
        )
        batches = BatchEncoder(encoder, usual_batch("cpu", encoder.grid), own_size)
        vectors, start = np.empty((len(listed) * (1 + self.tiles), encoder.dim), np.float32), 0
        while views := [*itertools.islice(inputs, batches.size)]:
            for output, problem in batches.finish(views, None):
                if problem is not None:
                    name = _named(listed[start // (1 + self.tiles)], start // (1 + self.tiles))
                    raise EmbedshiftError(f"{encoder.name}: {name}: {reason(problem)}") from problem
                vectors[start : start + len(output)] = output.embedding
                start += len(output)
        return vectors.reshape(len(listed), 1 + self.tiles, encoder.dim)


def _named(image: Any, number: int) -> str:
    return str(image) if isinstance(image, str | os.PathLike) else f"image {number}"


def _pixels(image: Any, number: int) -> Pixels:
    """Returns pixels as a run reads them: upright by EXIF, on white, with 8 bits."""
    try:
        if isinstance(image, str | os.PathLike):
            with open_file(expanded(image)) as file:
                return decode(file.read())
        if isinstance(image, Image.Image):
            turned = ImageOps.exif_transpose(image)
            turned = turned if turned.mode in AS_PNG else turned.convert("RGB")
            turned.save(content := io.BytesIO(), "PNG", compress_level=0)
            return decode(content.getvalue())
    except (OSError, EmbedshiftError) as error:
        raise EmbedshiftError(f"{_named(image, number)}: {reason(error)}") from error
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        words = "give paths, images of PIL, or RGB uint8 [H, W, 3]"
        raise UsageError(f"Tiles: image {number} is {pixels.dtype} {pixels.shape}; {words}")
    return pixels
