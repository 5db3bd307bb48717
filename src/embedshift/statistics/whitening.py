"""Linear maps that whiten embeddings, so that directions in which views of one image differ count less.

They are fitted to moments of the embeddings of a study, which is read as a stream.
"""

import html
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import scipy
from numpy.typing import ArrayLike

from embedshift.arrays import Floats, Values
from embedshift.augmentations import ORIGINAL
from embedshift.config.safe_files import open_file, write_file
from embedshift.errors import UsageError, reason
from embedshift.statistics.layout import ImageRows
from embedshift.statistics.strengths import outward
from embedshift.statistics.vectors import normalised_float32

# The part of the mean variance that is added to the variance of every direction.
RIDGE = 0.1
# The longest vectors that maps are fitted to: every matrix of their products takes half a gigabyte.
MOST_DIM = 2**13


@dataclass(frozen=True, eq=False, repr=False)
class Whitening:
    """A map of embeddings: unit length, minus a mean, times a matrix, unit length again.

    Args:
        mean: `[D]`, the mean of the originals, which are of unit length.
        matrix: `[D, D]`.
        name: What it was fitted to: "centred", "originals" or "shifts".
        encoder: The hash of the weights of the encoder whose embeddings it maps; "" = not known.
        embedding: Which of the encoder's vectors.
        version: The version of embedshift that fitted it.

    Example:
        >>> Whitening(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))([[3.0, 4.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    mean: Floats
    matrix: Floats
    name: str = "shifts"
    encoder: str = ""
    embedding: str = ""
    version: str = ""

    def __call__(self, vectors: ArrayLike) -> Floats:
        """Maps vectors of any length, `[n, D]`, to unit vectors, float32 `[n, D]`.

        A vector of length 0 stays one. One that is not finite becomes NaN.

        Raises:
            UsageError: The vectors have another shape.
        """
        given = np.asarray(vectors)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise UsageError(f"give vectors [n, {len(self.mean)}], as the map was fitted to; not {[*given.shape]}")
        is_zero = (given == 0).all(axis=1, keepdims=True)
        return np.where(
            is_zero, np.float32(0), normalised_float32((normalised_float32(given) - self.mean) @ self.matrix)
        )

    def __repr__(self) -> str:
        how = "What a search finds with it: study.whitening()"
        return f"Whitening({self.name!r}, D={len(self.mean)}, encoder {self.encoder[:12] or 'unknown'}). {how}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"

    @property
    def described(self) -> dict[str, str]:
        return {"map": self.name, "encoder": self.encoder, "embedding": self.embedding, "embedshift": self.version}

    def save(self, path: str | Path) -> None:
        """Writes an npz file of `mean`, `matrix`, `dim`, `map`, `encoder`, `embedding` and `embedshift`.

        Raises:
            UsageError: The file cannot be written.
        """
        texts: dict[str, Any] = self.described
        np.savez(content := io.BytesIO(), mean=self.mean, matrix=self.matrix, dim=len(self.mean), **texts)
        write_file(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "Whitening":
        """Reads a map that `save` wrote.

        Raises:
            UsageError: The file cannot be read, or holds no map.
        """
        try:
            with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("it is compressed, and may be of any size")
                mean, matrix, dim = file["mean"], file["matrix"], int(file["dim"])
                texts = [str(file[name]) for name in ("map", "encoder", "embedding", "embedshift")]
        except Exception as error:  # NumPy and zipfile raise many kinds
            missing = isinstance(error, FileNotFoundError)
            words = "no such file" if missing else f"no map of `embedshift whiten` ({reason(error):.200})"
            raise UsageError(f"{path}: {words}") from error
        if mean.shape != (dim,) or matrix.shape != (dim, dim) or {mean.dtype, matrix.dtype} != {np.dtype(np.float32)}:
            raise UsageError(f"{path}: no map of `embedshift whiten` (mean {mean.shape}, matrix {matrix.shape})")
        if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise UsageError(f"{path}: its numbers are not finite; write the map again")
        return cls(mean, matrix, *texts)


def whitening(mean: Values, moment: Values, ridge: float = RIDGE) -> Whitening:
    """Returns the map with L Lᵀ = (W + ridge · tr(W) / D · I)⁻¹ for the second moment W of shifts, or of originals.

    W is the mean of d dᵀ over shifts d (unit vectors, view minus original), or over centred originals. Where it is 0
    there is no direction to count less, and L is the identity.

    Source: learned whitening, Mikolajczyk and Matas 2007; Radenović, Tolias and Chum 2018, section 3.3.
    """
    size, trace = len(moment), float(np.trace(moment))
    matrix = np.eye(size)
    if trace > 0:
        # Scaled to a mean variance of 1, which cosines do not depend on.
        factor = np.linalg.cholesky(moment * (size / trace) + ridge * matrix)
        matrix = scipy.linalg.solve_triangular(factor, matrix, lower=True).T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))


@dataclass(frozen=True, eq=False)
class ShiftMoments:
    """Sums over unit vectors of length D; those of two studies, or of two parts of one, can be added."""

    originals: int
    total: Values
    # Of x xᵀ over originals x, and of d dᵀ over shifts d, view minus original, of views that are not missing: `[D, D]`.
    products: Values
    shifts: int
    shift_products: Values

    def __add__(self, other: "ShiftMoments") -> "ShiftMoments":
        return ShiftMoments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __sub__(self, other: "ShiftMoments") -> "ShiftMoments":
        return ShiftMoments(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def mean(self) -> Values:
        return self.total / max(self.originals, 1)

    def centred(self) -> Whitening:
        return whitening(self.mean, np.zeros_like(self.products))

    def by_originals(self) -> Whitening:
        return whitening(self.mean, self.products / max(self.originals, 1) - np.outer(self.mean, self.mean))

    def by_shifts(self) -> Whitening:
        return whitening(self.mean, self.shift_products / max(self.shifts, 1))


def moments_of(originals: Floats, views: Iterable[Floats] = ()) -> ShiftMoments:
    base = normalised_float32(np.nan_to_num(originals))
    moved, there = np.zeros((base.shape[1],) * 2), 0
    is_base = base.any(axis=1)
    for view in views:
        ends = normalised_float32(np.nan_to_num(view))
        is_there = is_base & ends.any(axis=1)
        shifts = (ends - base)[is_there]
        moved, there = moved + shifts.T @ shifts, there + int(is_there.sum())
    kept = base[is_base]
    return ShiftMoments(len(kept), kept.sum(axis=0, dtype=np.float64), (kept.T @ kept).astype(np.float64), there, moved)


def shift_moments(study: ImageRows) -> ShiftMoments | None:
    """Returns the moments of a study's originals and of its shifts, read as a stream; None if vectors are too long."""
    kind, order = study.columns["embedding"], study.layout
    assert isinstance(kind, pl.Array)
    if kind.size > MOST_DIM:
        return None
    total = moments_of(np.zeros((0, kind.size), np.float32))
    original, views = order.views.index(ORIGINAL), range(len(order.views))
    for block in study.blocks("embedding"):
        vectors = block["embedding"].to_numpy().reshape(-1, len(order.views), kind.size)
        total += moments_of(vectors[:, original], (vectors[:, view] for view in views if view != original))
    return total


