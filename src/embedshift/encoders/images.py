"""Encoders of images with their own preprocessing; and test images for any encoder."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, checked_size
from embedshift.errors import EmbedshiftError, Transient, UsageError, reason
from embedshift.registry import CODE, fingerprint, imported

log = logging.getLogger(__name__)

# Default side of squares.
SIZE = 224
# Seconds before a retry after a `Transient`.
PAUSES = (1.0, 4.0)

LOADING = ("embedding", "size", "mean", "std", "precision", "device")

Encode = Callable[[Sequence[Image.Image]], Any]
EncodeText = Callable[[Sequence[str]], Any]


@runtime_checkable
class ImageEncoder(Protocol):
    """An encoder of images with its own preprocessing, for `embedshift.run(model=...)`.

    With `apply_to` file it gets views at their own size, else squares, whose side may be its `size`. It may also have
    `encode_text`, as in `ReadsText`.

    Attributes:
        name: Name in tables and reports.
        version: A text that differs whenever the vectors differ; it is part of a study's identity.
    """

    name: str
    version: str

    def encode_images(self, images: Sequence[Image.Image]) -> Any:
        """Encodes N images in RGB to `[N, D]`.

        Raises:
            Transient: The same call may succeed later. It is tried again; other errors are not.
        """


class ViewEncoder:
    """An encoder of images as an encoder of views; also an `ImageEncoder`."""

    grid: tuple[int, int] | None = None
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    encode_text: EncodeText

    def __init__(self, encoder: ImageEncoder, size: int | None = None) -> None:
        self.encoder, self.name, self.version = encoder, encoder.name, str(encoder.version)
        self.size = size or getattr(encoder, "size", None) or SIZE
        self.device = getattr(encoder, "device", None)
        self.weights_hash = f"{self.name} {self.version}"
        if encode_text := getattr(encoder, "encode_text", None):
            self.encode_text = encode_text
        self.dim = first_embedding(self)

    def __call__(self, views: Pixels | Sequence[Pixels]) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, or a list of views of any size."""
        vectors = self.encode_images([Image.fromarray(view) for view in views])
        return EncoderOutput(np.asarray(vectors), None, None)

    def encode_images(self, images: Sequence[Image.Image]) -> Any:
        """Encodes N images to `[N, D]`; tries again after a `Transient`."""
        for pause in PAUSES:
            try:
                return self.encoder.encode_images(images)
            except Transient as error:
                log.info("%s: %s; trying again in %g s", self.name, error, pause)
                time.sleep(pause)
        return self.encoder.encode_images(images)


def noise(count: int, size: int) -> Pixels:
    """Returns fixed random images uint8 `[count, size, size, 3]`."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def patterns(count: int, size: int) -> Pixels:
    """Returns images of random squares `[count, size, size, 3]`, closer to photographs than noise."""
    rng = np.random.default_rng(1)
    images = np.zeros((count, size, size, 3))
    for parts, weight in ((4, 0.5), (16, 0.3), (size, 0.2)):
        side = -(-size // parts)
        squares = rng.uniform(0, 255, (count, parts, parts, 3))
        images += weight * squares.repeat(side, axis=1).repeat(side, axis=2)[:, :size, :size]
    return images.astype(np.uint8)


def first_embedding(encoder: Encoder) -> int:
    """Returns the embedding of one image; EmbedshiftError if it fails."""
    try:
        shape = encoder(noise(1, encoder.size)).embedding.shape
    except (Exception, SystemExit) as error:  # a program that ends here would seem to have measured
        raise EmbedshiftError(f"{encoder.name} cannot encode an image: {reason(error)[:300]}") from error
    if len(shape) != 2 or shape[0] != 1 or not shape[1]:
        raise EmbedshiftError(f"{encoder.name} gives {shape} for one image; it must give [N, D] for N images")
    return int(shape[1])


def image_encoder(
    function: Encode, *, name: str, version: str, size: int = SIZE, encode_text: EncodeText | None = None
) -> Encoder:
    """Makes an encoder from a function of images that returns their vectors.

    One process calls it. An image for which it raises an error is listed as failed; after `embedshift.Transient` the
    same call is tried again, twice.

    Args:
        function: `(images) -> [N, D]` for N images of PIL in RGB; see `ImageEncoder`.
        name: Name in tables and reports.
        version: A text that differs whenever the vectors differ.
        size: Side of squares, in pixels.
        encode_text: `(texts) -> [N, D]`, for the settings `text` and `labels`: vectors in the space of the embedding.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Raises:
        EmbedshiftError: The function cannot encode one image.

    Example:
        >>> import numpy
        >>> encoder = image_encoder(lambda images: [i.resize((1, 1)).getpixel((0, 0)) for i in images], name="mean",
        ...                         version="1", size=8)
        >>> encoder(numpy.full((2, 8, 8, 3), 7, numpy.uint8)).embedding.tolist()
        [[7, 7, 7], [7, 7, 7]]
    """
    made: Any = SimpleNamespace(name=name, version=version, encode_images=function, encode_text=encode_text)
    return ViewEncoder(made, checked_size(name, size))


def encoder_object(model: str | Encoder | ImageEncoder, given: Mapping[str, Any]) -> Encoder | None:
    """Returns `model` if it is an encoder object, None for a name; refuses settings for loading with an object."""
    if isinstance(model, str):
        return None
    if isinstance(model, ImageEncoder) and not isinstance(model, Encoder):
        model = ViewEncoder(model)
    if not isinstance(model, Encoder):
        raise UsageError(
            f"model: {type(model).__name__} is not an encoder; give a name, embedshift.wrap(module, ...) or "
            "embedshift.image_encoder(function, ...)"
        )
    for name in LOADING:
        if given.get(name) is not None:
            raise UsageError(f"{name}: {model.name} is already loaded; set it when you load the encoder")
    return model


def load_python(name: str, *, size: int | None = None, **_settings: Any) -> Encoder:
    """Imports a function, an `ImageEncoder` or an `Encoder` by `module:name`; a function may have a `version`."""
    target = imported(f"{CODE}{name}")
    if isinstance(target, Encoder):
        return target
    if isinstance(target, ImageEncoder):
        return ViewEncoder(target, size)
    if not callable(target):
        raise UsageError(f"{CODE}{name}: {type(target).__name__}, not a function of images")
    version = str(getattr(target, "version", None) or fingerprint(target))
    return image_encoder(target, name=f"{CODE}{name}", version=version, size=size or SIZE)
