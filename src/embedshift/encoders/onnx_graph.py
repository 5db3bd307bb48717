"""ONNX graphs as encoders, run by onnxruntime."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from embedshift.arrays import Floats, Pixels
from embedshift.config.files import open_file
from embedshift.encoders.base import EncoderOutput, Preprocess
from embedshift.encoders.families import IMAGENET_MEAN, IMAGENET_STD
from embedshift.encoders.family import Triple
from embedshift.encoders.files import preprocess_from
from embedshift.encoders.folder import check_folder
from embedshift.encoders.images import first_embedding
from embedshift.encoders.libraries import library
from embedshift.encoders.trust import load_image_processor
from embedshift.errors import EmbedshiftError, UsageError, cause, reason

# The usual names of outputs that are an embedding; of the last, the first token is.
OUTPUTS = ("image_embeds", "pooler_output", "last_hidden_state")
# Graphs in the folders that optimum and other exporters write, the best first.
GRAPHS = ("vision_model.onnx", "model.onnx", "onnx/vision_model.onnx", "onnx/model.onnx")
PROCESSOR = "preprocessor_config.json"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
TYPES: dict[str, DTypeLike] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


def load_onnx(
    model: str,
    *,
    device: str = "auto",
    size: int | None = None,
    embedding: str | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    **_settings: Any,
) -> "OnnxEncoder":
    """Loads a graph: a file, or a folder as optimum writes it, with the preprocessing beside it."""
    file = _find(Path(model).expanduser())
    name = file.stem if file.name not in {Path(graph).name for graph in GRAPHS} else _folder(file).resolve().name
    version = _hash(file)
    graph = Graph(file, _provider(device))
    if mean is None and std is None and (_folder(file) / PROCESSOR).is_file():
        processor = load_image_processor(_folder(file))
        settings = json.loads(processor.to_json_string())
        if settings.get("do_normalize") is False:
            settings |= {"image_mean": (0, 0, 0), "image_std": (1, 1, 1)}
        stats = IMAGENET_MEAN, IMAGENET_STD
        preprocess = preprocess_from(settings, str(_folder(file)), stats, lambda: graph.side)
        version = hashlib.sha256(f"{version}|{json.dumps(settings, sort_keys=True)}".encode()).hexdigest()
        _refuse_size(file, graph.side or preprocess.size, preprocess.size, f"its {PROCESSOR} gives")
        _refuse_size(file, preprocess.size, size, "`size` is")
        return OnnxImageEncoder(graph, preprocess, graph.output(embedding), name, version, processor)
    _refuse_size(file, graph.side, size, "`size` is")
    side = graph.side or size
    if graph.dtype != np.uint8 and (mean is None or std is None):
        raise UsageError(
            f"{file}: there is no {PROCESSOR} beside it: set `mean` and `std` of its pixels, as in training, such as "
            f"{','.join(map(str, IMAGENET_MEAN))} and {','.join(map(str, IMAGENET_STD))}"
        )
    if side is None:
        raise UsageError(f"{file}: the graph takes images of any size; set `size`")
    preprocess = Preprocess(side, mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0))
    return OnnxEncoder(graph, preprocess, graph.output(embedding), name, version)


class OnnxEncoder:
    """A graph that gets squares, resized as the study says, and normalised."""

    grid = attention_kind = None

    def __init__(self, graph: "Graph", preprocess: Preprocess, output: str, name: str, version: str) -> None:
        self.name, self.preprocess, self.weights_hash = name, preprocess, version
        self.size, self.mean, self.std = preprocess.size, tuple(preprocess.mean), tuple(preprocess.std)
        self.embedding_name, self.embedding_definition = output, f"output {output} of the graph"
        self.device, self.graph = graph.device, graph
        self.precision = "float16" if graph.dtype == np.float16 else "float32"
        self.dim = first_embedding(self)

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`."""
        pixels: Any = views
        if self.graph.dtype != np.uint8:
            scale = 1.0 / (255.0 * np.array(self.std, np.float32))
            pixels = views.astype(np.float32) * scale - np.array(self.mean, np.float32) / np.array(self.std, np.float32)
        return EncoderOutput(self.graph.embed(np.moveaxis(pixels, 3, 1), self.embedding_name), None, None)