def shift_map(study: ImageRows) -> Whitening | None:
    moments = shift_moments(study)
    return moments.by_shifts() if moments is not None and moments.shift_products.any() else None


def sentences(table: pl.DataFrame, images: int, dim: int, groups: str | None) -> list[str]:
    """Returns what the table `whitening` answers: whether a map is recommended, for which use, and a warning.

    `groups` says how the study's groups were chosen; None = images are independent.
    """
    if table.is_empty():
        return ["No map was tried: it takes four images, or groups of images."]
    means = {(row["map"], row["metric"]): row for row in table.filter(augmentation="all").iter_rows(named=True)}
    best = next((name for (name, _), row in means.items() if row["recommended"]), None)
    among = f"among {table.filter(metric='recall@1')['gallery'][0]:,} images"
    lines = [f"No map helps: {among} none finds significantly more originals than the embeddings as they are."]
    if best is not None:
        lines = [f"Recommended for copies of an image: {best}, recall@1 {among} {_change(means[best, 'recall@1'])}."]
        lines.append(_for_similar(means.get((best, "class_agreement")), groups))
    if images < dim:
        kept = {name: row for (name, metric), row in means.items() if metric == "fitted_neighbours@10"}
        numbers = ", ".join(f"{row['after']:.3f} with {name}" for name, row in kept.items())
        lines.append(
            f"Warning: {images:,} images are fewer than an embedding's {dim:,} dimensions: "
            "those that a map was fitted to can come to lie equally far from each other. Among them, views keep "
            f"{kept['originals']['before']:.3f} of the nearest images of their original as they are, {numbers}."
        )
    return lines


def _for_similar(row: Mapping[str, Any] | None, groups: str | None) -> str:
    if row is None or row["ci_low"] is None or groups in (None, "near"):
        return "Not recommended for similar images: no groups say which images are similar."
    words = "Recommended for similar images, too" if row["ci_low"] > 0 else "Not recommended for similar images"
    return f"{words}: the nearest other image is of the same group for {_change(row)}."


def _change(row: Mapping[str, Any]) -> str:
    ends = ""
    if row["ci_low"] is not None:
        low, high = outward(row["ci_low"], row["ci_high"], 3)
        ends = f" [{low:+.3f} to {high:+.3f}]"
    return f"{row['before']:.3f} → {row['after']:.3f}, {row['difference']:+.3f}{ends}"
