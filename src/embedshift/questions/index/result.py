"""Fits an index to all images and changes of a study, and writes it."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from embedshift.errors import UsageError
from embedshift.questions.index.experiment import training_of
from embedshift.questions.index.tables import listed
from embedshift.questions.index.vectors import Source, refuse_without_vectors
from embedshift.statistics.index import SearchIndex, fitted_index
from embedshift.statistics.index_parts import FLOAT32, MAP, SIZE, Arrays, layout_of
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.vector_layouts import ONE
from embedshift.study.onnx_maps import write_onnx
from embedshift.study.study import Study, as_study


def fit_index(
    study: Study | str | Path, name: str, *, out: str | Path | None = None, onnx: str | Path | None = None
) -> SearchIndex:
    """Fits an index to all images and changes of a study.

    Args:
        study: A finished study that stores its embeddings, or its folder.
        name: Parts with "+" between them, such as "whiten+binary".
        out: An npz file to write it to; `SearchIndex.load` reads it. None = it is not written.
        onnx: An ONNX file to write its map and size to; needs `onnx`.

    Returns:
        The index; `base`, `query` and `scores` take vectors `[n, D]`.

    Raises:
        UsageError: There is no such index, or too little to fit it to.
        EmbedshiftError: `onnx` is not installed.

    Example:
        >>> import embedshift, tempfile
        >>> rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
        >>> vectors = rng.normal(size=(30, 8))
        >>> study = embedshift.from_vectors(vectors, {"noise": vectors + 0.1}, out=folder / "study")
        >>> index = fit_index(study, "whiten+int8", out=folder / "index.npz")
        >>> index.base(vectors).shape, embedshift.SearchIndex.load(folder / "index.npz").name
        ((30, 8), 'whiten+int8')
    """
    if out is not None and onnx is not None and Path(out).resolve() == Path(onnx).resolve():
        raise UsageError(f"{out}: named for the index and for `onnx`; name two files")
    reader = as_study(study).reader()
    reader.refuse_without_vectors()
    reader.refuse_unfinished()
    refuse_without_vectors(reader, name)
    if not reader.augmentations:
        raise UsageError(f"{reader.folder}: has no changes, and an index is fitted to views; run it with some")
    source = Source(reader)
    vectors = source.plain if (layout := layout_of(name)) == ONE else source.variant(layout)
    if isinstance(vectors, str):
        raise UsageError(f"index {name!r}: {vectors}")
    training = training_of(vectors, np.ones(len(vectors.originals), bool), range(len(vectors.names)))
    fitted, encoder = fitted_index(name, training), reader.info.encoder
    embedding = encoder.embedding or ""
    fitted = replace(fitted, encoder=encoder.weights_hash, embedding=embedding, version=version("embedshift"))
    if onnx is not None:
        write_map(fitted, Path(onnx))
    if out is not None:
        fitted.save(out)
    return fitted


def write_index(
    study: Study, names: Sequence[str], recommended: str | None, out: Path | None, onnx: Path | None
) -> str:
    """Writes the index that is named, else the recommended one; returns a line on it."""
    own = [name for name in listed(names) if name != FLOAT32]
    if not own and recommended is None:
        return "Nothing was written: no index is recommended; name the one to write, such as whiten+binary."
    if len(own) > 1 and recommended is None:
        raise UsageError(f"`out`: {len(own)} indexes are named, and none is recommended; name the one to write")
    name = own[0] if len(own) == 1 else str(recommended)
    fit_index(study, name, out=out, onnx=onnx)
    files = ", ".join(str(file) for file in (out, onnx) if file is not None)
    return f"Written: {files}, the index {name}. Use it: `embedshift docs which-index`."


def write_map(index: SearchIndex, path: Path) -> None:
    """Writes map and size of an index as an ONNX graph, from `embeddings` [n, D] to `whitened` [n, d].

    Raises:
        UsageError: The index has neither.
        EmbedshiftError: `onnx` is not installed.
    """
    maps, dim = list[LinearMap](), index.dim
    for named, arrays in zip(index.parts, index.arrays, strict=True):
        if named.part.place in (MAP, SIZE):
            maps.append(_linear(index, arrays, dim))
            dim = maps[-1].matrix.shape[1]
    if not maps:
        raise UsageError(f"`onnx`: the index {index.name} has no map and no size; its vectors are at unit length only")
    write_onnx(maps, path)


def _linear(index: SearchIndex, arrays: Arrays, dim: int) -> LinearMap:
    """Returns a map, or the first numbers, as a linear map of unit vectors to unit vectors."""
    kept = arrays["matrix"] if "matrix" in arrays else np.eye(dim, int(arrays.get("size", dim)), dtype=np.float32)
    mean = arrays.get("mean", np.zeros(dim, np.float32))
    return LinearMap(mean, kept, index.name, index.encoder, index.embedding, index.version)
