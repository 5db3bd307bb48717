"""Prepares a study of existing vectors: opens them, and makes plan and identity without an encoder."""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite, Variant
from embedshift.config import VECTORS, Json, StudyConfig, VectorsConfig, make_config, validated
from embedshift.encoders.base import EncoderOutput
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.pipeline.prepare import inspected, variants_of_views_file
from embedshift.sources import Inspection, VectorSource, open_source
from embedshift.sources.base import storable
from embedshift.sources.pairs import files_hash
from embedshift.sources.vector_source import existing_folder
from embedshift.sources.vectors import VectorSet, listed_ids
from embedshift.sources.views_file import ORIGINALS, read_views_file

log = logging.getLogger(__name__)

# Bytes of a row beside its vector.
_BESIDE = 64


@dataclass(frozen=True, kw_only=True)
class UnknownEncoder:
    """Placeholder for the encoder of the vectors; `size` is that of the images in a report."""

    name: str
    dim: int
    weights_hash: str
    grid: None = None
    size: int = 224
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, views: Pixels) -> EncoderOutput:
        raise EmbedshiftError(f"{self.name}: only its vectors are known")


def _open(
    given: Sequence[tuple[str, Any]], config: VectorsConfig, out: Path, *, ids: Any, groups: Any, columns: Any
) -> VectorSource:
    ids = listed_ids(config.ids if ids is None else ids)
    (view, place), *views = given
    originals = VectorSet.open(place, view, ids=ids, groups=groups, columns=columns)
    if ids is None and not originals.is_numbered:  # arrays of views are in the order of the originals
        ids = originals.keys.filter(pc.field("view") == ORIGINALS)["image_id"].to_pylist()
    sets = [originals, *(VectorSet.open(place, view, ids=ids, columns=columns) for view, place in views)]
    _say_disk(sets, out, stored=config.store == "all")
    file = None if config.views is None else os.path.abspath(os.path.expanduser(config.views))
    views_file = None if file is None else read_views_file(Path(file))
    source = VectorSource(sets, folder=out, views_file=views_file, columns=columns)
    own = {sample.image_id for sample in source.samples}
    if views_file is not None:
        if source.draws != views_file.draws:
            raise UsageError(f"{file} has {views_file.draws} draws, the vectors {source.draws}: give the column draw")
        if left := views_file.images.keys() - own:
            log.warning("%d of %d images of %s have no vectors", len(left), len(views_file.images), file)
        variants = {folder: {"kind": "views", "paths": [f"{file}#{folder}"]} for folder in views_file.folders}
        source.description = {"kind": "views", "paths": [file], "variants": variants}
    elif config.images is not None:
        listed = open_source([config.images])
        if not own & {storable(sample.image_id) for sample in listed.samples}:
            raise UsageError(f"`images` {config.images}: has no image with an id of these vectors, such as {min(own)}")
        source.description = listed.description
    return source


def _say_disk(sets: Sequence[VectorSet], out: Path, *, stored: bool) -> None:
    """Logs the required disk space, and refuses a study without room for it."""
    rows, first = sum(map(len, sets)), next(sets[0].read(), None)
    dim, free = 0 if first is None else first.shape[1], shutil.disk_usage(existing_folder(out)).free
    study, copy = rows * (_BESIDE + 4 * dim * stored), 4 * rows * dim
    words = f"up to {study / 1e6:,.0f} MB in {out}, and {copy / 1e6:,.0f} MB more while it runs"
    if study + copy > free:
        raise UsageError(f"the study takes {words}; {free / 1e6:,.0f} MB are free")
    log.info(
        "%s vectors of %s numbers, without metrics of pixels and attention; disk: %s", f"{rows:,}", f"{dim:,}", words
    )


def vector_study(
    given: Sequence[tuple[str, Any]], settings: Mapping[str, Any], out: Path, *, ids: Any = None, groups: Any = None,
    columns: Mapping[str, str] | None = None,
) -> Json:  # fmt: skip
    config = validated(VectorsConfig, settings)
    by_row = None if groups is None or isinstance(groups, str | os.PathLike | Mapping) else groups
    source = _open(given, config, out, ids=ids, groups=by_row, columns=columns or {})
    seed = config.seed if source.views_file is None else source.views_file.seed
    if config.seed not in (StudyConfig.seed, seed):
        raise UsageError(f"`seed` {config.seed}: the views were drawn with the seed {seed}; leave it out")
    chosen = (groups if by_row is None else None) or source.groups or None
    study = make_config(
        {
            "images": source.description.get("paths") or [config.images or ""],
            "model": config.model,
            "augmentations": VECTORS,
            "store": config.store,
            "groups": None if chosen is None or isinstance(chosen, Mapping) else str(chosen),
            "seed": seed,
            "draws": source.draws,
            **({"tiles": source.tiles} if source.tiles else {}),
            "shard_size": config.shard_size,
        }
    )
    # A given name identifies the encoder; without one, only the same vectors do.
    weights = source.digest if config.model == VectorsConfig.model else f"named {config.model}"
    encoder = UnknownEncoder(name=config.model, dim=source.dim, weights_hash=weights)
    return {"config": study, "source": source, "encoder": encoder, "suite": _suite(source), "groups": chosen}


def _suite(source: VectorSource) -> Suite:
    """Returns the views as variants; for written views with the descriptions of a study of their files."""
    if source.views_file is None:
        return Suite([Variant(name, description="Vectors made by another program") for name in source.views])
    views_file = source.views_file
    inspections: dict[str, Inspection] = {}
    for folder in views_file.folders:
        digests = {image_id: image.files.get(folder, "") for image_id, image in views_file.images.items()}
        inspections[folder] = Inspection(files_hash(digests), len(digests))
    return Suite([inspected(variant, inspections, views_file.draws) for variant in variants_of_views_file(views_file)])
