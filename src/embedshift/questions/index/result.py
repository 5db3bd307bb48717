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
from embedshift.statistics.index import SearchIndex, fit_index
from embedshift.statistics.index_parts import FLOAT32, MAP, SIZE, Arrays, layout_of
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.vector_layouts import ONE
from embedshift.study.study import Study
from embedshift.study.whitening import write_onnx


def fitted_index(study: Study, name: str) -> SearchIndex:
    """Returns an index that is fitted to all images and changes of a study.

    Raises:
        UsageError: There is no such index, or too little to fit it to.
    """
    reader = study.reader()
    refuse_without_vectors(reader, name)
    source = Source(reader)
    vectors = source.plain if (layout := layout_of(name)) == ONE else source.variant(layout)
    if isinstance(vectors, str):
        raise UsageError(f"index {name!r}: {vectors}")
    fitted = fit_index(name, training_of(vectors, np.ones(len(vectors.originals), bool), range(len(vectors.names))))
    encoder = reader.info.encoder
    embedding = encoder.embedding or ""
    return replace(fitted, encoder=encoder.weights_hash, embedding=embedding, version=version("embedshift"))


def write_index(
    study: Study, names: Sequence[str], recommended: str | None, out: Path | None, onnx: Path | None
) -> str:
    """Writes the index that is named, else the recommended one; returns a line on it."""
    if out is not None and onnx is not None and out.resolve() == onnx.resolve():
        raise UsageError(f"{out}: named for the index and for `onnx`; name two files")
    own = [name for name in listed(names) if name != FLOAT32]
    if not own and recommended is None:
        return "Nothing was written: no index is recommended; name the one to write, such as whiten+binary."
    if len(own) > 1 and recommended is None:
        raise UsageError(f"`out`: {len(own)} indexes are named, and none is recommended; name the one to write")
    name = own[0] if len(own) == 1 else str(recommended)
    fitted = fitted_index(study, name)
    if onnx is not None:
        write_map(fitted, onnx)
    if out is not None:
        fitted.save(out)
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
