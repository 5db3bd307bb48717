"""Writes a map that whitens embeddings as an ONNX graph, for use in production."""

from pathlib import Path

import numpy as np

from embedshift.config.safe_files import write_file
from embedshift.errors import EmbedshiftError
from embedshift.statistics.whitening import Whitening

# As `Whitening.__call__`. Opset and format are those that runtimes since 2022 read.
GRAPH = """<ir_version: 8, opset_import: ["": 13], producer_name: "embedshift">
whitening (float[n, {dim}] embeddings) => (float[n, {dim}] whitened) {{
  sizes = Abs (embeddings)
  largest = ReduceMax <axes = [1], keepdims = 1> (sizes)
  scale = Max (largest, least)
  scaled = Div (embeddings, scale)
  length = ReduceL2 <axes = [1], keepdims = 1> (scaled)
  divisor = Max (length, least)
  unit = Div (scaled, divisor)
  centred = Sub (unit, mean)
  mapped = MatMul (centred, matrix)
  mapped_length = ReduceL2 <axes = [1], keepdims = 1> (mapped)
  mapped_divisor = Max (mapped_length, least)
  turned = Div (mapped, mapped_divisor)
  has_length = Sign (length)
  whitened = Mul (turned, has_length)
}}"""


def write_onnx(fitted: Whitening, path: Path) -> None:
    """Writes the graph of a map: `embeddings`, float32 `[n, D]` → `whitened`."""
    try:
        from onnx import helper, numpy_helper, parser
    except ImportError as error:
        raise EmbedshiftError("ONNX files need the package onnx: pip install 'embedshift[offline]'") from error
    model = parser.parse_model(GRAPH.format(dim=len(fitted.mean)))
    arrays = {"mean": fitted.mean, "matrix": fitted.matrix, "least": np.array(np.finfo(np.float32).tiny)}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    helper.set_model_props(model, fitted.described)
    write_file(path, model.SerializeToString())
