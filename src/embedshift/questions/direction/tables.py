"""The tables `directions`, `directions_of_images` and `shifts`, and columns of `summary`: where embeddings move."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.questions.direction.shifts import ShiftDirections, added, cosines_of_shifts, image_sums
from embedshift.statistics.baselines import KEPT, baseline_of_groups, relative_shifts
from embedshift.statistics.clusters import FEW
from embedshift.statistics.layout import BLOCK, ImageRows, side_by_side, sums_and_counts
from embedshift.statistics.sample import gather
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import STILL, cosine, normalised
from embedshift.store.reader import Reader
from embedshift.store.table import Table

SCHEMA = pl.Schema(
    {"augmentation": str, "images": int}
    | dict.fromkeys(("resultant", "resultant_by_chance", "split_half", "relative_to_others"), float)
)
# A unit vector that is nearer to the mean lies at it, but for the rounding of float32.
_NEAR = 1e-6
CENTRED = ("centred_shift", "centred_shift_low", "centred_shift_high")
# What the cosines of the shifts of one image are made from.
COLUMNS = ("cosine_similarity", "pairwise")


@functools.lru_cache(maxsize=2)
def shift_sums(reader: Reader) -> ShiftDirections | None:
    sums = reader.sums("shifts")
    return ShiftDirections(sums, reader.info.draws) if sums else None


def directions(reader: Reader) -> pl.DataFrame:
    study_shifts = shift_sums(reader)
    return _square(None if study_shifts is None else study_shifts.directions(), reader.augmentations)


def directions_of_images(reader: Reader) -> pl.DataFrame:
    return _square(mean_cosines(reader.image_rows, reader.augmentations), reader.augmentations)


def mean_cosines(study: ImageRows, augmentations: Sequence[str]) -> Values | None:
    """Returns the matrix `[A, A]`, read as a stream; None if rows do not hold the distances between views."""
    size, order = len(augmentations), study.layout
    if not order.images or not {*COLUMNS} <= {*study.columns}:
        return None
    view_positions = [order.positions(name) for name in augmentations]
    first, second = np.triu_indices(size, k=1)
    sums, counts, moved = np.zeros(len(first)), np.zeros(len(first)), np.zeros(size, bool)
    for block in study.blocks(*COLUMNS):
        cosines = order.numbers(block, COLUMNS[:1])[..., 0]
        by_augmentation = np.stack([cosines[:, positions] for positions in view_positions], axis=-1)
        moved |= (2 - 2 * by_augmentation >= STILL).any(axis=(0, 1))
        if size > 1:
            distances = block["pairwise"].gather_every(len(order.views)).explode().to_numpy().astype(np.float64)
            values = cosines_of_shifts(by_augmentation, distances.reshape(*by_augmentation.shape[:2], -1))
            block_sums, block_counts = sums_and_counts(values)
            sums, counts = sums + block_sums.sum(axis=0), counts + block_counts.sum(axis=0)
    matrix = np.diag(np.where(moved, 1.0, np.nan))
    with np.errstate(invalid="ignore"):
        matrix[first, second] = matrix[second, first] = sums / counts
    return matrix


def shifts(reader: Reader) -> pl.DataFrame:
    study_shifts = shift_sums(reader)
    if study_shifts is None:
        return pl.DataFrame(schema=SCHEMA)
    by_group = _of_groups(reader, study_shifts)
    columns = {
        "augmentation": reader.augmentations,
        "images": study_shifts.sums["images"],
        "resultant": study_shifts.resultant(),
        "resultant_by_chance": by_group.resultant_by_chance(),
        "split_half": by_group.split_half(),
        "relative_to_others": by_group.relative_to_others(),
    }
    return pl.DataFrame(columns).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).fill_nan(None)


def offset_columns(reader: Reader) -> pl.DataFrame:
    """Returns columns of `summary`, null for other metrics; centred relative shifts need the embeddings."""
    names, study_shifts = reader.augmentations, shift_sums(reader)
    columns = dict.fromkeys((*CENTRED, "common_offset"), np.full(len(names), np.nan))
    if reader.info.has_vectors and reader.image_rows.layout.images:
        columns |= zip(CENTRED, centred_shifts(reader.image_rows, names, reader.info.seed), strict=True)
    if study_shifts is not None:
        columns["common_offset"] = _of_groups(reader, study_shifts).common_offset()
    return pl.DataFrame({"augmentation": names, "metric": COSINE, **columns}).fill_nan(None)


def centred_shifts(study: ImageRows, augmentations: list[str], seed: int) -> tuple[Values, Values, Values]:
    """Returns relative shifts of the cosine after the originals' mean is subtracted, from the first images.

    An image would pull the mean towards itself, and so would other images of its group: means leave its group out, and
    those of a pair of different images leave out both groups.
    """
    rows = study.head(KEPT)
    embeddings = rows.frame.filter(pl.col("view") == ORIGINAL).select("embedding").collect()["embedding"].to_numpy()
    groups = np.arange(len(embeddings)) if study.groups is None else study.groups[: len(embeddings)]
    sizes, scaled = np.bincount(groups).astype(np.float64), normalised(embeddings)
    weights = np.isfinite(scaled).all(axis=1) / sizes[groups]  # each group counts once
    mean = weights @ np.nan_to_num(scaled) / (weights.sum() or 1.0)
    off, own = scaled - mean, np.equal.outer(groups, groups) @ (weights[:, None] * np.nan_to_num(scaled - mean))
    own_weights = np.bincount(groups, weights)[groups]
    with np.errstate(invalid="ignore", divide="ignore"):
        means = mean - own / (weights.sum() - own_weights)[:, None]
        between = _cosines_of_pairs(off, own, weights.sum() - np.add.outer(own_weights, own_weights))
    originals = centred(embeddings, means)

    def of_views() -> Iterator[tuple[Values, Values]]:
        for index, views in enumerate(rows.vectors()):
            part = slice(index * BLOCK, index * BLOCK + len(views))
            cosines = [cosine(originals[part], centred(view, means[part])) for view in views.swapaxes(0, 1)]
            values = np.stack(cosines, axis=1)
            yield side_by_side(sums_and_counts(values[:, study.layout.positions(name), None]) for name in augmentations)

    baseline = baseline_of_groups(*between, groups, sizes[groups])
    sample = gather(of_views(), together=False, chunks=[1] * len(off), groups=study.groups)
    shifts = relative_shifts(sample, baseline, 1.0, seed=seed, limits=(-1.0, 1.0))
    return shifts.value, shifts.low, shifts.high


def centred(vectors: Values, mean: Values) -> Values:
    """Returns unit vectors minus a mean, `[..., D]`; NaN for one that lies at it."""
    off = normalised(vectors) - mean
    return np.where(np.linalg.norm(off, axis=-1, keepdims=True) > _NEAR, off, np.nan)


def _cosines_of_pairs(off: Values, own: Values, rest: Values) -> tuple[Values, Values]:
    """Returns cosines of pairs of vectors around the mean of all but their two groups, and whether there is one.

    `off` are the vectors around the mean of all, `own` the sums of their groups, `rest` the weights of the others. The
    mean of the others is -(own_i + own_j) / rest_ij, so that all products follow from those of `off` and `own`.
    """
    there = np.asarray(np.isfinite(off).all(axis=1))
    off, own = np.nan_to_num(off), np.where(there[:, None], own, 0.0)
    with_own, squares = off @ own.T, np.square(own).sum(axis=1)
    across = (np.sum(off * own, axis=1)[:, None] + with_own) / rest
    between = (np.add.outer(squares, squares) + 2 * own @ own.T) / rest**2
    lengths = np.square(off).sum(axis=1)[:, None] + 2 * across + between
    has_cosine = np.outer(there, there) & (rest > _NEAR) & (np.minimum(lengths, lengths.T) > _NEAR**2)
    cosines = (off @ off.T + across + across.T + between) / np.sqrt(lengths * lengths.T)
    return np.where(has_cosine, np.clip(cosines, -1.0, 1.0), 0.0), has_cosine.astype(np.float64)


def _of_groups(reader: Reader, study_shifts: ShiftDirections) -> ShiftDirections:
    """Returns sums in which a group counts as an image, of the first images; NaN if embeddings are not stored."""
    if reader.groups is None:
        return study_shifts
    groups: dict[int, dict[str, Values]] = {}
    if reader.info.has_vectors:
        rows, shape = reader.image_rows.head(KEPT).vectors(), (reader.info.draws, len(reader.augmentations))
        for number, vectors in zip(reader.groups.tolist(), itertools.chain.from_iterable(rows), strict=False):
            groups[number] = added(groups.get(number, {}), image_sums(vectors[None], shape))
    return replace(study_shifts, groups=[group for group in groups.values() if group]).by_group()


def _square(matrix: Values | None, names: Sequence[str]) -> pl.DataFrame:
    if matrix is None:
        return pl.DataFrame(schema={"augmentation": pl.String} | dict.fromkeys(names, pl.Float64))
    # `fill_nan` would read a name such as `*` as a pattern.
    return pl.DataFrame({"augmentation": list(names)} | dict(zip(names, matrix, strict=True)), nan_to_null=True)


TABLES = (
    Table(
        "directions",
        directions,
        is_available=lambda reader: reader.compares_all,
        requires=FEW,
        doc="Cosines between the mean shifts of augmentations: `augmentation`, then one column per augmentation.",
    ),
    Table(
        "directions_of_images",
        directions_of_images,
        is_available=lambda reader: reader.compares_all,
        requires=FEW,
        doc="Means of the cosines between the shifts of one image, in the same form.",
    ),
    Table(
        "shifts",
        shifts,
        doc="How much the shifts of one augmentation have in common, and how far its views are from other originals.",
    ),
)
SUMMARY = (offset_columns,)
