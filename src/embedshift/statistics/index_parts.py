"""The parts of an index: vectors of an image, maps, sizes, codes, scores and structures.

Each is fitted to originals and views that are not judged.
"""

import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedshift.arrays import Floats
from embedshift.errors import MissingExtra, UsageError
from embedshift.registry import Registry
from embedshift.registry.questions import import_parts
from embedshift.statistics.vector_layouts import LAYOUTS, ONE, TILES
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import ShiftMoments, Whitening, moments_of

FLOAT32 = "float32"
# A map from a file: "map:FILE".
MAP_FILE = "map:"
# The order of parts in an index.
VECTORS, MAP, SIZE, CODE, RESCORE, SCORES, STRUCTURE = range(7)
PLACES = ("vectors of an image", "map", "size", "code", "rescore", "scores", "structure")
# Values of a byte: the centroids of each piece of a vector.
CENTROIDS = 256
Arrays = Mapping[str, NDArray[Any]]
Coding = Callable[[Arrays, Floats], NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Training:
    """Unit vectors that parts are fitted to.

    Args:
        originals: float32 `[m, D]`.
        views: Views of these by changes that the index is not judged by, float32 `[m, V, D]`; 0 where one is missing.
    """

    originals: Floats
    views: Floats

    def mapped(self, function: Callable[[Floats], Floats]) -> "Training":
        """Returns the training vectors after a part."""
        flat = self.views.reshape(-1, self.views.shape[-1])
        moved = function(flat) * flat.any(axis=1, keepdims=True)
        base = function(self.originals)
        return replace(self, originals=base, views=moved.reshape(*self.views.shape[:2], base.shape[-1]))


def _nothing(training: Training, size: int) -> Arrays:
    return {}


def _as_is(arrays: Arrays, vectors: Floats) -> NDArray[Any]:
    return vectors


@dataclass(frozen=True)
class Part:
    """One part of an index.

    Args:
        place: Its place in the order of parts: `VECTORS`, `MAP`, `SIZE`, `CODE`, `RESCORE`, `SCORES` or `STRUCTURE`.
        pattern: A regular expression of its name; its first group is a size: a number, or "1/N" of the dimensions. The
            size of a `CODE` is its number of bytes.
        fit: Function of the training vectors and the size → arrays, which the index keeps.
        encode: Function of the arrays and unit vectors `[n, D]` → what a store keeps, `[n, E]`.
        decode: Function of the arrays and what is kept → the float32 vectors that it stands for; None = itself.
        query: Function of the arrays and unit vectors → the vectors that queries are, `[n, d]`; None = as they are for
            a code, and as originals for a map or size.
        bytes: Function of the dimensions and the size → the bytes of what is kept; None = four for each dimension.
        least: Function of the size → the least number of originals that it is fitted to.
        uses_views: Whether it is fitted to views, so that it is fitted again for each family of changes.
        divides: Whether the size must divide the dimensions.
        shapes: The arrays that a file must hold: name → "d" for `[d]` and "de" for `[d, e]`, of the dimensions before
            and after it; "" for the number e itself; "nbk" for `[size, 256, d / size]`.
    """

    place: int
    pattern: str
    fit: Callable[[Training, int], Arrays] = _nothing
    encode: Coding = _as_is
    decode: Coding | None = None
    query: Coding | None = None
    bytes: Callable[[int, int], float] | None = None
    least: Callable[[int], int] = field(default=lambda size: 2)
    uses_views: bool = False
    divides: bool = False
    shapes: Mapping[str, str] = field(default_factory=dict)


PARTS: Registry[Part] = Registry("part of an index", lambda: import_parts("index_parts"))


def _map(fitted: Callable[[ShiftMoments], Whitening]) -> Callable[[Training, int], Arrays]:
    def fit(training: Training, size: int) -> Arrays:
        made = fitted(moments_of(training.originals, training.views.swapaxes(0, 1)))
        return {"mean": made.mean, "matrix": made.matrix}

    return fit


def _mean(training: Training, size: int) -> Arrays:
    return {"mean": training.originals.mean(axis=0)}


def _apply_map(arrays: Arrays, vectors: Floats) -> Floats:
    moved = vectors - arrays["mean"]
    return normalised_float32(moved @ arrays["matrix"] if "matrix" in arrays else moved)


def _components(training: Training, size: int) -> Arrays:
    mean = training.originals.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((training.originals - mean).T.astype(np.float64)))
    return {"mean": mean, "matrix": directions[:, ::-1][:, :size].astype(np.float32)}


def _first(training: Training, size: int) -> Arrays:
    return {"size": np.array(size)}


def _apply_first(arrays: Arrays, vectors: Floats) -> Floats:
    return normalised_float32(vectors[:, : int(arrays["size"])])


