"""A linear map of vectors and its file: one that whitens, or one from the vectors of an encoder to those of another."""

import html
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from embedshift.arrays import Floats
from embedshift.config.safe_files import open_file, write_file
from embedshift.errors import UsageError, reason
from embedshift.statistics.vectors import normalised_float32

# Vectors that are mapped at once.
BLOCK = 8_192
COMMANDS = "`embedshift upgrade`, or of `whiten` of an earlier version"


@dataclass(frozen=True, eq=False, repr=False)
class LinearMap:
    """A map of vectors: minus a mean, times a matrix, plus an offset; before and after at unit length, or as they are.

    Args:
        mean: `[D]`, the mean of the vectors that it was fitted to.
        matrix: `[D, E]`.
        name: What it is: "centred", "originals" or "shifts" whiten; "identity", "orthogonal", "low-rank", "ridge" and
            "ridge-views" lead from a new encoder to an old one.
        encoder: The hash of the weights of the encoder whose embeddings it maps; "" = not known.
        embedding: Which of the encoder's vectors.
        version: The version of embedshift that fitted it.
        offset: `[E]`; None = 0.
        is_unit: Whether vectors have unit length before the map, and whether they get it after.

    Example:
        >>> LinearMap(np.zeros(2, np.float32), np.eye(2, dtype=np.float32))([[3.0, 4.0]]).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """

    mean: Floats
    matrix: Floats
    name: str = "shifts"
    encoder: str = ""
    embedding: str = ""
    version: str = ""
    offset: Floats | None = None
    is_unit: tuple[bool, bool] = (True, True)

    def __call__(self, vectors: ArrayLike) -> Floats:
        """Maps vectors, `[n, D]`, float32 `[n, E]`; of any length where it takes unit vectors.

        A vector of length 0 stays one. One that is not finite becomes NaN.

        Raises:
            UsageError: The vectors have another shape.
        """
        given = np.asarray(vectors)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise UsageError(f"give vectors [n, {len(self.mean)}], as the map was fitted to; not {[*given.shape]}")
        mapped = np.empty((len(given), self.matrix.shape[1]), np.float32)
        for start in range(0, len(given), BLOCK):
            part = given[start : start + BLOCK]
            # float32 is enough only for numbers below 1.
            kind = np.float32 if self.is_unit[1] else np.float64
            start_from: Any = normalised_float32(part) if self.is_unit[0] else np.where(np.isfinite(part), part, np.nan)
            moved = (start_from.astype(kind) - self.mean) @ self.matrix.astype(kind)
            moved = moved if self.offset is None else moved + self.offset
            is_zero = (part == 0).all(axis=1, keepdims=True)
            mapped[start : start + BLOCK] = np.where(
                is_zero, 0, normalised_float32(moved) if self.is_unit[1] else moved
            )
        return mapped

    def __repr__(self) -> str:
        sizes = f"D={len(self.mean)}" + ("" if self.is_whitening else f" to {self.matrix.shape[1]}")
        how = "What a search finds with it: " + ("study.index()" if self.is_whitening else "embedshift.upgrade()")
        name = "Whitening" if self.is_whitening else "LinearMap"
        return f"{name}({self.name!r}, {sizes}, encoder {self.encoder[:12] or 'unknown'}). {how}"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>"

    @property
    def is_whitening(self) -> bool:
        """Whether it maps the vectors of one encoder among themselves."""
        return self.offset is None

    @property
    def described(self) -> dict[str, str]:
        return {"map": self.name, "encoder": self.encoder, "embedding": self.embedding, "embedshift": self.version}

    def save(self, path: str | Path) -> None:
        """Writes an npz file of `mean`, `matrix`, `dim`, `map`, `encoder`, `embedding` and `embedshift`.

        A map between encoders adds `offset` and `is_unit`.

        Raises:
            UsageError: The file cannot be written.
        """
        texts: dict[str, Any] = self.described
        if self.offset is not None:
            texts |= {"offset": self.offset, "is_unit": self.is_unit}
        np.savez(content := io.BytesIO(), mean=self.mean, matrix=self.matrix, dim=len(self.mean), **texts)
        write_file(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads a map that `save` wrote.

        Raises:
            UsageError: The file cannot be read, or holds no map.
        """
        more: dict[str, Any] = {}
        try:
            with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("it is compressed, and may be of any size")
                mean, matrix, dim = file["mean"], file["matrix"], int(file["dim"])
                texts = [str(file[name]) for name in ("map", "encoder", "embedding", "embedshift")]
                if "offset" in file:
                    before, after = map(bool, file["is_unit"])
                    more = {"offset": file["offset"], "is_unit": (before, after)}
        except Exception as error:  # NumPy and zipfile raise many kinds
            missing = isinstance(error, FileNotFoundError)
            words = "no such file" if missing else f"no map of {COMMANDS} ({reason(error):.200})"
            raise UsageError(f"{path}: {words}") from error
        ends = more.get("offset", mean)
        arrays = (mean, matrix, ends)
        if (
            mean.shape != (dim,)
            or matrix.shape != (*mean.shape, *ends.shape)
            or {array.dtype for array in arrays} != {np.dtype(np.float32)}
        ):
            raise UsageError(f"{path}: no map of {COMMANDS} (mean {mean.shape}, matrix {matrix.shape})")
        if not all(np.isfinite(array).all() for array in arrays):
            raise UsageError(f"{path}: its numbers are not finite; write the map again")
        name, encoder, embedding, version = texts
        return cls(mean, matrix, name, encoder, embedding, version, **more)


class LinearSums:
    """Dataclasses whose fields are sums: those of parts are added, and taken away."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))
