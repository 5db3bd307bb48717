"""ONNX graphs as encoders, run by onnxruntime."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from embedshift.arrays import Floats, Pixels
from embedshift.config import Triple
from embedshift.config.safe_files import open_file, read_file
from embedshift.encoders.base import LARGEST as LARGEST_SIDE
from embedshift.encoders.base import EncoderOutput, Preprocess
from embedshift.encoders.families import IMAGENET_MEAN, IMAGENET_STD
from embedshift.encoders.folder import check_folder, local_path
from embedshift.encoders.huggingface import preprocess_from, quiet
from embedshift.encoders.images import first_embedding
from embedshift.encoders.libraries import library
from embedshift.encoders.trust import no_remote_code, refusing
from embedshift.errors import EmbedshiftError, UsageError

# Usual names of outputs; of the last, a sequence, the first token is the embedding.
OUTPUTS = ("image_embeds", "pooler_output", "last_hidden_state")
# Maximum bytes of a graph for protobuf; more is external data.
LARGEST = 2**31
# Graphs in folders of optimum and other exporters, preferred first.
GRAPHS = ("vision_model.onnx", "model.onnx", "onnx/vision_model.onnx", "onnx/model.onnx")
PROCESSOR = "preprocessor_config.json"
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


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
    file = _find(local_path(model))
    folder = file.parent.parent if file.parent.name == "onnx" else file.parent
    name = folder.resolve().name if file.name in {Path(graph).name for graph in GRAPHS} else file.stem
    version, graph, processor = _hash(file), Graph(file, device), None
    if (folder / PROCESSOR).is_file() and mean is None and std is None:
        check_folder(folder)
        with quiet(), no_remote_code(local=True), refusing(f"{folder}: its image processor cannot be loaded"):
            loader: Any = transformers.AutoImageProcessor
            processor = loader.from_pretrained(folder, backend="pil", local_files_only=True, trust_remote_code=False)
        settings = json.loads(processor.to_json_string())
        if settings.get("do_normalize") is False:
            settings |= {"image_mean": (0, 0, 0), "image_std": (1, 1, 1)}
        preprocess = preprocess_from(settings, str(folder), (IMAGENET_MEAN, IMAGENET_STD), lambda: graph.side)
        version = hashlib.sha256(f"{version}|{json.dumps(settings, sort_keys=True)}".encode()).hexdigest()
        if size not in (None, preprocess.size):
            raise UsageError(f"`size` {size}: {folder / PROCESSOR} says {preprocess.size}")
    elif mean is None or std is None:
        raise UsageError(
            f"{file}: without {PROCESSOR} beside it, set `mean` and `std` of its pixels, as in training, such as "
            f"{','.join(map(str, IMAGENET_MEAN))} and {','.join(map(str, IMAGENET_STD))}"
        )
    elif not (np.isfinite([*mean, *std]).all() and min(std) > 0):
        raise UsageError(f"`mean` {mean}, `std` {std}: give finite numbers, and `std` above 0")
    elif side := size or graph.side:
        preprocess = Preprocess(side, mean, std)
    else:
        raise UsageError(f"{file}: the graph takes images of any size; set `size`")
    return OnnxEncoder(graph, preprocess, graph.output(embedding), name, version, processor)


class OnnxEncoder:
    grid: tuple[int, int] | None = None

    def __init__(
        self, graph: "Graph", preprocess: Preprocess, output: str, name: str, version: str, processor: Any
    ) -> None:
        self.name, self.preprocess, self.weights_hash = name, preprocess, version
        self.size, self.mean, self.std = preprocess.size, preprocess.mean, preprocess.std
        self.embedding_name, self.embedding_definition = output, f"output {output} of the graph"
        self.device, self.precision, self.graph, self.processor = graph.device, graph.dtype, graph, processor
        if processor is not None:
            self.version, self.encode_images = version, self._encode_images
        self.dim = first_embedding(self)

    def __call__(self, views: Pixels | Sequence[Pixels]) -> EncoderOutput:
        if not isinstance(views, np.ndarray):
            return EncoderOutput(self._encode_images([Image.fromarray(view) for view in views]), None, None)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        pixels = views.astype(np.float32) * (1 / (255 * std)) - mean / std
        return EncoderOutput(self.graph.embed(pixels.transpose(0, 3, 1, 2), self.embedding_name), None, None)

    def _encode_images(self, images: Sequence[Image.Image]) -> Floats:
        pixels = self.processor(images=list(images), return_tensors="np")["pixel_values"]
        return self.graph.embed(np.asarray(pixels), self.embedding_name)


class Graph:
    def __init__(self, file: Path, device: str) -> None:
        self._file = file
        self.device, self._session = _session(file, device)
        entries = self._session.get_inputs()
        if len(entries) != 1:
            names = ", ".join(entry.name for entry in entries)
            raise UsageError(f"{file}: the graph takes {len(entries)} inputs ({names}); export the part for images")
        self._input, kind = entries[0].name, entries[0].type
        lengths = [length if isinstance(length, int) else None for length in entries[0].shape]
        if kind not in TYPES or len(lengths) != 4 or (lengths[3] or 0) > LARGEST_SIDE:
            words = f"it must be float [N, 3, S, S], S at most {LARGEST_SIDE:,}"
            raise UsageError(f"{file}: its input {self._input} is {kind} {entries[0].shape}; {words}")
        self.dtype, self._batch, self.side = TYPES[kind], lengths[0], lengths[3]

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self._file, self.device)

    def output(self, wanted: str | None) -> str:
        names = [entry.name for entry in self._session.get_outputs()]
        usual = [name for name in OUTPUTS if name in names] or (names if len(names) == 1 else [])
        if wanted not in (None, *names) or not (wanted or usual):
            lacking = f"the graph has no output {wanted!r}" if wanted else "no output has a usual name"
            raise UsageError(f"{self._file}: {lacking}; choose one by `embedding`: {', '.join(names)}")
        return wanted or usual[0]

    def embed(self, pixels: NDArray[Any], output: str) -> Floats:
        """Runs the graph on pixels `[B, 3, S, S]`; fills up a batch of fixed size."""
        size = self._batch or len(pixels)
        filled = np.zeros((-(-len(pixels) // size) * size, *pixels.shape[1:]), self.dtype)
        filled[: len(pixels)] = pixels
        parts = [self._session.run([output], {self._input: part})[0] for part in np.split(filled, len(filled) // size)]
        for part in parts:
            if part.ndim not in (2, 3) or len(part) != size:
                shape = f"{[*part.shape]} for {size} image{'s' * (size > 1)}"
                raise EmbedshiftError(f"{self._file}: its output {output} is {shape}; it must be [N, D] for N images")
        values: NDArray[Any] = np.concatenate(parts)[: len(pixels)].astype(np.float32)
        return values[:, 0] if values.ndim == 3 else values


def _session(file: Path, device: str) -> tuple[str, Any]:
    """Returns a device and a session on it; "auto" is CUDA if this onnxruntime supports it."""
    runtime = library("onnxruntime", "onnx")
    available = runtime.get_available_providers()
    kind, _, index = device.partition(":")
    if kind == "auto":
        kind = "cuda" if PROVIDERS["cuda"] in available else "cpu"
    provider = PROVIDERS.get(kind)
    if provider not in available or not (index or "0").isdigit():
        usable = ", ".join(kind for kind, provider in PROVIDERS.items() if provider in available)
        raise UsageError(f"device {device!r} cannot be used by this onnxruntime; it has {usable}")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # an error is raised too
    options.intra_op_num_threads = torch.get_num_threads()
    settings = {"device_id": int(index)} if index and kind == "cuda" else {}
    with refusing(f"{file}: onnxruntime cannot load it"):
        session = runtime.InferenceSession(str(file), options, providers=[(provider, settings)])
    if session.get_providers()[0] != provider:  # it would silently use the CPU
        raise UsageError(f"device {device!r}: onnxruntime cannot start {provider} here; use cpu")
    return f"{kind}:{index}" if settings else kind, session


def _find(path: Path) -> Path:
    if path.is_dir():
        check_folder(path)
        path = next((path / name for name in GRAPHS if (path / name).is_file()), path / "model.onnx")
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    return path


def _hash(file: Path) -> str:
    onnx = library("onnx", "onnx")
    with refusing(f"{file}: not an ONNX graph"):
        content = read_file(file, LARGEST)
        graph = onnx.load_model_from_string(content)
    digest, homes = hashlib.sha256(content), {file.parent.resolve(), file.resolve().parent}  # the Hub's cache has links
    for name in sorted(set(_external(graph, onnx.TensorProto))):
        path = (file.parent / name.replace("\0", " ")).resolve()
        if "\0" in name or not path.is_file() or not any(path.is_relative_to(home) for home in homes):
            raise EmbedshiftError(f"{file}: names data that is not a file of its folder ({name}); refused")
        with open_file(path) as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())  # type: ignore[arg-type]
    return digest.hexdigest()


def _external(message: Any, tensor: Any) -> Iterator[str]:
    if isinstance(message, tensor):
        yield from (entry.value for entry in message.external_data if entry.key == "location")
        return
    for _, value in message.ListFields():
        for part in [value] if hasattr(value, "ListFields") else value if hasattr(value, "MergeFrom") else ():
            if hasattr(part, "ListFields"):
                yield from _external(part, tensor)
