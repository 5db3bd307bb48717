"""Codes of vectors, as stores keep them: what each holds of a vector, in how many bytes, and what it stands for.

A code is fitted to originals that are not judged. A search compares float32 queries with what the codes stand for; of
`int8-dot` and `-hamming` it compares codes with codes.
"""

import importlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats, Values
from embedshift.errors import MissingExtra, UsageError
from embedshift.statistics.vectors import normalised_float32

FLOAT32, FLOAT16, INT8, QUANTILE, DOT = "float32", "float16", "int8", "int8-quantile", "int8-dot"
BINARY, CENTRED, HAMMING, RESCORE = "binary", "binary-centred", "-hamming", "+rescore"
# Quantiles of the ranges of `int8-quantile`.
QUANTILES = (0.01, 0.99)
# Vectors that codebooks are trained on at least, by FAISS: a centroid each.
CENTROIDS = 256
# Bytes that an index keeps of a vector beside its code.
GRAPH = {"hnsw": 256, "ivf": 8}
_SIZED = re.compile(r"(pca|truncated|pq)-(\d{1,5})(\+int8)?")

Map = Callable[[Floats], Floats]


def _as_is(vectors: Floats) -> Floats:
    return vectors


@dataclass(frozen=True, eq=False)
class Ranges:
    """The range of each number, cut into 255 steps; values outside saturate.

    As `quantize_embeddings` of sentence-transformers 6.2: floor((x − low) / step) − 128.
    """

    low: Floats
    high: Floats

    @classmethod
    def of(cls, vectors: Floats, quantiles: tuple[float, float] = (0.0, 1.0)) -> "Ranges":
        low, high = (
            np.quantile(vectors, quantiles, axis=0) if quantiles != (0.0, 1.0) else (vectors.min(0), vectors.max(0))
        )
        return cls(np.asarray(low, np.float32), np.asarray(high, np.float32))

    @property
    def steps(self) -> Floats:
        steps = (self.high - self.low) / 255
        return np.where(steps == 0, np.float32(1), steps)

    def encode(self, vectors: Floats) -> NDArray[np.int8]:
        return np.asarray(np.clip(np.floor((vectors - self.low) / self.steps), 0, 255) - 128).astype(np.int8)

    def decode(self, codes: NDArray[np.int8]) -> Floats:
        """Returns the middles of the steps, `[n, D]`."""
        return np.asarray((codes.astype(np.float32) + np.float32(128.5)) * self.steps + self.low, np.float32)

    def outside(self, vectors: Floats) -> Values:
        """Returns the fraction of each vector's numbers outside the ranges, `[n]`."""
        return np.asarray(((vectors < self.low) | (vectors > self.high)).mean(axis=1))

    def rounded(self, vectors: Floats) -> Floats:
        return self.decode(self.encode(vectors))


@dataclass(frozen=True, eq=False)
class Code:
    """One way to keep vectors.

    Args:
        name: Its name.
        searched: Bytes of a vector that a search reads.
        stored: Bytes of a vector that are kept.
        base: Unit vectors → what their codes stand for, `[n, d]`.
        query: Unit vectors of queries → what is multiplied with these, `[n, d]`.
        outside: Unit vectors → the fraction of each one's numbers outside the calibration; None = it has no ranges.
        candidates: The code by which a search first takes candidates, which `base` then orders; None = it orders all.
        index: The name of FAISS' index over it; "" = every vector is compared.
    """

    name: str
    searched: float
    stored: float
    base: Map = _as_is
    query: Map = _as_is
    outside: Callable[[Floats], Values] | None = None
    candidates: "Code | None" = None
    index: str = ""


