"""Draws images and views of a study again from their seeds, and reads variants again."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import ORIGINAL, Suite, rebuild_suite
from embedshift.augmentations.variant import purified_of
from embedshift.augmentations.views import Canvas
from embedshift.config import LONGEST
from embedshift.errors import EmbedshiftError, UsageError, cause, reason
from embedshift.registry.extras import has_encode
from embedshift.sources import Roots, image_reader, images, variant_reader
from embedshift.sources.images import ToInput
from embedshift.store.info import StudyInfo
from embedshift.store.reader import Reader

Read = Callable[[str], bytes]

# Maximum side in pixels; another person's study could request more than memory holds.
LARGEST = 4_096


@dataclass(frozen=True)
class RedrawnImage:
    image_id: str
    views: dict[str, Pixels]
    attention: dict[str, Floats] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def redraw(reader: Reader, image_ids: Sequence[str]) -> tuple[list[RedrawnImage], dict[str, str]]:
    redrawn: list[RedrawnImage] = []
    missing: dict[str, str] = {}
    for image_id, image in iter_redrawn(reader, image_ids):
        if isinstance(image, str):
            missing[image_id] = image
        else:
            redrawn.append(image)
    return redrawn, missing


def iter_redrawn(
    reader: Reader, image_ids: Sequence[str], only: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[str, RedrawnImage | str]]:
    """Yields images one after the other, as `redraw` returns them, to keep few in memory."""
    if not has_encode():
        yield from ((image_id, "its pictures need: pip install 'embedshift[encode]'") for image_id in image_ids)
        return
    info = reader.info
    suite = rebuild_suite(info.identity["augmentations"])
    rows_of_views = reader.rows().filter(pl.col("image_id").is_in(list(image_ids)) & (pl.col("draw") == 0))
    columns = ("image_id", "view", "view_seed", "pixels", "attention", *reader.metrics)
    stored = rows_of_views.select(columns).collect().partition_by("image_id", as_dict=True)
    unknown = [image_id for image_id in image_ids if (image_id,) not in stored]
    if unknown:
        raise UsageError(f"{unknown[0]}: no such image in {reader.folder}")
    if max(info.encoder.size, info.identity.get("longest", 0)) > LARGEST:
        yield from ((image_id, f"views of more than {LARGEST:,} pixels a side are not drawn") for image_id in image_ids)
        return
    try:
        read = image_reader(reader.source, reader.roots)
    except EmbedshiftError as error:  # the archive is missing, or may not be read
        yield from ((image_id, reason(error)) for image_id in image_ids)
        return
    variant_readers = {
        name.partition("/")[0]: _variant_reader(description, reader.roots)  # of the first draw
        for name, description in reversed(reader.source.get("variants", {}).items())
    }
    for image_id in image_ids:
        rows, chosen = stored[(image_id,)], only and only[image_id]
        canvas = _canvas(read, image_id, info, rows["pixels"].drop_nulls().to_list())
        if isinstance(canvas, str):
            yield image_id, canvas
            continue
        views = {ORIGINAL: canvas.original} | _views(canvas, rows, suite, chosen)
        views |= _read_views(image_id, rows, variant_readers, chosen, info)
        missing = {name: view for name, view in views.items() if isinstance(view, str)}
        drawn = {name: view for name, view in views.items() if not isinstance(view, str)}
        measured = rows.filter(pl.col("view") != ORIGINAL).select("view", *reader.metrics)
        metrics = {row.pop("view"): row for row in measured.iter_rows(named=True)}
        yield image_id, RedrawnImage(image_id, drawn, _attention(rows, info.encoder.grid), metrics, missing)


def _decoded(read: Read, image_id: str, info: StudyInfo) -> Pixels | str:
    canvas = _canvas(read, image_id, info)
    return canvas if isinstance(canvas, str) else canvas.original


def _canvas(read: Read, image_id: str, info: StudyInfo, measured: Collection[str] = ()) -> Canvas | str:
    encoder, identity = info.encoder, info.identity
    try:
        pixels = images.decode(read(image_id))
        if measured and images.pixels_hash(pixels) not in measured:
            return "it has changed since it was measured"
        to_input = ToInput(encoder.size, identity["resize"], encoder.shortest, encoder.resample)
        return Canvas.of(pixels, to_input, identity.get("apply_to", "input"), identity.get("longest", LONGEST))
    except (OSError, ValueError, EmbedshiftError) as error:  # ValueError: no name of a file
        return cause(error)


def _variant_reader(described: Mapping[str, Any], roots: Roots) -> Read:
    """Returns a function that reads variants again; if all are missing, it raises for each."""
    try:
        return variant_reader(described, roots)
    except EmbedshiftError as error:
        gone = error

    def refuse(_: str) -> bytes:
        raise gone

    return refuse


def _read_views(
    image_id: str, rows: pl.DataFrame, variants: Mapping[str, Read], only: Collection[str] | None, info: StudyInfo
) -> dict[str, Pixels | str]:
    """Returns the measured variants and their purified versions, or why one cannot be read."""
    if not variants:
        return {}
    measured = rows.filter(pl.col("cosine_similarity").is_not_null())["view"].to_list()
    names = [name for name in measured if only is None or name in only]
    views = {name: _decoded(variants[name], image_id, info) for name in names if name in variants}
    for name in names:
        purified = purified_of(info.identity["augmentations"][name])
        if purified is not None and purified.source in variants:
            source = purified.source
            view = views[source] if source in views else _decoded(variants[source], image_id, info)
            views[name] = view if isinstance(view, str) else purified.draw(view, 0)
    return views


def _views(
    canvas: Canvas, rows: pl.DataFrame, suite: Suite | None, only: Collection[str] | None
) -> dict[str, Pixels | str]:
    views: dict[str, Pixels | str] = {}
    for name, seed in rows.select("view", "view_seed").iter_rows():
        if suite and name in suite and (only is None or name in only):
            try:
                views[name] = canvas.draw(suite[name], seed)
            except EmbedshiftError as error:
                views[name] = reason(error)
    return views


def _attention(rows: pl.DataFrame, grid: tuple[int, int] | None) -> dict[str, Floats]:
    stored = rows.select("view", "attention").iter_rows()
    return {
        name: np.asarray(cells, np.float32).reshape(grid)
        for name, cells in stored
        if grid is not None and len(cells or ()) == grid[0] * grid[1]
    }
