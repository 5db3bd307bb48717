"""Writes linear maps as ONNX graphs, which other programs run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedshift.config.safe_files import write_file
from embedshift.errors import EmbedshiftError
from embedshift.statistics.linear_map import LinearMap

# As `LinearMap.__call__`. Opset and format are those that runtimes since 2022 read.
HEAD = '<ir_version: 8, opset_import: ["": 13], producer_name: "embedshift">'
UNIT = """{ends}_sizes = Abs ({given})
  {ends}_largest = ReduceMax <axes = [1], keepdims = 1> ({ends}_sizes)
  {ends}_scale = Max ({ends}_largest, least)
  {ends}_scaled = Div ({given}, {ends}_scale)
  {ends}_length = ReduceL2 <axes = [1], keepdims = 1> ({ends}_scaled)
  {ends}_divisor = Max ({ends}_length, least)
  {ends} = Div ({ends}_scaled, {ends}_divisor)
"""


def graph(fitted: LinearMap) -> str:
    """Returns the map in ONNX's text; zero vectors stay so, by the sign of their largest number."""
    before, after = fitted.is_unit
    dim, end = fitted.matrix.shape
    lines = UNIT.format(given="embeddings", ends="unit") if before else ""
    given = "unit" if before else "embeddings"
    if not after:  # as precise as NumPy's
        lines += f"  exact = Cast <to = 11> ({given})\n"
        given = "exact"
    lines += f"  centred = Sub ({given}, mean)\n  turned = MatMul (centred, matrix)\n  moved = Add (turned, offset)\n"
    lines += "  " + UNIT.format(given="moved", ends="mapped") if after else "  mapped = Cast <to = 1> (moved)\n"
    lines += "  sizes = Abs (embeddings)\n  largest = ReduceMax <axes = [1], keepdims = 1> (sizes)\n"
    lines += "  is_there = Sign (largest)\n"
    name, result = ("whitening", "whitened") if fitted.is_whitening else ("upgrade", "queries")
    lines += f"  {result} = Mul (mapped, is_there)\n"
    return f"{HEAD}\n{name} (float[n, {dim}] embeddings) => (float[n, {end}] {result}) {{\n  {lines}}}"


def write_onnx(fitted: LinearMap | Sequence[LinearMap], path: Path) -> None:
    """Writes a map, or several one after the other, as an ONNX graph."""
    try:
        from onnx import compose, helper
    except ImportError as error:
        raise EmbedshiftError("ONNX files need the package onnx: pip install 'embedshift[offline]'") from error
    maps = [fitted] if isinstance(fitted, LinearMap) else [*fitted]
    model = _model(maps[0])
    for place, each in enumerate(maps[1:]):
        first, after = (
            compose.add_prefix(part, f"{place}{side}_") for part, side in ((model, "a"), (_model(each), "b"))
        )
        ends = [(first.graph.output[0].name, after.graph.input[0].name)]
        model = compose.merge_models(first, after, io_map=ends)
    if len(maps) > 1:
        _renamed(model, {model.graph.input[0].name: "embeddings", model.graph.output[0].name: "whitened"})
    helper.set_model_props(model, maps[0].described)
    write_file(path, model.SerializeToString())


def _renamed(model: Any, names: Mapping[str, str]) -> None:
    for end in (*model.graph.input, *model.graph.output):
        end.name = names.get(end.name, end.name)
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]


def _model(fitted: LinearMap) -> Any:
    from onnx import numpy_helper, parser

    kind = np.float32 if fitted.is_unit[1] else np.float64
    offset = np.zeros(fitted.matrix.shape[1]) if fitted.offset is None else fitted.offset
    arrays = {"mean": fitted.mean.astype(kind), "matrix": fitted.matrix.astype(kind), "offset": offset.astype(kind)}
    model = parser.parse_model(graph(fitted))
    if any(fitted.is_unit):
        arrays["least"] = np.array(np.finfo(np.float32).tiny)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model