class OnnxImageEncoder(OnnxEncoder):
    """A graph with the image processor of its folder, which prepares images of files; squares are only normalised."""

    def __init__(self, *arguments: Any) -> None:
        *graph, self._processor = arguments
        super().__init__(*graph)
        self.version = self.weights_hash

    def __call__(self, views: Pixels | Sequence[Pixels]) -> EncoderOutput:
        """Encodes views uint8 `[B, S, S, 3]`, or a list of views of any size."""
        if isinstance(views, np.ndarray):
            return super().__call__(views)
        return EncoderOutput(self.encode_images([Image.fromarray(view) for view in views]), None, None)

    def encode_images(self, images: Sequence[Image.Image]) -> Floats:
        """Encodes N images to `[N, D]`."""
        pixels = self._processor(images=list(images), return_tensors="np")["pixel_values"]
        return self.graph.embed(np.asarray(pixels), self.embedding_name)


@dataclass(frozen=True)
class _Input:
    """The one input of a graph: its name and type, its fixed batch and side, and whether channels come last."""

    name: str
    dtype: DTypeLike
    batch: int | None
    side: int | None
    channels_last: bool


class Graph:
    """A graph in onnxruntime; another process loads it again."""

    def __init__(self, file: Path, provider: tuple[str, dict[str, int]]) -> None:
        self._file, self._provider = file, provider
        self._session = _session(file, provider)
        self._input = _input(self._session, file)
        self.dtype, self.side = self._input.dtype, self._input.side
        kind = next(kind for kind, name in PROVIDERS.items() if name == provider[0])
        self.device = f"{kind}:{provider[1]['device_id']}" if provider[1] else kind

    def __getstate__(self) -> dict[str, Any]:
        return {"file": self._file, "provider": self._provider}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def output(self, wanted: str | None) -> str:
        """Returns the name of the output that is the embedding."""
        names = [entry.name for entry in self._session.get_outputs()]
        usual = [name for name in OUTPUTS if name in names] or (names if len(names) == 1 else [])
        if wanted not in (None, *names) or not (wanted or usual):
            lacking = f"the graph has no output {wanted!r}" if wanted else "no output has a usual name"
            raise UsageError(f"{self._file}: {lacking}; choose one by `embedding`: {', '.join(names)}")
        return wanted or usual[0]

    def embed(self, pixels: NDArray[Any], output: str) -> Floats:
        """Runs the graph on pixels `[B, 3, S, S]`, in batches of its own size if that is fixed."""
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 1, 3) if self._input.channels_last else pixels, self.dtype)
        size = self._input.batch or len(pixels)
        parts = [self._run(pixels[start : start + size], size, output) for start in range(0, len(pixels), size)]
        return np.concatenate(parts)

    def _run(self, pixels: NDArray[Any], size: int, output: str) -> Floats:
        count = len(pixels)
        if count < size:
            pixels = np.concatenate([pixels, np.zeros((size - count, *pixels.shape[1:]), pixels.dtype)])
        values: NDArray[Any] = self._session.run([output], {self._input.name: pixels})[0]
        if values.ndim == 3:
            values = values[:, 0]
        elif values.ndim == 4 and values.shape[2:] == (1, 1):
            values = values[:, :, 0, 0]
        if values.ndim != 2 or len(values) != size:
            raise EmbedshiftError(f"its output {output} is {values.shape} for {size} images; an embedding is [N, D]")
        return values[:count].astype(np.float32)


