"""`SearchIndex`: a fitted index, its file, and what it makes of vectors."""

import functools
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedshift.arrays import Floats
from embedshift.config.safe_files import open_file, write_file
from embedshift.errors import UsageError, reason
from embedshift.statistics.index_parts import (
    CENTROIDS,
    CODE,
    MAP,
    MAP_FILE,
    RESCORE,
    SCORES,
    SIZE,
    STRUCTURE,
    Arrays,
    Named,
    Training,
    layout_of,
    parse,
    uses_views,
)
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.vector_layouts import OF_GALLERY, OF_QUERIES, TILES, mean_direction
from embedshift.statistics.vectors import normalised_float32
from embedshift.statistics.whitening import MOST_DIM as MOST_FITTED

# Vectors of the background, and the highest scores with it whose mean is taken off.
BACKGROUND, NEAREST = 200, 10
# The longest vectors of an index that a file may hold.
MOST_DIM = 2**20
# The maps that files of `whiten` of earlier versions hold, and what they are called now.
EARLIER = {"shifts": "whiten", "originals": "whiten-originals", "centred": "centred"}


@dataclass(frozen=True, eq=False, repr=False)
class SearchIndex:
    """An index fitted to the vectors of one encoder: what a store keeps of originals, and what is asked with.

    With `hnsw` or `ivf` it is the index without them, which the store builds over what `base` returns.

    Args:
        name: Its parts, such as "whiten+binary".
        dim: D, the number of dimensions of the embeddings.
        arrays: What each part was fitted to, in the order of its parts.
        background: Unit vectors `[b, D]` whose highest scores are taken off; None without the part `normalised`.
        encoder: The hash of the weights of the encoder; "" = not known.
        embedding: Which of the encoder's vectors.
        version: The version of embedshift that fitted it.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> vectors = rng.normal(size=(50, 16)).astype(np.float32)
        >>> training = Training(normalised_float32(vectors), np.zeros((50, 0, 16), np.float32))
        >>> index = fitted_index("centred+binary", training)
        >>> stored, asked = index.base(vectors), index.query(vectors + 0.1)
        >>> stored.shape, stored.dtype.name, int((index.scores(asked, stored).argmax(axis=1) == np.arange(50)).sum())
        ((50, 2), 'uint8', 50)
    """

    name: str
    dim: int
    arrays: Sequence[Arrays]
    background: Floats | None = None
    encoder: str = ""
    embedding: str = ""
    version: str = ""
    parts: tuple[Named, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", parse(self.name, self.dim))

    def __repr__(self) -> str:
        sizes = f"{self.bytes_searched:,.0f} bytes a vector to search, {self.bytes_stored:,.0f} to store"
        return f"SearchIndex({self.name!r}, D={self.dim}, {sizes}, encoder {self.encoder[:12] or 'unknown'})"

    @property
    def dim_kept(self) -> int:
        """Number of dimensions after a map and a size."""
        return next((named.size for named in self.parts if named.part.place == SIZE), self.dim)

    @property
    def bytes_searched(self) -> float:
        """Bytes of a vector that a search reads; with `tiles`, of each vector of an image."""
        own = 4.0 * self.dim_kept if self._of(CODE) is None else self._bytes_of(CODE)
        return own + (4.0 if self.is_normalised else 0.0)

    @property
    def bytes_stored(self) -> float:
        """Bytes of a vector that are kept."""
        return self.bytes_searched + self._bytes_of(RESCORE) + self._bytes_of(STRUCTURE)

    def _bytes_of(self, place: int) -> float:
        named, _ = self._of(place) or (None, None)
        return 0.0 if named is None or named.part.bytes is None else named.part.bytes(self.dim_kept, named.size)

    @property
    def layout(self) -> str:
        """Which vectors of an image it has: its own alone ("one"), tiles, or means with tiles or the mirror image."""
        return layout_of(self.name)

    @property
    def structure(self) -> str:
        """The structure that a store builds, "hnsw" or "ivf"; "" = every vector is compared."""
        named, _ = self._of(STRUCTURE) or (None, None)
        return "" if named is None else named.text

    @property
    def is_normalised(self) -> bool:
        """Whether the mean of the highest scores with the background is taken off."""
        return self._of(SCORES) is not None

    @property
    def is_rescored(self) -> bool:
        """Whether a search takes candidates by the code, and orders them by int8."""
        return self._of(RESCORE) is not None

    def base(self, vectors: ArrayLike) -> NDArray[Any]:
        """Returns what a store keeps of vectors `[n, D]`: float32 or float16 `[n, d]`, int8 `[n, d]`, or packed bits.

        With `pq-N` uint8 `[n, N]`. With `rescore`, packed bits and then int8, as uint8 `[n, bits + d]`.

        An index of several vectors of an image takes `[n, m, D]`: the whole image first, then its tiles, NaN or 0 where
        it has fewer, or its mirror image. `tiles` keeps all of them, `[n, m, E]`; a mean is one vector, `[n, E]`.
        """
        given = self._checked(vectors, of_query=False)
        moved = self.moved(given.reshape(-1, self.dim))
        kept = [np.asarray(part.part.encode(arrays, moved)) for part, arrays in self._codes()]
        if len(kept) > 1:
            kept = [np.hstack([each.view(np.uint8) for each in kept])]
        made = kept[0] if kept else moved
        return made.reshape(*given.shape[:-1], made.shape[-1])

    def query(self, vectors: ArrayLike) -> Floats:
        """Returns the vectors that a search asks with, float32 `[n, d]`.

        `mirror-mean` and `mirror-query` take `[n, 2, D]`: an image, then its mirror image.
        """
        return self.asked(self.moved(self._checked(vectors, of_query=True)))

    def scores(self, asked: Floats, stored: NDArray[Any]) -> Floats:
        """Returns the scores of queries `[q, d]`, of `query`, with what is kept `[n, E]`, of `base`: float32 `[q, n]`.

        With `rescore`, the scores by which candidates are ordered in the end. With `tiles`, `[n, m, E]` is kept, and
        the best score of an image counts.
        """
        if stored.ndim == 3:
            each = self.scores(asked, stored.reshape(-1, stored.shape[2]))
            return np.asarray(each.reshape(len(asked), *stored.shape[:2]).max(axis=2))
        codes = self._codes()
        if len(codes) > 1:
            width = stored.shape[1] - self.dim_kept
            stored = np.ascontiguousarray(stored[:, width:]).view(np.int8)
        stands_for = self._decoded(codes[-1], stored) if codes else np.asarray(stored, np.float32)
        found = asked @ stands_for.T
        found = found - self.level_of_queries(asked, rescored=True)[:, None] - self.level_of_base(stands_for)
        return np.asarray(found, np.float32)

    def mapped(self, vectors: ArrayLike) -> Floats:
        """Returns vectors `[n, D]` after map and size, float32 `[n, d]`; one of length 0 stays one, NaN stays NaN."""
        return self.moved(normalised_float32(self._shaped(vectors, has_several=False)))

    @property
    def has_map(self) -> bool:
        """Whether it has a map or a size."""
        return any(named.part.place in (MAP, SIZE) for named in self.parts)

    def moved(self, unit: Floats) -> Floats:
        """Returns unit vectors after map and size; a vector of length 0 stays one."""
        is_there = unit.any(axis=1, keepdims=True)
        for named, arrays in zip(self.parts, self.arrays, strict=True):
            if named.part.place < CODE:
                unit = np.asarray(named.part.encode(arrays, unit), np.float32)
                unit = unit if is_there.all() else unit * is_there
        return unit

    def stands_for(self, moved: Floats, *, rescored: bool = False) -> Floats:
        """Returns what is compared of moved vectors: what their code stands for, or that of `rescore`."""
        codes = self._codes()
        if not codes:
            return moved
        code = codes[-1] if rescored else codes[0]
        return self._decoded(code, code[0].part.encode(code[1], moved))

    def asked(self, moved: Floats) -> Floats:
        """Returns queries of moved vectors."""
        if (code := self._of(CODE)) is None or (query := code[0].part.query) is None:
            return moved
        return np.asarray(query(code[1], moved), np.float32)

    def level_of_queries(self, asked: Floats, *, rescored: bool = False) -> Floats:
        """Returns half of the mean of the highest scores of queries with the background, `[q]`; 0 without one."""
        if self.background is None:
            return np.zeros(len(asked), np.float32)
        return _level(asked, self.stands_for(self._moved_background, rescored=rescored))

    def level_of_base(self, stands_for: Floats) -> Floats:
        """Returns half of the mean of the highest scores of the background with what is kept, `[n]`; 0 without one."""
        if self.background is None:
            return np.zeros(len(stands_for), np.float32)
        return _level(stands_for, self.asked(self._moved_background))

    @functools.cached_property
    def _moved_background(self) -> Floats:
        assert self.background is not None
        return self.moved(self.background)

    def _of(self, place: int) -> tuple[Named, Arrays] | None:
        pairs = zip(self.parts, self.arrays, strict=True)
        return next(((named, arrays) for named, arrays in pairs if named.part.place == place), None)

    def _codes(self) -> list[tuple[Named, Arrays]]:
        return [pair for place in (CODE, RESCORE) if (pair := self._of(place)) is not None]

    @staticmethod
    def _decoded(code: tuple[Named, Arrays], kept: NDArray[Any]) -> Floats:
        decode = code[0].part.decode
        return np.asarray(kept if decode is None else decode(code[1], kept), np.float32)

    def _checked(self, vectors: ArrayLike, *, of_query: bool) -> Floats:
        """Returns unit vectors `[n, D]`; of the gallery of `tiles` all of an image, `[n, m, D]`."""
        has_several = self.layout in (OF_QUERIES if of_query else OF_GALLERY)
        given = self._shaped(vectors, has_several=has_several)
        if not has_several:
            return normalised_float32(given)
        return all_vectors(given) if self.layout == TILES else np.nan_to_num(mean_direction(given))

    def _shaped(self, vectors: ArrayLike, *, has_several: bool) -> NDArray[Any]:
        given = np.asarray(vectors)
        if given.ndim != 2 + has_several or given.shape[-1] != self.dim or not given.shape[1]:
            wanted = f"[n, m, {self.dim}]" if has_several else f"[n, {self.dim}]"
            raise UsageError(f"give vectors {wanted}, as the index was fitted to; not {[*given.shape]}")
        return given

    def save(self, path: str | Path) -> None:
        """Writes an npz file without code in it; raises UsageError if it cannot be written."""
        texts: dict[str, Any] = {
            "index": self.name,
            "encoder": self.encoder,
            "embedding": self.embedding,
            "embedshift": self.version,
        }
        arrays: dict[str, Any] = {
            f"{place}.{name}": each for place, part in enumerate(self.arrays) for name, each in part.items()
        }
        if self.background is not None:
            arrays["background"] = self.background
        np.savez(content := io.BytesIO(), dim=self.dim, **texts, **arrays)
        write_file(Path(path), content.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "SearchIndex":
        """Reads an index that `save` wrote, or a map that an earlier version wrote (`embedshift whiten`).

        Raises:
            UsageError: The file cannot be read, or holds no index.
        """
        try:
            with open_file(path) as opened, np.load(opened, allow_pickle=False) as file:
                if any(member.compress_type for member in file.zip.infolist()):
                    raise ValueError("it is compressed, and may be of any size")
                if "index" not in file and "map" in file:
                    return cls._of_map(path)
                given = {name: file[name] for name in file}
            index = cls._of_file(given)
            index._check()
        except UsageError as error:
            raise UsageError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
        except Exception as error:  # NumPy and zipfile raise many kinds
            missing = isinstance(error, FileNotFoundError)
            words = "no such file" if missing else f"no index of `embedshift index` ({reason(error):.200})"
            raise UsageError(f"{path}: {words}") from error
        return index

    @classmethod
    def _of_file(cls, given: Mapping[str, NDArray[Any]]) -> "SearchIndex":
        name, dim = str(given["index"]), int(given["dim"])
        if not 0 < dim <= MOST_DIM:
            raise ValueError(f"vectors of {dim} numbers")
        arrays: list[dict[str, NDArray[Any]]] = [{} for _ in parse(name, dim)]
        for key, array in given.items():
            place, dot, own = key.partition(".")
            if dot:
                arrays[int(place)][own] = array
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ValueError("its numbers are not finite; write the index again")
        texts = (str(given[text]) for text in ("encoder", "embedding", "embedshift"))
        return cls(name, dim, arrays, given.get("background"), *texts)

    def _check(self) -> None:
        """Raises ValueError, or what NumPy raises, where the arrays of a file are not those of its parts."""
        dim = self.dim
        for place, (named, arrays) in enumerate(zip(self.parts, self.arrays, strict=True)):
            after = named.dim_after(dim)
            sizes = {"d": dim, "e": after, "n": named.size, "b": CENTROIDS, "k": dim // (named.size or dim)}
            for name, letters in named.part.shapes.items():
                array, shape = arrays[name], tuple(sizes[letter] for letter in letters)
                if array.dtype.kind not in "fiu" or array.shape != shape or (not shape and array != after):
                    raise ValueError(f"{place}.{name} of {named.text}: {array.dtype} {[*array.shape]}")
            dim = after
        background = np.zeros((0, 0)) if self.background is None else self.background
        if self.is_normalised and (background.ndim != 2 or not len(background) or background.shape[1] != self.dim):
            raise ValueError(f"background {[*background.shape]}")
        probe = np.eye(2, self.dim, dtype=np.float32)
        asked, kept = (probe[:, None] if self.layout in of else probe for of in (OF_QUERIES, OF_GALLERY))
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            scores = self.scores(self.query(asked), self.base(kept))
        if scores.shape != (2, 2) or not np.isfinite(scores).all():
            raise ValueError("its arrays make no scores")

    @classmethod
    def _of_map(cls, path: str | Path) -> "SearchIndex":
        made = LinearMap.load(path)
        if made.name not in EARLIER:
            raise UsageError(f"{path}: a map of `embedshift upgrade`, which is for queries; give an index")
        arrays = {"mean": made.mean, "matrix": made.matrix}
        return cls(EARLIER[made.name], len(made.mean), [arrays], None, made.encoder, made.embedding, made.version)


def _level(vectors: Floats, background: Floats) -> Floats:
    scores = vectors @ background.T
    count = min(NEAREST, scores.shape[1])
    return np.asarray(np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:].mean(axis=1) / 2, np.float32)


def all_vectors(vectors: ArrayLike) -> Floats:
    """Returns unit vectors of images `[n, m, D]`; one that is NaN or 0 is the first, so that the best score stays.

    Where the first is missing, all are 0.
    """
    unit = np.nan_to_num(normalised_float32(np.asarray(vectors)))
    return np.where(unit.any(axis=2, keepdims=True) & unit[:, :1].any(axis=2, keepdims=True), unit, unit[:, :1])


def with_maps(text: str, dim: int) -> tuple[str, Mapping[int, Arrays]]:
    """Returns a text with the parts of a file in the place of "map:FILE", and their arrays by their place in it.

    Raises:
        UsageError: A file is no map of vectors of `dim` numbers.
    """
    names, known = list[str](), dict[int, Arrays]()
    for name in map(str.strip, text.split("+")):
        if not name.startswith(MAP_FILE):
            names.append(name)
            continue
        path = name.removeprefix(MAP_FILE)
        read = SearchIndex.load(path)
        if not read.parts or any(named.part.place not in (MAP, SIZE) for named in read.parts):
            raise UsageError(f"{path}: its index is {read.name}; give one of a map and a size only")
        if read.dim != dim:
            raise UsageError(f"{path}: for vectors of {read.dim} numbers; these have {dim}")
        known |= {len(names) + place: arrays for place, arrays in enumerate(read.arrays)}
        names += [named.text for named in read.parts]
    return "+".join(names), known


def is_fitted_to_views(text: str, dim: int) -> bool:
    """Returns whether a part of an index is fitted to views; a map from a file is not."""
    name, known = with_maps(text, dim)
    return uses_views([named for place, named in enumerate(parse(name, dim)) if place not in known])


@dataclass(frozen=True, eq=False)
class Fits:
    """Fits indexes to the same training vectors; equal parts at their beginning are fitted once."""

    training: Training
    _made: dict[str, tuple[Arrays, Training]] = field(default_factory=dict)

    def __call__(self, name: str) -> SearchIndex | str:
        """Returns the fitted index, or why it cannot be fitted."""
        arrays, training, prefix, dim = list[Arrays](), self.training, "", self.training.originals.shape[1]
        given, (name, known) = name, with_maps(name, dim)
        parts = parse(name, dim)
        for place, named in enumerate(parts):
            if place in known:
                arrays.append(known[place])
                training, prefix = _mapped(named, known[place], training), given
                continue
            if "de" in named.part.shapes.values() and training.originals.shape[1] > MOST_FITTED:
                return f"{named.text} is fitted to vectors of at most {MOST_FITTED:,} numbers"
            if (least := named.part.least(named.size)) > len(training.originals):
                there = f"{len(training.originals):,}"
                return f"{named.text} is fitted to {least:,} originals or more, and there are {there}"
            if uses_views([named]) and not training.views.any():
                return f"{named.text} is fitted to views of a second family of changes"
            prefix = f"{prefix}+{named.text}"
            if prefix not in self._made:
                self._made[prefix] = _fitted(named, training)
            own, training = self._made[prefix]
            arrays.append(own)
        is_normalised = any(named.part.place == SCORES for named in parts)
        background = self.training.originals[:BACKGROUND] if is_normalised else None
        return SearchIndex(name, dim, arrays, background)


def _fitted(named: Named, training: Training) -> tuple[Arrays, Training]:
    """Returns what a part is fitted to, and the training vectors after it."""
    own = named.part.fit(training, named.size)
    return own, training if named.part.place >= CODE else _mapped(named, own, training)


def _mapped(named: Named, arrays: Arrays, training: Training) -> Training:
    return training.mapped(lambda vectors: np.asarray(named.part.encode(arrays, vectors), np.float32))


def fitted_index(name: str, training: Training) -> SearchIndex:
    """Fits an index; raises UsageError if there is too little to fit it to."""
    made = Fits(training)(name)
    if isinstance(made, str):
        raise UsageError(f"index {name!r}: {made}")
    return made


__all__ = ["Fits", "SearchIndex", "all_vectors", "fitted_index", "is_fitted_to_views", "with_maps"]
