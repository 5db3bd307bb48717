"""What the page needs before its first image: an encoder, and the scale that a study or some photographs give."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from embedshift.app.measured import PageEncoder, Scale
from embedshift.app.originals import Originals
from embedshift.config import LONGEST, Precision, refuse_code
from embedshift.encoders import TITLES
from embedshift.encoders.base import EncoderInfo
from embedshift.encoders.images import ImageEncoder
from embedshift.encoders.spec import EncoderSpec
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.figures.scale import nearest_cosine, nearest_of
from embedshift.report.numbers import fixed
from embedshift.sources import images
from embedshift.statistics.baselines import cosine_baseline
from embedshift.statistics.summary import COSINE
from embedshift.store.baselines import baselines
from embedshift.store.reader import Reader

log = logging.getLogger(__name__)


def encoder_from_photos(files: Sequence[Path], model: str, device: str = "auto") -> PageEncoder:
    """An encoder, with the scale that all pairs of some photographs give."""
    spec = EncoderSpec(model=model, device=device)
    encoder = spec.load()
    page_encoder = PageEncoder(encoder, TITLES.get(model, model), spec, Scale(None, ""))
    views = [page_encoder.canvas(images.decode(file.read_bytes())).original for file in files]
    vectors = [page_encoder.encode(view[None]).embedding[0] for view in views]
    sums = {"vectors": {"vectors": vectors}, "units": {}}
    baseline = cosine_baseline(sums.__getitem__, len(files))  # type: ignore[arg-type]
    words = f"the {len(files)} photographs of `embedshift demo`: a rough scale, since they are few"
    return PageEncoder(encoder, page_encoder.title, spec, Scale(baseline, words))


def encoder_from_study(reader: Reader, model: str | None = None, device: str = "auto") -> PageEncoder:
    """The encoder of a study, with the scale and the search that the study gives."""
    info = reader.info
    name, record = model or str(info.config.get("model")), info.encoder
    if model is None:
        refuse_code(name, reader.folder)
    precision: Precision = next((name for name in get_args(Precision) if name == record.precision), "float32")
    size, embedding = info.config.get("size"), info.config.get("embedding")
    spec = EncoderSpec(
        model=name, device=device, precision=precision, size=size, embedding=embedding, kernels=record.kernels,
        mean=info.config.get("mean"), std=info.config.get("std"),
    )  # fmt: skip
    encoder = spec.load()
    if encoder.weights_hash != record.weights_hash or EncoderInfo.of(encoder).embedding_name != record.embedding:
        raise UsageError(f"{name}: not the encoder that {reader.folder} was measured with; name it by `model`")
    originals, identity = Originals.from_study(reader), info.identity
    if "longest" in identity and isinstance(encoder, ImageEncoder):
        raise UsageError(f"{name}: it got the images of files at their own sizes, and the page has only squares")
    return PageEncoder(
        encoder=encoder,
        title=record.title or name,
        spec=spec,
        scale=scale_of(reader),
        resize=identity["resize"],
        apply_to=identity.get("apply_to", "input"),
        longest=identity.get("longest", LONGEST),
        seed=info.seed,
        originals=originals if isinstance(originals, Originals) else None,
        not_searched=originals if isinstance(originals, str) else "",
    )


def scale_of(reader: Reader) -> Scale:
    """The scale of a study: its baseline of the cosine, and how far the nearest other image lies on average."""
    baseline, measured = baselines(reader).get(COSINE), reader.info.counts.measured
    scale = Scale(baseline, f"the {measured:,} images of the study")
    nearest = nearest_cosine(reader.table("geometry"))
    if baseline is None or nearest is None:
        return scale
    return Scale(baseline, scale.source, scale.relative_shift(nearest), nearest_of(measured))


def scale_in_words(scale: Scale) -> str:
    """Where 1 on the ruler comes from."""
    if scale.baseline is None:
        return f"There is no scale: {scale.source} give no baseline."
    value = fixed(scale.baseline.value, 3)
    return f"A relative shift of 1 is two different images: cosine {value}, the mean over all pairs of {scale.source}."


def try_encoder_from_study(reader: Reader, model: str | None, device: str) -> PageEncoder | str:
    """As `encoder_from_study`; where its encoder cannot be had, the reason: the points can be looked at without it."""
    try:
        return encoder_from_study(reader, model, device)
    except EmbedshiftError as error:
        if model is not None:  # asked for by name
            raise
        log.warning("%s: no image of your own can be measured (%s)", reader.folder, error)
        return str(error)