def default_names(dim: int) -> tuple[str, ...]:
    """Returns the codes that need no FAISS, and where it is installed those that do."""
    parts = sorted({dim // part for part in (2, 4, 8)} - {0}, reverse=True)
    sized = [f"pca-{d}" for d in parts] + [f"truncated-{d}" for d in parts] + [f"pca-{d}+int8" for d in parts]
    binary = [kind + more for kind in (BINARY, CENTRED) for more in ("", HAMMING, RESCORE)]
    return (FLOAT32, FLOAT16, INT8, QUANTILE, DOT, *binary, *sized)


def with_faiss(dim: int) -> tuple[str, ...]:
    quantized = [f"pq-{dim // part}" for part in (8, 16) if dim % (dim // part or 1) == 0 and dim // part]
    return (*quantized, "hnsw", "ivf", "hnsw+int8", "ivf+int8")


def checked(names: Sequence[str], dim: int) -> tuple[str, ...]:
    """Returns the names of codes, float32 first; refuses unknown ones and sizes that do not fit."""
    known = {*default_names(dim), "hnsw", "ivf", "hnsw+int8", "ivf+int8"}
    for name in names:
        sized = _SIZED.fullmatch(name)
        if name not in known and not sized:
            raise UsageError(f"`codes`: no code {name!r}; there are {', '.join(sorted(known))}, and pq-M with FAISS")
        if sized and not 0 < int(sized[2]) <= dim:
            raise UsageError(f"`codes`: {name}: embeddings have {dim} numbers")
        if sized and sized[1] == "pq" and (dim % int(sized[2]) or sized[3]):
            raise UsageError(f"`codes`: {name}: M must divide the {dim} numbers of embeddings")
    return tuple(dict.fromkeys((FLOAT32, *names)))


def fit(names: Iterable[str], vectors: Floats) -> tuple[dict[str, Code], dict[str, str]]:
    """Fits codes to unit vectors `[m, D]`; returns them by name, and by name why others cannot be fitted."""
    codes: dict[str, Code] = {}
    left_out: dict[str, str] = {}
    for name in names:
        made = _fitted(name, vectors)
        if isinstance(made, str):
            left_out[name] = made
        else:
            codes[name] = made
    return codes, left_out


def _fitted(name: str, vectors: Floats) -> Code | str:
    if sized := _SIZED.fullmatch(name):
        return _sized(name, sized[1], int(sized[2]), bool(sized[3]), vectors)
    if name.startswith(BINARY):
        return _of_signs(name, vectors)
    dim = vectors.shape[1]
    if name == FLOAT32:
        return Code(name, 4 * dim, 4 * dim)
    if name == FLOAT16:
        return Code(name, 2 * dim, 2 * dim, base=lambda given: given.astype(np.float16).astype(np.float32))
    if name in ("hnsw", "ivf"):
        return Code(name, 4 * dim, 4 * dim + GRAPH[name], index=name)
    ranges = Ranges.of(vectors, QUANTILES if name == QUANTILE else (0.0, 1.0))
    if name == DOT:

        def integers(given: Floats) -> Floats:
            return np.asarray(ranges.encode(given), np.float32)

        return Code(name, dim, dim, base=integers, query=integers, outside=ranges.outside)
    index = name.removesuffix("+int8") if name.endswith("+int8") else ""
    return Code(name, dim, dim + GRAPH.get(index, 0), base=ranges.rounded, outside=ranges.outside, index=index)


def _of_signs(name: str, vectors: Floats) -> Code:
    bits, mean = math.ceil(vectors.shape[1] / 8), vectors.mean(axis=0)
    is_centred = name.startswith(CENTRED)

    def centred(given: Floats) -> Floats:
        return given - mean if is_centred else given

    def signs(given: Floats) -> Floats:
        return np.where(centred(given) > 0, np.float32(1), np.float32(-1))

    if name.endswith(RESCORE):
        hamming, ranges = Code(name, bits, bits, base=signs, query=signs), Ranges.of(vectors)
        stored = bits + vectors.shape[1]
        return Code(name, bits, stored, base=ranges.rounded, outside=ranges.outside, candidates=hamming)
    if name.endswith(HAMMING):
        return Code(name, bits, bits, base=signs, query=signs)
    return Code(name, bits, bits, base=signs, query=lambda given: normalised_float32(centred(given)))


def _sized(name: str, kind: str, size: int, rounded: bool, vectors: Floats) -> Code | str:
    if kind == "pq":
        return _product_quantizer(name, size, vectors)
    if kind == "truncated":
        return Code(
            name,
            4 * size,
            4 * size,
            base=lambda given: normalised_float32(given[:, :size]),
            query=lambda given: normalised_float32(given[:, :size]),
        )
    if len(vectors) <= size:
        return f"it is fitted to more than {size} originals, and there are {len(vectors)}"
    mean = vectors.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((vectors - mean).T.astype(np.float64)))
    components = directions[:, ::-1][:, :size].astype(np.float32)

    def projected(given: Floats) -> Floats:
        return normalised_float32((given - mean) @ components)

    if not rounded:
        return Code(name, 4 * size, 4 * size, base=projected, query=projected)
    ranges = Ranges.of(projected(vectors))
    return Code(
        name, size, size, base=lambda given: ranges.rounded(projected(given)), query=projected,
        outside=lambda given: ranges.outside(projected(given)),
    )  # fmt: skip


def _product_quantizer(name: str, size: int, vectors: Floats) -> Code | str:
    if len(vectors) < CENTROIDS:
        return f"it is fitted to {CENTROIDS} originals or more, and there are {len(vectors)}"
    quantizer: Any = faiss_library().ProductQuantizer(vectors.shape[1], size, 8)
    quantizer.cp.min_points_per_centroid = 1  # it warns below 39
    quantizer.train(np.ascontiguousarray(vectors))

    def rounded(given: Floats) -> Floats:
        return np.asarray(quantizer.decode(quantizer.compute_codes(np.ascontiguousarray(given))), np.float32)

    return Code(name, size, size, base=rounded)


def faiss_library() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MissingExtra("codes pq-M, and indexes", "search") from error


def ranges_to_json(vectors: Floats, recommended: str) -> Mapping[str, Any]:
    """Returns what a store needs to make the codes: ranges of `int8`, and the mean of `binary-centred`."""
    ranges = Ranges.of(vectors)
    return {
        "recommended": recommended,
        "low": ranges.low.tolist(),
        "high": ranges.high.tolist(),
        "mean": vectors.mean(axis=0).tolist(),
    }
