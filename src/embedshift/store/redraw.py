"""Images of a study with their views, drawn again from the sources by the seeds that the rows hold."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from embedshift.arrays import Floats, Pixels
from embedshift.augmentations import ORIGINAL, Suite, rebuild_suite
from embedshift.errors import EmbedshiftError, UsageError, cause, reason
from embedshift.sources import images, read_again
from embedshift.store.reader import Reader


@dataclass(frozen=True)
class RedrawnImage:
    """One image of a study, as a person looks at it.

    Args:
        image_id: Its name in the study.
        views: Name → uint8 `[S, S, 3]`, "original" first; a view whose augmentation cannot be rebuilt is missing.
        attention: Name → float32 `[g_h, g_w]`; empty for an encoder without attention.
        metrics: Augmentation → metric → value.
    """

    image_id: str
    views: dict[str, Pixels]
    attention: dict[str, Floats] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)


def redraw(reader: Reader, image_ids: Sequence[str]) -> tuple[list[RedrawnImage], dict[str, str]]:
    """The images with their views of draw 0, in the order asked for.

    Args:
        reader: Where they were measured.
        image_ids: Which.

    Returns:
        The images, and why the others are missing: image id → reason (its file is gone or cannot be read any more).

    Raises:
        UsageError: when the study has no image of that name.
    """
    found: list[RedrawnImage] = []
    missing: dict[str, str] = {}
    for image_id, image in iter_redrawn(reader, image_ids):
        if isinstance(image, str):
            missing[image_id] = image
        else:
            found.append(image)
    return found, missing


def iter_redrawn(
    reader: Reader, image_ids: Sequence[str], only: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[str, RedrawnImage | str]]:
    """The images one after the other, as `redraw` gives them, so that few are in memory at once.

    Args:
        reader: Where they were measured.
        image_ids: Which.
        only: Image id → the augmentations to draw; by default all.

    Yields:
        Image id, and the image or why it is missing.
    """
    info = reader.info
    encoder, identity = info.encoder, info.identity
    suite = rebuild_suite(identity["augmentations"])
    wanted = reader.rows().filter(pl.col("image_id").is_in(list(image_ids)) & (pl.col("draw") == 0))
    columns = ("image_id", "view", "view_seed", "attention", *reader.metrics)
    stored = wanted.select(columns).collect().partition_by("image_id", as_dict=True)
    unknown = [image_id for image_id in image_ids if (image_id,) not in stored]
    if unknown:
        raise UsageError(f"{unknown[0]}: no such image in {reader.folder}")
    try:
        read = read_again(info.source)
    except EmbedshiftError as error:  # the whole archive is gone
        yield from ((image_id, reason(error)) for image_id in image_ids)
        return
    for image_id in image_ids:
        try:
            whole = images.decode(read(image_id))
        except (OSError, EmbedshiftError) as error:
            yield image_id, cause(error)
            continue
        original = images.resize(
            whole, encoder.size, identity["resize"], shortest=encoder.shortest, resample=encoder.resample
        )
        views = {ORIGINAL: original} | _views(original, stored[(image_id,)], suite, only and only[image_id])
        yield image_id, _redrawn(image_id, views, stored[(image_id,)], encoder.grid, reader.metrics)


def _views(
    original: Pixels, rows: pl.DataFrame, suite: Suite | None, only: Collection[str] | None
) -> dict[str, Pixels]:
    seeds = dict(rows.select("view", "view_seed").iter_rows())
    names = [name for name in seeds if suite and name in suite and (only is None or name in only)]
    return {name: suite[name].draw(original, seeds[name]) for name in names} if suite else {}


def _redrawn(
    image_id: str,
    views: dict[str, Pixels],
    rows: pl.DataFrame,
    grid: Sequence[int] | None,
    metrics: Sequence[str],
) -> RedrawnImage:
    attention: dict[str, Floats] = {}
    values: dict[str, dict[str, float]] = {}
    for row in rows.iter_rows(named=True):
        name = row["view"]
        if grid is not None and row["attention"] is not None:
            attention[name] = np.asarray(row["attention"], np.float32).reshape(grid[0], grid[1])
        if name != ORIGINAL:
            values[name] = {metric: row[metric] for metric in metrics}
    return RedrawnImage(image_id, views, attention, values)