def _ranges(training: Training, size: int) -> Arrays:
    low, high = training.originals.min(axis=0), training.originals.max(axis=0)
    steps = (high - low) / 255
    return {"low": low, "step": np.where(steps == 0, np.float32(1), steps)}


def _to_int8(arrays: Arrays, vectors: Floats) -> NDArray[Any]:
    """As `quantize_embeddings` of sentence-transformers 6.2: floor((x − low) / step) − 128; values outside saturate."""
    return (np.clip(np.floor((vectors - arrays["low"]) / arrays["step"]), 0, 255) - 128).astype(np.int8)


def _of_int8(arrays: Arrays, codes: NDArray[Any]) -> Floats:
    return np.asarray((codes.astype(np.float32) + np.float32(128.5)) * arrays["step"] + arrays["low"], np.float32)


def _to_bits(arrays: Arrays, vectors: Floats) -> NDArray[Any]:
    return np.packbits(vectors > 0, axis=1)


def _bits(training: Training, size: int) -> Arrays:
    return {"dim": np.array(training.originals.shape[1])}


def _of_bits(arrays: Arrays, codes: NDArray[Any]) -> Floats:
    bits = np.unpackbits(codes, axis=1, count=int(arrays["dim"]))
    return bits.astype(np.float32) * 2 - 1


def _signs(arrays: Arrays, vectors: Floats) -> Floats:
    return np.where(vectors > 0, np.float32(1), np.float32(-1))


def _to_float16(arrays: Arrays, vectors: Floats) -> NDArray[Any]:
    return vectors.astype(np.float16)


def _widened(arrays: Arrays, codes: NDArray[Any]) -> Floats:
    return codes.astype(np.float32)


def _bytes_of_bits(dim: int, size: int) -> float:
    return math.ceil(dim / 8)


def _byte_each(dim: int, size: int) -> float:
    return dim


def faiss_library(feature: str) -> Any:
    """Imports FAISS; raises MissingExtra if it is not installed."""
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise MissingExtra(feature, "search") from error


