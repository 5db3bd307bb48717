"""Encoders that a caller gives: modules of torch, and objects in place of names."""

from collections.abc import Mapping
from typing import Any

from embedshift.encoders import Encoder
from embedshift.encoders.images import ImageEncoder, ViewEncoder
from embedshift.errors import UsageError


def wrap(module: Any, **settings: Any) -> Encoder:
    """Makes an encoder from a torch module.

    Args:
        module: A `torch.nn.Module` that maps normalised pixels float `[B, 3, size, size]` to embeddings `[B, D]`.
        **settings: Arguments of `embedshift.encoders.wrap.wrap`; `size`, `mean` and `std` are required.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Raises:
        UsageError: The module has no part with the name `attention`.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear").dim
        4
    """
    from embedshift.encoders.wrap import wrap as wrap_module

    encoder: Encoder = wrap_module(module, **settings)
    return encoder


def encoder_object(model: str | Encoder | ImageEncoder, settings: Mapping[str, Any]) -> Encoder | None:
    """Returns `model` where it is an encoder object, and None where it is a name."""
    if isinstance(model, str):
        return None
    if isinstance(model, ImageEncoder) and not isinstance(model, Encoder):
        model = ViewEncoder(model)
    if not isinstance(model, Encoder):
        raise UsageError(
            f"model: {type(model).__name__} is not an encoder; give a name, embedshift.wrap(module, ...) or "
            "embedshift.image_encoder(function, ...)"
        )
    for name in settings:
        raise UsageError(f"{name}: {model.name} is already loaded; set it when you load the encoder")
    return model
