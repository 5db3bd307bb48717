"""Pairs of originals and copies, by batches: of a study, a table, or arrays."""

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, GroupNumbers
from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.sources.vectors import VectorGrid, VectorSet, mapped_npy
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import grid_of
from embedshift.store.reader import Reader
from embedshift.study.study import Study

log = logging.getLogger(__name__)

BATCH, COPY = "batch", "copies"


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of one batch, unit vectors `[m, D]` each; `groups` are the pairs that are not independent, `[m]`."""

    batch: str
    ids: list[str]
    originals: Floats
    copies: Floats
    groups: GroupNumbers

    @property
    def shifts(self) -> Floats:
        return self.copies - self.originals


def batches_of(given: Any, reader: Reader, columns: Mapping[str, str] | None = None) -> list[Pairs]:
    """Reads pairs of originals and copies.

    Args:
        given: A finished study of the same encoder; a Parquet file or a frame with the columns of
            `embedshift.from_vectors`, where rows of the view `original` are originals and all others copies, and a
            column `batch` or else `view` names the batch of a copy; or numbers `[m, 2, D]`, original and copy, or an
            npy file of them.
        reader: The study that dissects them.
        columns: Names of the columns of a table.

    Raises:
        UsageError: The pairs cannot be read, have no copies, or are of another encoder.
    """
    given = given.folder if isinstance(given, Study) else given
    if isinstance(given, str | Path) and expanded(given).is_dir():
        other = Reader(expanded(given))
        if not other.exists():
            raise UsageError(f"{given}: no study in this folder; measure its images and copies with `pairs` first")
        other.refuse_unfinished()
        reader.refuse_another_encoder(other, "give pairs of the study's, or their vectors")
        grid, groups = grid_of(other), other.groups
    else:
        grid, groups = _opened(given, columns).grid(), None
    if not grid.views:
        raise UsageError(f"{grid.vectors.name}: all vectors are originals; give copies, too, as rows of another view")
    if grid.dim != reader.info.encoder.dim:
        words = f"has vectors of {grid.dim:,} numbers, but the study's have {reader.info.encoder.dim:,}"
        raise UsageError(f"{grid.vectors.name}: {words}; give vectors of the same encoder")
    return [*_batches(grid, groups)]


def _opened(given: Any, columns: Mapping[str, str] | None) -> VectorSet:
    is_file = isinstance(given, str | os.PathLike)
    name = os.path.expanduser(given) if is_file else ""
    if is_file and Path(name).suffix.lower() != ".npy":
        return VectorSet.open(given, columns=columns or {}, used=(BATCH,))
    try:
        array = mapped_npy(name)() if is_file else given
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: cannot be read ({error}); give numbers [pairs, 2, length of a vector]") from error
    shape: tuple[int, ...] = getattr(array, "shape", ())
    if len(shape) == 3 and shape[1] == 2:
        return VectorSet.joined([VectorSet.open(array[:, 0]), VectorSet.open(array[:, 1], COPY)])
    if is_file or isinstance(given, np.ndarray):
        raise UsageError(f"{name or 'pairs'}: numbers of shape {shape}; give [pairs, 2, length of a vector]")
    return VectorSet.open(given, columns=columns or {}, used=(BATCH,))


def _batches(grid: VectorGrid, groups: GroupNumbers | None) -> Iterator[Pairs]:
    """Yields the pairs of each batch, in the order in which batches come; pairs of an image are one group."""
    vectors = normalised_float32(grid.read())
    images, slots = np.nonzero(grid.rows[:, 1 : 1 + len(grid.views) * grid.draws] >= 0)
    slots += 1
    ends = vectors[images, 0], vectors[images, slots]
    is_given = np.logical_and.reduce([np.isfinite(each).all(axis=1) & each.any(axis=1) for each in ends])
    if lacking := int((~is_given).sum()):
        log.warning("%s: %d pairs are left out: a vector is zero or not finite", grid.vectors.name, lacking)
    texts = grid.texts("group")
    named = np.array([texts.get(image_id, f"\0{image_id}") for image_id in grid.ids], object)
    own = np.unique(named, return_inverse=True)[1] if groups is None else groups
    labels = _labels(grid, images, slots)
    for label in dict.fromkeys(labels.tolist()):
        kept = is_given & (labels == label)
        ids = [grid.ids[image] for image in images[kept]]
        yield Pairs(label, ids, ends[0][kept], ends[1][kept], own[images[kept]])


def _labels(grid: VectorGrid, images: NDArray[np.intp], slots: NDArray[np.intp]) -> NDArray[Any]:
    names = np.array([grid.views[(slot - 1) % len(grid.views)] for slot in slots], object)
    if BATCH in grid.vectors.keys.column_names:
        cells = grid.vectors.keys[BATCH].to_pylist()
        given = [cells[row] for row in grid.rows[images, slots]]
        names = np.array([name if each is None else str(each) for name, each in zip(names, given, strict=True)], object)
    return names
