"""Measures one image and its view for the page."""

import threading
from dataclasses import dataclass, field

import numpy as np

from embedshift.app.changes import Change
from embedshift.app.originals import Originals, SearchResult
from embedshift.arrays import Floats, Pixels
from embedshift.augmentations.canvas import Canvas
from embedshift.config import LONGEST, ApplyTo, Resize
from embedshift.encoders.base import Encoder, EncoderInfo, EncoderOutput
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import EmbedshiftError
from embedshift.pipeline.plan import encoder_preprocess
from embedshift.registry import METRICS
from embedshift.sources import images
from embedshift.sources.to_input import ToInput
from embedshift.statistics.baselines import Baseline, relative_shift
from embedshift.statistics.summary import COSINE


@dataclass(frozen=True)
class Scale:
    baseline: Baseline | None
    source: str
    nearest: float | None = None
    nearest_of: str = "other image"

    def relative_shift(self, cosine: float) -> float:
        """The relative shift of a cosine; NaN without a baseline."""
        if self.baseline is None:
            return float("nan")
        return float(relative_shift(cosine, self.baseline, METRICS[COSINE].no_change))


@dataclass(frozen=True)
class PageEncoder:
    """The encoder and the scale that measure an image; all tabs share it, and it never changes."""

    encoder: Encoder
    title: str
    spec: EncoderSpec
    scale: Scale
    resize: Resize = "squash"
    apply_to: ApplyTo = "input"
    longest: int = LONGEST
    seed: int = 0
    originals: Originals | None = None
    not_searched: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def encode(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, one call at a time."""
        with self._lock, self.spec.using_kernels(self.encoder):
            output = self.encoder(np.ascontiguousarray(views))  # a view may be a mirrored look at other pixels
        if not np.isfinite(output.embedding).all():
            raise EmbedshiftError(f"{self.title} gives no number for this image")
        return output

    def canvas(self, image: Pixels) -> Canvas:
        """What changes of an image uint8 `[H, W, 3]`, and how the encoder takes it."""
        preprocess = encoder_preprocess(self.encoder, EncoderInfo.of(self.encoder).preprocess)
        to_input = ToInput(preprocess.size, self.resize, preprocess.shortest, preprocess.resample)
        return Canvas.of(image, to_input, self.apply_to, self.longest)


@dataclass(frozen=True)
class Original:
    """An image of the user, as one tab keeps it."""

    name: str
    size: tuple[int, int]
    view: Pixels
    embedding: Floats
    attention: Floats | None
    pixels: str
    canvas: Canvas


@dataclass(frozen=True)
class MeasuredView:
    view: Pixels
    attention: Floats | None
    cosine: float
    relative_shift: float
    search: SearchResult | None
    change: str


def open_original(data: bytes, name: str, page_encoder: PageEncoder) -> Original:
    """Decodes the bytes of a file as every source of a study does, and encodes the image."""
    image = images.decode(data)
    canvas = page_encoder.canvas(image)
    view = canvas.original
    output = page_encoder.encode(view[None])
    attention = None if output.attention is None else output.attention[0]
    size = image.shape[1], image.shape[0]
    return Original(name, size, view, output.embedding[0], attention, images.pixels_hash(image), canvas)


def measure_view(
    original: Original, change: Change, parameter: float, page_encoder: PageEncoder, *, draw: int = 0
) -> MeasuredView:
    """Draws one view of an image, encodes it alone and measures it."""
    view = change.draw(original.canvas, original.name, parameter, seed=page_encoder.seed, draw=draw)
    output = page_encoder.encode(view[None])
    cosine = float(METRICS[COSINE].function(original.embedding, output.embedding[0]))
    result = None
    if page_encoder.originals is not None:
        result = page_encoder.originals.search(original.embedding, output.embedding[0], original.pixels)
    return MeasuredView(
        view=view,
        attention=None if output.attention is None else output.attention[0],
        cosine=cosine,
        relative_shift=page_encoder.scale.relative_shift(cosine),
        search=result,
        change=f"{change.name} {change.words(parameter)}".strip(),
    )
