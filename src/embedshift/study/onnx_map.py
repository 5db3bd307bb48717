"""Writes a map that whitens embeddings as an ONNX graph, for use in production."""

from pathlib import Path
from typing import Any

import numpy as np

from embedshift.errors import EmbedshiftError, UsageError, reason
from embedshift.statistics.whitening import Whitening

# Opset and format that runtimes since 2021 and 2022 read; a length below which a vector has no direction.
OPSET, FORMAT, LEAST = 13, 8, 1e-30


def write_onnx(fitted: Whitening, path: Path) -> None:
    """Writes the graph of a map: `embeddings`, float32 `[n, D]` → `whitened`."""
    try:
        import onnx
        from onnx import helper, numpy_helper
    except ImportError as error:
        raise EmbedshiftError("ONNX files need the package onnx: pip install 'embedshift[offline]'") from error
    arrays = {"mean": fitted.mean, "matrix": fitted.matrix, "least": np.array(LEAST, np.float32)}
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", len(fitted.mean)])
        for name in ("embeddings", "whitened")
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(_nodes(helper.make_node), "whitening", ends[:1], ends[1:], constants)
    opset = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, producer_name="embedshift", opset_imports=opset, ir_version=FORMAT)
    told = {"map": fitted.name, "encoder": fitted.encoder, "embedding": fitted.embedding, "embedshift": fitted.version}
    helper.set_model_props(model, told)
    try:
        onnx.save(model, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({reason(error)})") from error


def _nodes(node: Any) -> list[Any]:
    """Returns the steps of `Whitening.__call__`; a vector of length 0 stays one."""
    return [
        *_unit(node, "embeddings", "unit"),
        node("Sub", ["unit", "mean"], ["centred"]),
        node("MatMul", ["centred", "matrix"], ["mapped"]),
        *_unit(node, "mapped", "turned"),
        node("Sign", ["embeddings_length"], ["has_length"]),
        node("Mul", ["turned", "has_length"], ["whitened"]),
    ]


def _unit(node: Any, name: str, output: str) -> list[Any]:
    length, divisor = f"{name}_length", f"{name}_divisor"
    return [
        node("ReduceL2", [name], [length], axes=[1], keepdims=1),
        node("Max", [length, "least"], [divisor]),
        node("Div", [name, divisor], [output]),
    ]
