"""Measures one image and its view for the page."""

import threading
from dataclasses import dataclass, field

import numpy as np

from embedshift.app.changes import Change
from embedshift.app.originals import Originals, SearchResult
from embedshift.arrays import Floats, Pixels
from embedshift.config import Resize
from embedshift.encoders.base import Encoder, EncoderInfo, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.plan import preprocess_of
from embedshift.registry import METRICS
from embedshift.sources import images
from embedshift.statistics.floors import Floor, share
from embedshift.statistics.summary import COSINE


@dataclass(frozen=True)
class Scale:
    """The scale of relative shifts.

    Args:
        floor: Of the cosine; None where there is none.
        source: Which images it is the mean of, in words.
        nearest: Mean relative shift of the nearest other image; None where it is not known.
        nearest_of: Among which images it is the nearest.
    """

    floor: Floor | None
    source: str
    nearest: float | None = None
    nearest_of: str = "other image"

    def relative_shift(self, cosine: float) -> float:
        """The relative shift of a cosine; NaN without a floor."""
        if self.floor is None:
            return float("nan")
        return float(share(cosine, self.floor, METRICS[COSINE].no_change))


@dataclass(frozen=True)
class Bench:
    """The encoder and the scale that measure an image; all tabs share it, and it never changes.

    Args:
        encoder: The encoder.
        title: What the page calls it.
        spec: By which it was loaded.
        scale: The scale of relative shifts.
        resize: How an image is brought to the encoder's size.
        seed: Of the views.
        originals: The study's originals; None without a study, and where they cannot be searched.
        not_searched: Why they are not searched; "" where they are, and without a study.
    """

    encoder: Encoder
    title: str
    spec: EncoderSpec
    scale: Scale
    resize: Resize = "squash"
    seed: int = 0
    originals: Originals | None = None
    not_searched: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def encode(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, one call at a time."""
        with self._lock, self.spec.at_work(self.encoder):
            output = self.encoder(np.ascontiguousarray(views))  # a view may be a mirrored look at other pixels
        if not np.isfinite(output.embedding).all():
            raise EmbedshiftError(f"{self.title} gives no number for this image")
        return output

    def resized(self, image: Pixels) -> Pixels:
        """An image uint8 `[H, W, 3]` as the encoder takes it, `[S, S, 3]`."""
        how = preprocess_of(self.encoder, EncoderInfo.of(self.encoder).preprocess)
        return images.resize(image, how.size, self.resize, shortest=how.shortest, resample=how.resample)


@dataclass(frozen=True)
class Original:
    """An image of the user, as one tab keeps it.

    Args:
        name: Of its file; the seeds of its views come from it.
        size: Width and height as it was decoded.
        view: At the encoder's size, uint8 `[S, S, 3]`.
        embedding: float32 `[D]`.
        attention: float32 `[g_h, g_w]`; None for an encoder without attention.
        pixels: Hash of its pixels.
    """

    name: str
    size: tuple[int, int]
    view: Pixels
    embedding: Floats
    attention: Floats | None
    pixels: str


@dataclass(frozen=True)
class Look:
    """A view of an image, and how far the embedding has moved.

    Args:
        view: uint8 `[S, S, 3]`.
        attention: float32 `[g_h, g_w]`; None for an encoder without attention.
        cosine: Of the two embeddings.
        relative_shift: Fraction of the distance to an unrelated image; NaN without a scale.
        search: What a search found; None where none was made.
        change: The change and its strength, in words.
    """

    view: Pixels
    attention: Floats | None
    cosine: float
    relative_shift: float
    search: SearchResult | None
    change: str


def open_original(data: bytes, name: str, bench: Bench) -> Original:
    """Decodes the bytes of a file as every source of a study does, and encodes the image."""
    image = images.decode(data)
    view = bench.resized(image)
    output = bench.encode(view[None])
    attention = None if output.attention is None else output.attention[0]
    size = image.shape[1], image.shape[0]
    return Original(name, size, view, output.embedding[0], attention, images.pixels_hash(image))


def look(original: Original, change: Change, parameter: float, bench: Bench, *, draw: int = 0) -> Look:
    """Draws one view of an image, encodes it alone and measures it.

    Args:
        original: The image.
        change: What is done.
        parameter: How strongly, in the unit of the change.
        bench: The encoder and the scale.
        draw: Which draw.
    """
    view = change.draw(original.view, original.name, parameter, seed=bench.seed, draw=draw)
    output = bench.encode(view[None])
    cosine = float(METRICS[COSINE].function(original.embedding, output.embedding[0]))
    result = None
    if bench.originals is not None:
        result = bench.originals.search(original.embedding, output.embedding[0], original.pixels)
    return Look(
        view=view,
        attention=None if output.attention is None else output.attention[0],
        cosine=cosine,
        relative_shift=bench.scale.relative_shift(cosine),
        search=result,
        change=f"{change.name} {change.words(parameter)}".strip(),
    )
