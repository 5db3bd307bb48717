"""What the page needs before its first image: an encoder, and the scale that a study or some photographs give."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from embedshift.app.among import Among
from embedshift.app.look import Bench, Scale
from embedshift.config import Precision, Resize
from embedshift.encoders import TITLES
from embedshift.encoders.base import EncoderInfo
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


def by_photos(files: Sequence[Path], model: str, device: str = "auto") -> Bench:
    """An encoder, with the scale that all pairs of some photographs give."""
    spec = EncoderSpec(model=model, device=device)
    encoder = spec.load()
    bench = Bench(encoder, TITLES.get(model, model), spec, Scale(None, ""))
    vectors = [bench.encode(bench.sized(images.decode(file.read_bytes()))[None]).embedding[0] for file in files]
    joined = {"vectors": {"vectors": vectors}, "units": {}}
    baseline = cosine_baseline(joined.__getitem__, len(files))  # type: ignore[arg-type]
    words = f"the {len(files)} photographs of `embedshift demo`: a rough scale, since they are few"
    return Bench(encoder, bench.title, spec, Scale(baseline, words))


def by_study(reader: Reader, model: str | None = None, device: str = "auto") -> Bench:
    """The encoder of a study, with the scale and the search that the study gives."""
    info = reader.info
    name, record = model or str(info.config.get("model")), info.encoder
    precision: Precision = next((each for each in get_args(Precision) if each == record.precision), "float32")
    size, embedding = info.config.get("size"), info.config.get("embedding")
    spec = EncoderSpec(
        model=name, device=device, precision=precision, size=size, embedding=embedding, kernels=record.kernels
    )
    encoder = spec.load()
    if encoder.weights_hash != record.weights_hash or EncoderInfo.of(encoder).embedding_name != record.embedding:
        raise UsageError(f"{name}: not the encoder that {reader.folder} was measured with; name it by `model`")
    among, how = Among.of(reader), info.identity["resize"]
    return Bench(
        encoder=encoder,
        title=record.title or name,
        spec=spec,
        scale=scale_of(reader),
        resize=next(each for each in get_args(Resize) if each == how),
        seed=info.seed,
        among=among if isinstance(among, Among) else None,
        unsearched=among if isinstance(among, str) else "",
    )


def scale_of(reader: Reader) -> Scale:
    """The scale of a study: its baseline of the cosine, and how far the nearest other image lies on average."""
    baseline, measured = baselines(reader).get(COSINE), reader.info.counts.measured
    scale = Scale(baseline, f"the {measured:,} images of the study")
    near = nearest_cosine(reader.table("geometry"))
    if baseline is None or near is None:
        return scale
    return Scale(baseline, scale.source, scale.relative_shift(near), nearest_of(measured))


def scale_in_words(scale: Scale) -> str:
    """Where 1 on the ruler comes from."""
    if scale.baseline is None:
        return f"There is no ruler: {scale.source} give no baseline."
    value = fixed(scale.baseline.value, 3)
    return f"1 on the ruler is the mean cosine of two different images, {value}, over all pairs of {scale.source}."


def try_study(reader: Reader, model: str | None, device: str) -> Bench | str:
    """As `by_study`; where its encoder cannot be had, the reason: the points can be looked at without it."""
    try:
        return by_study(reader, model, device)
    except EmbedshiftError as error:
        if model is not None:  # asked for by name
            raise
        log.warning("%s: no image of your own can be measured (%s)", reader.folder, error)
        return str(error)
