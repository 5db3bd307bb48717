"""A study as a dataset that FiftyOne imports; FiftyOne itself is not needed for it."""

import functools
import io
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError, cause
from embedshift.registry import METRICS
from embedshift.sources.base import ENDINGS
from embedshift.statistics.summary import COSINE
from embedshift.store.chunks import scan
from embedshift.store.reader import Reader
from embedshift.store.redraw import RedrawnImage, iter_redrawn
from embedshift.store.shards import write_atomically
from embedshift.study.exports import documents
from embedshift.study.exports.media import Media, check_media, original_bytes, original_path

log = logging.getLogger(__name__)

DATA, FAILED, RELATIVE_SHIFT = "data", "failed", "relative_shift"
# Images whose rows are in memory at once.
_IMAGES_AT_ONCE = 256


@dataclass(frozen=True)
class Export:
    """The settings that all samples of an export use."""

    reader: Reader
    out: Path
    names: dict[str, str]
    baseline: float | None
    embeddings: bool
    images: list[str]
    all_images: bool
    failures: dict[str, str]

    def values(self, row: Json) -> dict[str, float | None]:
        """The numbers of a view: its metrics, and the relative shift of its cosine."""
        values = {metric: _finite(row[metric]) for metric in self.reader.metrics}
        cosine, no_change = values.get(COSINE), METRICS[COSINE].no_change
        values[RELATIVE_SHIFT] = None
        if cosine is not None and self.baseline is not None:
            values[RELATIVE_SHIFT] = (no_change - cosine) / (no_change - self.baseline)
        return values

    @property
    def numbers(self) -> list[str]:
        return [*self.reader.metrics, RELATIVE_SHIFT]


def to_fiftyone(
    reader: Reader, out: Path, *, media: Media, images: int | Sequence[str] | None, embeddings: bool
) -> Path:
    """Writes the dataset; see `Study.to_fiftyone`."""
    check_media(media)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: is not empty; name a new folder")
    export = _export(reader, out, images, embeddings)
    samples = {"originals": _originals, "copies": _copies, "views": _views}[media](export)
    count = _write_samples(out / "samples.json", samples)
    if not count:
        (out / "samples.json").unlink()
        raise UsageError(f"{reader.folder}: no image of it can be read: see the log")
    slices = [ORIGINAL, *export.names.values()] if media == "views" else []
    document = documents.dataset(_fields(export, grouped=media == "views"), _info(export), slices=slices)
    # Last, since a folder with this file is a dataset.
    write_atomically(out / "metadata.json", lambda hidden: hidden.write_text(json.dumps(document), encoding="utf-8"))
    return out


def _export(reader: Reader, out: Path, images: int | Sequence[str] | None, embeddings: bool) -> Export:
    measured = reader.image_ids()
    failures: dict[str, str] = {}
    if images is None:
        chosen = sorted(measured)
        listed = reader.failures().select("image_id", "stage", "reason").iter_rows()
        failures = {image_id: f"{stage}: {reason}" for image_id, stage, reason in listed if image_id not in measured}
    else:
        chosen = reader.sample_ids(images) if isinstance(images, int) else [*images]
        if unknown := [image_id for image_id in chosen if image_id not in measured]:
            raise UsageError(f"{unknown[0]}: no such image in {reader.folder}")
    names = documents.field_names(reader.augmentations)
    return Export(reader, out, names, _baseline(reader), embeddings, chosen, images is None, failures)


def _baseline(reader: Reader) -> float | None:
    """The baseline of the cosine; None where the study's summary has no relative shift of it."""
    summary = reader.table("summary")
    if summary is None:
        raise reader.unfinished()
    baselines = summary.filter(metric=COSINE).drop_nulls(RELATIVE_SHIFT)["baseline"]
    return None if baselines.is_empty() else float(baselines[0])


def _originals(export: Export) -> Iterator[Json]:
    """Samples that name the files of the originals where they lie."""
    reader = export.reader
    original_bytes(reader)  # refuses a study whose images may not be read here
    if reader.source["kind"] != "folder":
        raise UsageError(f"{reader.folder}: its images are no files of their own; give media='copies' or 'views'")
    yield from _samples(export, functools.partial(original_path, reader))


def _copies(export: Export) -> Iterator[Json]:
    """Samples of copies of the originals, also of those that were not measured but can be read."""
    read = original_bytes(export.reader)
    numbers = {image_id: number for number, image_id in enumerate([*export.images, *export.failures])}

    def copy_path(image_id: str) -> str:
        content = read(image_id)
        name = f"{numbers[image_id]:06d}-{_plain(image_id)}{_ending(image_id, content)}"
        (export.out / DATA).mkdir(parents=True, exist_ok=True)
        (export.out / DATA / name).write_bytes(content)
        return f"{DATA}/{name}"

    yield from _samples(export, copy_path)


