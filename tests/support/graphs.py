"""Makers of ONNX graphs that multiply an image by a matrix, so that every output is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
SIDE, DIM = 16, 5
PROCESSOR: dict[str, Any] = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 20},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}


def matrix(seed: int = 0, length: int = 3 * SIDE * SIDE) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(length, DIM)).astype(np.float32)


def write_graph(
    file: Path,
    *,
    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE),
    outputs: Sequence[str] = ("image_embeds",),
    inputs: Sequence[str] = ("pixel_values",),
    kind: int = TensorProto.FLOAT,
    data: str | None = None,
) -> Path:
    """Writes a graph: output number i is the first input, flattened, times `matrix(i)`.

    `last_hidden_state` has that of `matrix(9)` as its second token. With `data` the matrices are in a file of that
    name.
    """
    nodes, constants = [helper.make_node("Cast", [inputs[0]], ["floats"], to=TensorProto.FLOAT)], []
    nodes.append(helper.make_node("Flatten", ["floats"], ["flat"]))

    def product(seed: int, name: str) -> None:
        constants.append(numpy_helper.from_array(matrix(seed), f"matrix{seed}"))
        nodes.append(helper.make_node("MatMul", ["flat", f"matrix{seed}"], [name]))

    for place, name in enumerate(outputs):
        if name != "last_hidden_state":
            product(place, name)
            continue
        for seed, token in ((place, "first"), (9, "second")):
            product(seed, token)
            nodes.append(helper.make_node("Unsqueeze", [token, "one"], [f"{token}_token"]))
        constants.append(numpy_helper.from_array(np.array([1]), "one"))
        nodes.append(helper.make_node("Concat", ["first_token", "second_token"], [name], axis=1))
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    if data is None:
        onnx.save(model, file)
    else:
        onnx.save(model, file, save_as_external_data=True, location=data, size_threshold=0)
    return file


def rename_data(file: Path, name: str) -> None:
    """Makes a graph name another file for its data."""
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    file.write_bytes(model.SerializeToString())
