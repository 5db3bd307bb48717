"""The changes that the page offers, and the measurements of an image and its view."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import ORIGINAL, SUITES, Augmentation, Choice, Suite
from embedshift.augmentations.family import FAMILIES, Family
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.config import BUNDLED, ApplyTo, StudyConfig, refuse_code
from embedshift.encoders import TITLES
from embedshift.encoders.base import Encoder, EncoderInfo, EncoderOutput
from embedshift.encoders.images import ImageEncoder
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.pipeline.batches import encode_views
from embedshift.pipeline.identity import is_of_study
from embedshift.pipeline.plan import encoder_preprocess, to_input
from embedshift.pipeline.prepare import encoder_spec
from embedshift.registry import METRICS
from embedshift.report.numbers import count
from embedshift.sources import images
from embedshift.statistics.baselines import Baseline, cosine_baseline, relative_shift, sums_of
from embedshift.statistics.index import SearchIndex
from embedshift.statistics.retrieval import Gallery, search
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from embedshift.store.reader import Reader

# Range of the slider, from the unchanged image to the suites' strongest level, and its steps per level.
LEVELS, STEPS = 5, 100
# Maximum bytes of vectors in memory; larger studies are not searched from the page.
MOST_BYTES = 2 * 2**30
# A missing baseline: every relative shift is NaN.
NO_SCALE = Baseline(float("nan"), float("nan"))
Row = dict[str, str | float]


@dataclass(frozen=True)
class MeasuredView:
    suite: str
    kind: Family | Augmentation

    @property
    def has_strength(self) -> bool:
        return isinstance(self.kind, Family) and len(self.kind.levels) > 1

    def at(self, level: float) -> Augmentation | None:
        """Returns the augmentation at a level, also between those of the suite; None for the unchanged image."""
        if isinstance(self.kind, Augmentation):
            return self.kind
        if not 0 <= level <= LEVELS:
            raise EmbedshiftError(f"{self.kind.name}: give a strength from 0 to {LEVELS}")
        step = round(level * STEPS / LEVELS) if self.has_strength else STEPS
        strength = self.kind.parameter(step, STEPS)
        return None if strength == self.kind.zero else self.kind.at(1, strength)


def all_changes(study_suite: Suite | None = None) -> dict[str, MeasuredView]:
    changes = [MeasuredView("study", augmentation) for augmentation in study_suite or () if augmentation.level is None]
    changes += [MeasuredView("everyday", augmentation) for augmentation in SUITES["everyday"](Choice())]
    families = [FAMILIES[name] for name in FAMILIES]
    changes += [
        MeasuredView(family.suite, family) for family in families if family.suite in ("strength", "corruptions")
    ]
    changes += [MeasuredView("paper", augmentation) for augmentation in SUITES["paper"](Choice())]
    return {f"{change.suite}: {change.kind.name}": change for change in changes}


class MeasuredOriginals:
    """The originals of a study, with room for one more image; `pixels` are hashes of the images."""

    def __init__(self, ids: list[str], vectors: Floats, pixels: list[str]) -> None:
        self.ids = ids
        self._index_of_pixels = {pixel: index for index, pixel in reversed(list(enumerate(pixels)))}
        with_upload = np.zeros((len(ids) + 1, vectors.shape[1]), np.float32)
        with_upload[:-1] = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
        self._gallery, self._lock = Gallery.of(with_upload), threading.Lock()  # all tabs share the last row

    @classmethod
    def of(cls, reader: Reader) -> "MeasuredOriginals | str":
        """Returns the originals of a study, or the reason why they cannot be searched."""
        if not reader.info.has_vectors:
            return "the study has no stored embeddings: run it with `store` all"
        if 4 * reader.info.counts.measured * reader.info.encoder.dim > MOST_BYTES:
            return "the study's embeddings take more than 2 GiB: use `embedshift search`"
        rows = reader.rows().filter((pl.col("view") == ORIGINAL) & (pl.col("draw") == 0))
        ids, pixels, vectors = rows.select("image_id", "pixels", "embedding").collect().get_columns()
        return cls(ids.to_list(), vectors.to_numpy(), pixels.to_list())

    def search(self, original: Floats, view: Floats, pixels: str = "") -> tuple[int, int, str, float]:
        """Returns the original's rank for its view (0 = none), the number of images, and the nearest other image."""
        images = len(self.ids)
        index = self._index_of_pixels.get(pixels, images)
        with self._lock:
            upload = np.asarray(original if index == images else np.zeros(len(original)), np.float64)
            self._gallery.vectors[-1], self._gallery.lengths[-1] = upload, np.linalg.norm(upload)
            ranked = search(np.asarray(view)[None], [index], self._gallery, count=1)
        nearest = int(ranked.positions[0, 0]) if ranked.positions.size else -1
        name, cosine = (self.ids[nearest], float(ranked.others[0, 0])) if 0 <= nearest < images else ("", float("nan"))
        return int(ranked.rank[0]), images + (index == images), name, cosine