def _centroids(training: Training, size: int) -> Arrays:
    dim = training.originals.shape[1]
    faiss = faiss_library("the index part pq-N")
    quantizer = faiss.ProductQuantizer(dim, size, 8)
    quantizer.cp.min_points_per_centroid = 1  # it warns below 39
    quantizer.train(np.ascontiguousarray(training.originals))
    return {"centroids": faiss.vector_to_array(quantizer.centroids).reshape(size, CENTROIDS, dim // size)}


def _to_centroids(arrays: Arrays, vectors: Floats) -> NDArray[Any]:
    """Returns the nearest centroid of each piece of a vector, by squared distance."""
    codes = np.empty((len(vectors), len(arrays["centroids"])), np.uint8)
    for place, centroids in enumerate(arrays["centroids"]):
        width = centroids.shape[1]
        scores = vectors[:, place * width : (place + 1) * width] @ centroids.T
        codes[:, place] = (np.square(centroids).sum(axis=1) / 2 - scores).argmin(axis=1)
    return codes


def _of_centroids(arrays: Arrays, codes: NDArray[Any]) -> Floats:
    found = [centroids[codes[:, place]] for place, centroids in enumerate(arrays["centroids"])]
    return np.hstack(found).astype(np.float32)


for layout in LAYOUTS:
    if layout != ONE:
        PARTS.add(layout, Part(VECTORS, layout))
MAPPED, RANGED, COUNTED = {"mean": "d", "matrix": "de"}, {"low": "d", "step": "d"}, {"dim": ""}
PARTS.add("centred", Part(MAP, "centred", _mean, _apply_map, shapes={"mean": "d"}))
PARTS.add("whiten", Part(MAP, "whiten", _map(ShiftMoments.by_shifts), _apply_map, uses_views=True, shapes=MAPPED))
PARTS.add("whiten-originals", Part(MAP, "whiten-originals", _map(ShiftMoments.by_originals), _apply_map, shapes=MAPPED))
PARTS.add("first-N", Part(SIZE, r"first-(\d+|1/\d+)", _first, _apply_first, shapes={"size": ""}))
PARTS.add("pca-N", Part(SIZE, r"pca-(\d+|1/\d+)", _components, _apply_map, least=lambda size: size + 1, shapes=MAPPED))
PARTS.add("float16", Part(CODE, "float16", encode=_to_float16, decode=_widened, bytes=lambda dim, size: 2 * dim))
PARTS.add("int8", Part(CODE, "int8", _ranges, _to_int8, _of_int8, bytes=_byte_each, shapes=RANGED))
PARTS.add("binary", Part(CODE, "binary", _bits, _to_bits, _of_bits, bytes=_bytes_of_bits, shapes=COUNTED))
PARTS.add(
    "binary-hamming", Part(CODE, "binary-hamming", _bits, _to_bits, _of_bits, _signs, _bytes_of_bits, shapes=COUNTED)
)
PARTS.add(
    "pq-N",
    Part(
        CODE, r"pq-(\d+)", _centroids, _to_centroids, _of_centroids, bytes=lambda dim, size: size,
        least=lambda size: CENTROIDS, divides=True, shapes={"centroids": "nbk"},
    ),
)  # fmt: skip
PARTS.add("rescore", Part(RESCORE, "rescore", _ranges, _to_int8, _of_int8, bytes=_byte_each, shapes=RANGED))
PARTS.add("normalised", Part(SCORES, "normalised"))
# Bytes of links between vectors, and of their numbers in lists.
PARTS.add("hnsw", Part(STRUCTURE, "hnsw", bytes=lambda dim, size: 256))
PARTS.add("ivf", Part(STRUCTURE, "ivf", bytes=lambda dim, size: 8))


@dataclass(frozen=True)
class Named:
    """A part as an index names it: its text, and its size as a number of dimensions or bytes; 0 = it has none."""

    text: str
    part: Part
    size: int = 0

    def dim_after(self, dim: int) -> int:
        """Returns the number of dimensions after the part."""
        return self.size if self.part.place == SIZE else dim


def parse(text: str, dim: int) -> tuple[Named, ...]:
    """Returns the parts of an index in their order, and refuses unknown ones, a wrong order or an impossible size.

    Args:
        text: Parts with "+" between them, such as "whiten+pca-1/4+int8"; "float32" = none.
        dim: Number of dimensions of the embeddings.

    Raises:
        UsageError: The text names no index.

    Example:
        >>> [(named.text, named.size) for named in parse("whiten+pca-1/4+int8", 384)]
        [('whiten', 0), ('pca-1/4', 96), ('int8', 0)]
    """
    found = list[Named]()
    for name in [] if text == FLOAT32 else text.split("+"):
        named = _named(name.strip(), text, dim)
        if found and found[-1].part.place >= named.part.place:
            order = ", ".join(PLACES)
            raise UsageError(
                f"index {text!r:.60}: {name} comes after {found[-1].text}; the order is {order}, one of each"
            )
        dim = named.dim_after(dim)
        found.append(named)
    places = {named.part.place: named.text for named in found}
    if RESCORE in places and CODE not in places:
        raise UsageError(
            f"index {text!r:.60}: `rescore` takes its candidates by a code; name one, such as binary+rescore"
        )
    others = [name for name in (TILES, places.get(RESCORE), places.get(SCORES)) if name in places.values()]
    if STRUCTURE in places and others:
        raise UsageError(f"index {text!r:.60}: {places[STRUCTURE]} is not combined with {others[0]}; leave one out")
    return tuple(found)


def _size(words: str, dim: int) -> int:
    """Returns how many dimensions "96" or "1/4" are; 0 for what is no size, such as "1/0" or thousands of digits."""
    number = words.removeprefix("1/")
    size = int(number) if len(number) <= 9 else 0
    return dim // size if size and number != words else size


def _named(name: str, text: str, dim: int) -> Named:
    for known in PARTS:
        part = PARTS[known]
        if not (match := re.fullmatch(part.pattern, name)):
            continue
        size = _size(match[1], dim) if match.groups() and match[1] else None
        if size is not None and not 0 < size <= dim:
            raise UsageError(f"index {text!r:.60}: {name:.40}: the vectors have {dim} numbers")
        if size and part.divides and dim % size:
            raise UsageError(f"index {text!r:.60}: {name:.40}: N must divide the {dim} numbers of the vectors")
        return Named(name, part, size or 0)
    raise UsageError(f"index {text!r:.60}: no part {name!r:.40}; there are {', '.join(PARTS)}, {MAP_FILE}FILE")


def default_indexes(dim: int) -> tuple[str, ...]:
    """Returns the indexes that are tried where none is named."""
    chosen = (
        "float16", "int8", "binary", "binary+rescore", "centred+binary", "whiten", "whiten+int8", "whiten+binary",
        "pca-1/4", "whiten+pca-1/4",
    )  # fmt: skip
    return tuple(text for text in chosen if dim >= 4 or "1/4" not in text)


def uses_views(parts: Sequence[Named]) -> bool:
    return any(named.part.uses_views for named in parts)


def layout_of(text: str) -> str:
    """Returns which vectors of an image an index has, such as "tiles" of "tiles+binary"; "one" = its own alone."""
    first = text.split("+")[0].strip()
    return first if first in LAYOUTS else ONE


def map_files(text: str) -> list[str]:
    """Returns the files that an index names as its maps."""
    names = map(str.strip, text.split("+"))
    return [name.removeprefix(MAP_FILE) for name in names if name.startswith(MAP_FILE)]
