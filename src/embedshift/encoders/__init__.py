"""Encoders: the contract (`base`), the table of families, and the ways to load one. Importing this imports no torch."""

import importlib
from pathlib import Path

from embedshift.encoders.base import Encoder, EncoderOutput, Precision, Preprocess
from embedshift.encoders.families import FAMILIES
from embedshift.errors import EmbedshiftError
from embedshift.registry import Registry, unknown_name

__all__ = ["ENCODERS", "FAMILIES", "Encoder", "EncoderOutput", "Precision", "Preprocess", "load_encoder"]

# Name → "module:function(device, precision, size) -> Encoder", imported only when it is loaded.
ENCODERS: Registry[str] = Registry("encoder")
ENCODERS.add("dinov2-small-offline", "embedshift.encoders.bundled:load_bundled")


def load_encoder(
    model: str, *, device: str = "auto", precision: Precision = "float32", size: int | None = None
) -> Encoder:
    """Loads an encoder by its registered name, a Hugging Face Hub id, or a local folder.

    Args:
        model: "dinov2-small-offline", an id such as "openai/clip-vit-base-patch32", or a folder.
        device: "auto" = CUDA, else MPS, else CPU; or any torch device.
        precision: "float32", "bfloat16" or "float16".
        size: Input size in pixels; by default the checkpoint's own.

    Returns:
        An `Encoder`: call it with views uint8 `[B, S, S, 3]`.

    Raises:
        EmbedshiftError: one line that says what to do.

    Example:
        >>> load_encoder("dinov2-smal-offline")
        Traceback (most recent call last):
        embedshift.errors.EmbedshiftError: unknown model 'dinov2-smal-offline'; did you mean 'dinov2-small-offline'? ...
    """
    if model in ENCODERS:
        module, function = ENCODERS[model].split(":")
        loaded: Encoder = getattr(importlib.import_module(module), function)(
            device=device, precision=precision, size=size
        )
        return loaded
    if not Path(model).expanduser().is_dir():
        if model.startswith(("/", "./", "../", "~")):
            raise EmbedshiftError(f"{model}: no such folder", exit_code=2)
        if "/" not in model:
            names = dict.fromkeys([*ENCODERS])
            known = unknown_name("model", model, names)
            raise EmbedshiftError(f"{known}, a local folder, or a Hugging Face id (owner/name)", exit_code=2)
    from embedshift.encoders.huggingface import load_huggingface

    return load_huggingface(model, device=device, precision=precision, size=size)