@dataclass(frozen=True)
class Space:
    """The embeddings of an encoder, plain or through an index, with baselines from a study or photographs."""

    name: str
    baseline: Baseline
    originals: MeasuredOriginals | str = "no study"
    index: SearchIndex | None = None

    def compare(self, original: Floats, view: Floats, pixels: str) -> Row:
        if self.index is not None:
            original, view = self.index.mapped(np.stack([original, view]))
        cosine = float(METRICS[COSINE].function(original, view))
        shift = float(relative_shift(cosine, self.baseline, METRICS[COSINE].no_change))
        others = self.baseline.value
        row: Row = {"embeddings": self.name, "relative shift": shift, "cosine": cosine, "other images": others}
        if isinstance(self.originals, str):
            return row | {"search finds it": self.originals, "nearest other image": ""}
        rank, images, nearest, nearest_cosine = self.originals.search(original, view, pixels)
        found = f"{rank:,} of {images:,}" if rank else "not found"
        return row | {"search finds it": found, "nearest other image": f"{nearest} ({nearest_cosine:.3f})"}


@dataclass(frozen=True)
class PageEncoder:
    encoder: Encoder
    title: str
    config: StudyConfig
    source: str
    spaces: tuple[Space, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fitting(self, maps: Sequence[SearchIndex]) -> dict[str, SearchIndex | None]:
        own = self.encoder.weights_hash, EncoderInfo.of(self.encoder).embedding_name or ""
        fitted = [index for index in maps if (index.encoder, index.embedding) == own]
        return {self.title: None} | {f"{self.title}, through {one.name} (on another scale)": one for one in fitted}

    def encode(self, view: Pixels) -> EncoderOutput:
        with self._lock:
            output = encode_views(self.encoder, np.ascontiguousarray(view)[None])  # it may be mirrored
        if not np.isfinite(output.embedding).all():
            raise EmbedshiftError(f"{self.title} gives no number for this image")
        return output

    def canvas(self, image: Pixels, target: ApplyTo) -> Canvas:
        square = to_input(encoder_preprocess(self.encoder), self.config.resize)
        return Canvas.of(image, square, target, self.config.longest)


def encoder_from_photos(
    files: Sequence[Path], model: str, device: str = "auto", maps: Sequence[SearchIndex] = ()
) -> PageEncoder:
    config = StudyConfig(model=model, device=device, apply_to="file", resize="own")
    encoder, source = encoder_spec(config, None, ()).load(), f"the {len(files)} photographs of the demo"
    page_encoder = PageEncoder(encoder, TITLES.get(model, model), config, source)
    views = [page_encoder.canvas(images.decode(file.read_bytes()), "file").original for file in files]
    vectors, spaces = np.stack([page_encoder.encode(view).embedding[0] for view in views]), list[Space]()
    for name, fitted in page_encoder.fitting(maps).items():
        sums = sums_of(vectors if fitted is None else fitted.mapped(vectors))
        baseline = cosine_baseline(sums, len(files)) or NO_SCALE
        spaces.append(Space(name, baseline, index=fitted))
    return replace(page_encoder, spaces=tuple(spaces))


def encoder_from_study(
    reader: Reader, model: str | None = None, device: str = "auto", maps: Sequence[SearchIndex] = ()
) -> PageEncoder:
    info, record, name = reader.info, reader.info.encoder, model or str(reader.info.config.get("model"))
    if model is None:
        refuse_code(name, reader.folder)
    names = ("size", "embedding", "mean", "std", "resize", "apply_to", "longest", "seed")
    settings = {name: info.config[name] for name in names if name in info.config}
    config = StudyConfig(model=name, device=device, precision="auto", **settings)
    source = f"the {count(info.counts.measured, 'image')} of {reader.folder.name}"
    encoder, spaces = encoder_spec(config, None, (), record).load(), list[Space]()
    if not is_of_study(encoder, info):
        raise UsageError(f"{name}: not the encoder that {reader.folder} was measured with; give that one by `model`")
    if "longest" in info.identity and isinstance(encoder, ImageEncoder):
        raise UsageError(f"{name}: it got the images of files at their own sizes, and the page has only squares")
    page_encoder = PageEncoder(encoder, f"{record.title or name}, {reader.folder.name}", config, source)
    for title, fitted in page_encoder.fitting(maps if info.has_vectors else ()).items():
        mapped = reader if fitted is None else replace(reader, index=fitted, made={})
        baseline = baselines(mapped).get(COSINE, NO_SCALE)
        spaces.append(Space(title, baseline, MeasuredOriginals.of(mapped), fitted))
    return replace(page_encoder, spaces=tuple(spaces))


def load_encoders(
    readers: Sequence[Reader],
    models: Sequence[str],
    device: str,
    maps: Mapping[Path, SearchIndex],
    files: Sequence[Path],
) -> list[PageEncoder | str]:
    """Returns the encoders of the studies, or the named ones; a reason in place of an unavailable one."""
    if readers and len(models) not in (0, len(readers)):
        raise UsageError(f"`model`: name one for each study, or none; {len(models)} for {len(readers)} studies")
    fitted, encoders = [*maps.values()], list[PageEncoder | str]()
    for index, reader in enumerate(readers):
        try:
            encoders.append(encoder_from_study(reader, models[index] if models else None, device, fitted))
        except EmbedshiftError as error:
            if models:
                raise
            encoders.append(str(error))
    if not readers:
        encoders += [encoder_from_photos(files, model, device, fitted) for model in models or [BUNDLED]]
    used = [space.index for one in encoders if isinstance(one, PageEncoder) for space in one.spaces]
    for path, one in maps.items():
        if one not in used:
            raise UsageError(f"`index` {path}: fitted to another encoder; name that encoder or a study of it")
    return encoders


@dataclass(frozen=True)
class Original:
    """The user's image as one encoder takes it: the file or the encoder's square."""

    name: str
    pixels: str
    by_target: dict[str, tuple[Canvas, EncoderOutput]]


def open_original(data: bytes, name: str, page_encoders: Sequence[PageEncoder]) -> list[Original]:
    image, originals = images.decode(data), list[Original]()
    for page_encoder in page_encoders:
        canvases = {target: page_encoder.canvas(image, target) for target in get_args(ApplyTo)}
        encoded = {target: (canvas, page_encoder.encode(canvas.original)) for target, canvas in canvases.items()}
        originals.append(Original(name, images.pixels_hash(image), encoded))
    return originals


def measure_view(
    original: Original, change: MeasuredView, level: float, page_encoder: PageEncoder, target: str, *, draw: int = 0
) -> tuple[list[tuple[str, Pixels, Floats | None]], list[Row]]:
    """Draws and encodes a view as a study would for an image with this name; returns images and rows."""
    (canvas, before), augmentation = original.by_target[target], change.at(level)
    view, words = canvas.original, "unchanged"
    if augmentation is not None:
        seed = view_seed(page_encoder.config.seed, original.name, augmentation.seed_name, draw)
        view, words = canvas.draw(augmentation, seed), augmentation.description or augmentation.name
    after, spaces = page_encoder.encode(view), page_encoder.spaces
    rows = [space.compare(before.embedding[0], after.embedding[0], original.pixels) for space in spaces]
    return [(f"original: {original.name}", canvas.original, before.attention), (words, view, after.attention)], rows
