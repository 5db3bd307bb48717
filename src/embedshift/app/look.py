"""One image and its view → what the page shows of them."""

import threading
from dataclasses import dataclass, field

import numpy as np

from embedshift.app.among import Among, Place
from embedshift.app.changes import Change
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
    """By what a shift is measured.

    Args:
        floor: Of the cosine; None where there is none.
        source: Which images it is the mean of, in words.
        near: Mean share of the nearest other image; None where it is not known.
        near_of: Among which images it is the nearest.
    """

    floor: Floor | None
    source: str
    near: float | None = None
    near_of: str = "other image"

    def share(self, cosine: float) -> float:
        """The share of a cosine; NaN without a floor."""
        if self.floor is None:
            return float("nan")
        return float(share(cosine, self.floor, METRICS[COSINE].no_change))


@dataclass(frozen=True)
class Bench:
    """The encoder and all that an image is measured by; the same for all tabs, and never changed.

    Args:
        encoder: The encoder.
        title: What the page calls it.
        spec: By which it was loaded.
        scale: By what a shift is measured.
        resize: How an image is brought to the encoder's size.
        seed: Of the views.
        among: The study's originals; None without a study, and where they cannot be searched.
        unsearched: Why they are not searched; "" where they are, and without a study.
    """

    encoder: Encoder
    title: str
    spec: EncoderSpec
    scale: Scale
    resize: Resize = "squash"
    seed: int = 0
    among: Among | None = None
    unsearched: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def encode(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, those of one tab after those of another.

        Raises:
            EmbedshiftError: where the encoder gives a vector that is not of numbers.
        """
        with self._lock, self.spec.at_work(self.encoder):
            output = self.encoder(np.ascontiguousarray(views))  # a view may be a mirrored look at other pixels
        if not np.isfinite(output.embedding).all():
            raise EmbedshiftError(f"{self.title} gives no number for this image")
        return output

    def sized(self, image: Pixels) -> Pixels:
        """An image uint8 `[H, W, 3]` as the encoder takes it, `[S, S, 3]`."""
        how = preprocess_of(self.encoder, EncoderInfo.of(self.encoder).preprocess)
        return images.resize(image, how.size, self.resize, shortest=how.shortest, resample=how.resample)


@dataclass(frozen=True)
class Original:
    """An image of your own, as one tab keeps it.

    Args:
        name: Of its file.
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
        share: Fraction of the distance to an unrelated image; NaN without a scale.
        place: What a search found; None where none was made.
        change: The label of the change.
        strength: In words; "" for a change without strength.
    """

    view: Pixels
    attention: Floats | None
    cosine: float
    share: float
    place: Place | None
    change: str
    strength: str


def open_original(data: bytes, name: str, bench: Bench) -> Original:
    """Decodes an image as every source of a study does, and encodes it.

    Args:
        data: The bytes of its file.
        name: Of its file; the seeds of its views come from it.
        bench: What it is measured by.

    Raises:
        EmbedshiftError: one line that says why it is no image, or that it is too large.
    """
    whole = images.decode(data)
    view = bench.sized(whole)
    output = bench.encode(view[None])
    attention = None if output.attention is None else output.attention[0]
    size = whole.shape[1], whole.shape[0]
    return Original(name, size, view, output.embedding[0], attention, images.pixels_hash(whole))


def look(original: Original, change: Change, parameter: float, bench: Bench, *, draw: int = 0) -> Look:
    """Draws one view of an image and measures it: the view alone is encoded.

    Args:
        original: The image.
        change: What is done.
        parameter: How strongly, in the unit of the change.
        bench: What it is measured by.
        draw: Which draw.

    Raises:
        EmbedshiftError: where the view cannot be drawn.
    """
    view = change.draw(original.view, original.name, parameter, seed=bench.seed, draw=draw)
    output = bench.encode(view[None])
    cosine = float(METRICS[COSINE].function(original.embedding, output.embedding[0]))
    place = None
    if bench.among is not None:
        place = bench.among.find(original.embedding, output.embedding[0], original.pixels)
    return Look(
        view=view,
        attention=None if output.attention is None else output.attention[0],
        cosine=cosine,
        share=bench.scale.share(cosine),
        place=place,
        change=change.label,
        strength=change.words(parameter),
    )