def _samples(export: Export, path_of_image: Callable[[str], str]) -> Iterator[Json]:
    """One sample per image, with means over its draws; an image without a path is logged and left out."""

    def sample(image_id: str, tags: Sequence[str], values: Json) -> Iterator[Json]:
        try:
            yield documents.sample(image_id, path_of_image(image_id), tags, {"image_id": image_id} | values)
        except (OSError, ValueError, EmbedshiftError) as error:  # ValueError: no name of a file
            log.warning("%s is left out: %s", image_id, cause(error))

    numbers = [pl.col(metric).fill_nan(None).mean() for metric in export.reader.metrics]
    for part in export.reader.parts():
        rows = scan([part.path])
        if not export.all_images:
            rows = rows.filter(pl.col("image_id").is_in(export.images))
        views_of_part = rows.filter(pl.col("view") != ORIGINAL).group_by("image_id", "view", maintain_order=True)
        means = views_of_part.agg(numbers).collect()
        views: dict[str, Json] = {}
        for row in means.iter_rows(named=True):
            name = export.names[row["view"]]
            views.setdefault(row["image_id"], {})[name] = documents.numbers(export.values(row))
        vectors = _vectors(export, rows.filter(pl.col("view") == ORIGINAL))
        for image_id in rows.select(pl.col("image_id").unique(maintain_order=True)).collect()["image_id"]:
            yield from sample(image_id, [], views.get(image_id, {}) | vectors.get((image_id, ORIGINAL), {}))
    for image_id, failure in export.failures.items():
        yield from sample(image_id, [FAILED], {"failure": failure})


def _views(export: Export) -> Iterator[Json]:
    """A group per image: the original and its views of draw 0, drawn again as the encoder saw them."""
    original_bytes(export.reader)  # refuses a study whose images may not be read here
    number = 0
    for start in range(0, len(export.images), _IMAGES_AT_ONCE):
        ids = export.images[start : start + _IMAGES_AT_ONCE]
        rows = export.reader.rows().filter(pl.col("image_id").is_in(ids) & (pl.col("draw") == 0))
        vectors = _vectors(export, rows)
        for image_id, image in iter_redrawn(export.reader, ids):
            number += 1
            if isinstance(image, str):
                log.warning("%s is left out: %s", image_id, image)
                continue
            yield from _group(export, image, number, vectors)


def _group(export: Export, image: RedrawnImage, number: int, vectors: dict[tuple[str, str], Json]) -> Iterator[Json]:
    """The samples of one image, whose pictures are written."""
    (export.out / DATA).mkdir(parents=True, exist_ok=True)
    for view, pixels in image.views.items():
        key, name = f"{image.image_id}\0{view}", export.names.get(view, view)
        path = f"{DATA}/{number:06d}-{name}.png"
        Image.fromarray(pixels).save(export.out / path)
        values: Json = {"image_id": image.image_id, "augmentation": view}
        values["group"] = documents.group(image.image_id, name)
        values |= export.values(image.metrics[view]) if view in image.metrics else {}
        values |= vectors.get((image.image_id, view), {})
        if view in image.attention:
            values["attention"] = documents.heatmap(key, image.attention[view])
        yield documents.sample(key, path, [], values)


def _vectors(export: Export, rows: pl.LazyFrame) -> dict[tuple[str, str], Json]:
    """Image id and view → the field `embedding`, for rows that have one."""
    if not export.embeddings:
        return {}
    stored = rows.select("image_id", "view", "embedding").drop_nulls("embedding").collect()
    return {
        (image_id, view): {"embedding": documents.array(np.asarray(vector, np.float32))}
        for image_id, view, vector in stored.iter_rows()
    }


def _fields(export: Export, *, grouped: bool) -> list[Json]:
    """Descriptions of the fields beyond the default ones."""
    fields = [documents.field("image_id", documents.STRING)]
    if export.embeddings:
        fields.append(documents.field("embedding", documents.VECTOR))
    if grouped:
        fields += [documents.field("augmentation", documents.STRING), documents.group_field()]
        fields += [documents.field(name, documents.FLOAT, description=_words(name)) for name in export.numbers]
        return [*fields, documents.heatmap_field("attention")]
    fields.append(documents.field("failure", documents.STRING))
    return fields + [documents.numbers_field(name, export.numbers, view) for view, name in export.names.items()]


def _words(name: str) -> str:
    if name == RELATIVE_SHIFT:
        return "the shift as a fraction of the distance to another image"
    return METRICS[name].label


def _info(export: Export) -> Json:
    info = export.reader.info
    encoder = {"name": export.reader.naming.setting(info.encoder.name), "weights_hash": info.encoder.weights_hash}
    counts = {"measured": info.counts.measured, FAILED: info.counts.failed}
    return {
        "embedshift": info.embedshift,
        "config_hash": info.config_hash,
        "encoder": encoder | {"revision": info.encoder.revision, "precision": info.encoder.precision},
        "augmentations": {name: view for view, name in export.names.items()},
        "baseline_of_cosine": export.baseline,
        "images": counts,
    }


def _write_samples(path: Path, samples: Iterator[Json]) -> int:
    """Writes samples.json one sample after the other; returns their number."""
    first = next(samples, None)  # an export that is refused leaves no folder
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with open(path, "w", encoding="utf-8") as file:
        file.write('{"samples": [')
        for sample in itertools.chain([] if first is None else [first], samples):
            file.write((",\n" if count else "") + json.dumps(sample))
            count += 1
        file.write("]}\n")
    return count


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _plain(image_id: str) -> str:
    """The last part of an id, in characters that every file system accepts."""
    return re.sub(r"[^\w.-]+", "_", os.path.splitext(os.path.basename(image_id))[0], flags=re.ASCII)[:80]


def _ending(image_id: str, content: bytes) -> str:
    """The ending of an image's name, or of its format if the name has none."""
    ending = os.path.splitext(image_id)[1].lower()
    if ending in ENDINGS:
        return ending
    try:
        with Image.open(io.BytesIO(content)) as image:
            return f".{(image.format or 'img').lower()}"
    except (OSError, ValueError):
        return ".img"
