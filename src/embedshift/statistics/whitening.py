"""Linear maps that whiten embeddings, so that directions in which views of one image differ count less."""

import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from embedshift.arrays import Floats, Values
from embedshift.config.files import open_file, write_file
from embedshift.errors import UsageError, reason

# The part of the mean variance that is added to the variance of every direction.
RIDGE = 0.1


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
        """Maps vectors of any length, `[n, D]`, to unit vectors, float32 `[n, D]`; a vector of length 0 stays one.

        Raises:
            UsageError: The vectors have another shape.
        """
        given = np.asarray(vectors, np.float32)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise UsageError(f"give vectors [n, {len(self.mean)}], as the map was fitted to; not {[*given.shape]}")
        lengths = np.linalg.norm(given, axis=1, keepdims=True)
        return np.where(lengths > 0, unit((unit(given) - self.mean) @ self.matrix), np.float32(0))

    def __repr__(self) -> str:
        how = "What a search finds with it: study.whitening()"
        return f"Whitening({self.name!r}, D={len(self.mean)}, encoder {self.encoder[:12] or 'unknown'}). {how}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"

    @property
    def described(self) -> dict[str, str]:
        """What a file says of it."""
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


def unit(vectors: Floats | Values) -> Floats:
    """Returns vectors at length 1, `[..., D]`; a vector of length 0 stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def whitening(mean: Values, moment: Values, ridge: float = RIDGE) -> Whitening:
    """Returns the map with L Lᵀ = (W + ridge · tr(W) / D · I)⁻¹ for the second moment W of shifts, or of originals.

    Where W is 0 there is no direction to count less, and L is the identity.

    Source: learned whitening, Mikolajczyk and Matas 2007; Radenović, Tolias and Chum 2018, section 3.3.

    Args:
        mean: `[D]`, subtracted from unit vectors.
        moment: `[D, D]`, the mean of d dᵀ over shifts d (unit vectors, view minus original), or over centred originals.
        ridge: A part of the mean variance, added to that of every direction.
    """
    size, trace = len(moment), float(np.trace(moment))
    matrix = np.eye(size)
    if trace > 0:
        # Scaled to a mean variance of 1, which cosines do not depend on.
        factor = np.linalg.cholesky(moment * (size / trace) + ridge * matrix)
        matrix = scipy.linalg.solve_triangular(factor, matrix, lower=True).T
    return Whitening(mean.astype(np.float32), matrix.astype(np.float32))
