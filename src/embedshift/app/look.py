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
from embedshift.statistics.baselines import Baseline, relative_shift
from embedshift.statistics.summary import COSINE


@dataclass(frozen=True)
class Scale:
    """By what a shift is measured."""

    baseline: Baseline | None
    source: str
    near: float | None = None
    near_of: str = "other image"

    def relative_shift(self, cosine: float) -> float:
        """The relative shift of a cosine; NaN without a baseline."""
        if self.baseline is None:
            return float("nan")
        return float(relative_shift(cosine, self.baseline, METRICS[COSINE].no_change))


@dataclass(frozen=True)
class Bench:
    """The encoder and all that an image is measured by; the same for all tabs, and never changed."""

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
        """Encodes views uint8 `[B, S, S, 3]`, those of one tab after those of another."""
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
    """An image of your own, as one tab keeps it."""

    name: str
    size: tuple[int, int]
    view: Pixels
    embedding: Floats
    attention: Floats | None
    pixels: str


@dataclass(frozen=True)
class Look:
    """A view of an image, and how far the embedding has moved."""

    view: Pixels
    attention: Floats | None
    cosine: float
    relative_shift: float
    place: Place | None
    change: str
    strength: str


def open_original(data: bytes, name: str, bench: Bench) -> Original:
    """Decodes an image as every source of a study does, and encodes it."""
    whole = images.decode(data)
    view = bench.sized(whole)
    output = bench.encode(view[None])
    attention = None if output.attention is None else output.attention[0]
    size = whole.shape[1], whole.shape[0]
    return Original(name, size, view, output.embedding[0], attention, images.pixels_hash(whole))


def look(original: Original, change: Change, parameter: float, bench: Bench, *, draw: int = 0) -> Look:
    """Draws one view of an image and measures it: the view alone is encoded."""
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
        relative_shift=bench.scale.relative_shift(cosine),
        place=place,
        change=change.label,
        strength=change.words(parameter),
    )