def _input(session: Any, file: Path) -> _Input:
    entries = session.get_inputs()
    if len(entries) != 1:
        names = ", ".join(entry.name for entry in entries)
        raise UsageError(f"{file}: the graph takes {len(entries)} inputs ({names}); export the part that sees images")
    entry = entries[0]
    lengths = [length if isinstance(length, int) and length > 0 else None for length in entry.shape]
    last = len(lengths) == 4 and lengths[3] == 3 and lengths[1] != 3
    sides = {side for side in (lengths[1:3] if last else lengths[2:]) if side}
    if len(lengths) != 4 or len(sides) > 1 or entry.type not in TYPES:
        raise UsageError(
            f"{file}: its input {entry.name} is {entry.type} {entry.shape}; it must be square images, float or uint8 "
            "[N, 3, S, S] or [N, S, S, 3]"
        )
    return _Input(entry.name, np.dtype(TYPES[entry.type]), lengths[0], next(iter(sides), None), last)


def _session(file: Path, provider: tuple[str, dict[str, int]]) -> Any:
    runtime = library("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # an error is raised, too
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(str(file), options, providers=[provider])
    except Exception as error:
        raise EmbedshiftError(f"{file}: onnxruntime cannot load it ({reason(error)[:300]})") from error
    if session.get_providers()[0] != provider[0]:  # it would quietly use the CPU
        raise UsageError(f"`device`: onnxruntime cannot use {provider[0]} here; use cpu")
    return session


def _provider(device: str) -> tuple[str, dict[str, int]]:
    """Returns the provider of a device and its options; "auto" is CUDA where this onnxruntime has it."""
    available = library("onnxruntime", "onnx").get_available_providers()
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    name = PROVIDERS.get(kind)
    if name not in available or not (index or "0").isdigit():
        usable = ", ".join(kind for kind, provider in PROVIDERS.items() if provider in available)
        raise UsageError(f"device {device!r} cannot be used by this onnxruntime; it has {usable}")
    return name, {"device_id": int(index or 0)} if kind == "cuda" else {}


def _find(path: Path) -> Path:
    """Returns the file of a graph, or the one to use of a folder."""
    if not path.is_dir():
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
        return path
    check_folder(path)
    found = [path / name for name in GRAPHS if (path / name).is_file()] or sorted(path.glob("*.onnx"))
    if not found or (len(found) > 1 and found[0].name not in {Path(name).name for name in GRAPHS}):
        names = f" of {', '.join(file.name for file in found[:5])}" if found else ""
        raise UsageError(f"{path}: {'give one' + names if found else 'no ONNX graph in this folder'}")
    return found[0]


def _folder(file: Path) -> Path:
    """Returns the folder of the settings: that of the graph, or the one above its `onnx`."""
    return file.parent.parent if file.parent.name == "onnx" and not (file.parent / PROCESSOR).exists() else file.parent


def _refuse_size(file: Path, side: int | None, other: int | None, words: str) -> None:
    if side and other and side != other:
        raise UsageError(f"{file}: the graph takes images of {side} pixels and {words} {other}")


def _hash(file: Path) -> str:
    """Returns a hash of a graph and its external data, which must lie in its folder."""
    onnx = library("onnx", "onnx")
    library("onnxruntime", "onnx")
    digest = hashlib.sha256()
    try:
        with open_file(file) as opened:
            content = opened.read()
        graph = onnx.load_model_from_string(content)
    except (OSError, EmbedshiftError) as error:
        raise EmbedshiftError(f"{file}: {cause(error)}") from error
    except Exception as error:
        raise EmbedshiftError(f"{file}: not an ONNX graph ({reason(error)[:200]})") from error
    digest.update(content)
    for name in sorted(set(_external(graph, onnx.TensorProto))):
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or not (file.parent / path).is_file():
            raise EmbedshiftError(f"{file}: names data that is not a file of its folder ({name}); refused")
        with open_file(file.parent / path) as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


def _external(message: Any, tensor: type) -> Iterator[str]:
    """Yields the names of the files of a graph's tensors, those of graphs and functions within it, too."""
    if isinstance(message, tensor):
        yield from (entry.value for entry in message.external_data if entry.key == "location")  # type: ignore[attr-defined]
        return
    for _, value in message.ListFields():
        parts = [value] if hasattr(value, "ListFields") else value
        if not isinstance(parts, str | bytes | int | float):
            yield from (name for part in parts if hasattr(part, "ListFields") for name in _external(part, tensor))
