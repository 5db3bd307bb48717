"""One forward pass, and a check of what the encoder gave: anybody's encoder may be behind it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, Pipelined
from embedshift.errors import EmbedshiftError


def encode_views(encoder: Encoder, views: Pixels) -> EncoderOutput:
    """What the encoder gives for views uint8 `[B, S, S, 3]`, as float32.

    Raises:
        EmbedshiftError: when this is no `EncoderOutput`, or one of other shapes than the encoder says.
    """
    return _checked(encoder(views), encoder, len(views))


def begin_views(encoder: Encoder, views: Pixels) -> Callable[[], EncoderOutput]:
    """Begins a pass; what is returned waits for its output. An encoder that is not `Pipelined` ends it at once.

    Raises:
        EmbedshiftError: as `encode_views`, here or where the output is waited for.
    """
    if not isinstance(encoder, Pipelined):
        output = encode_views(encoder, views)
        return lambda: output
    finish = encoder.begin(views)
    return lambda: _checked(finish(), encoder, len(views))


def unusable(output: EncoderOutput) -> str | None:
    """Why nothing can be measured of some views; None where all is well.

    Example:
        >>> unusable(EncoderOutput(np.zeros((2, 8), np.float32), None, None))
        "the encoder's embedding is a zero vector, which has no direction"
    """
    for name, array in output.arrays().items():
        if not np.isfinite(array).all():
            return f"the encoder's {name} contains values that are not finite"
    if not output.embedding.any(axis=1).all():
        return "the encoder's embedding is a zero vector, which has no direction"
    return None


def _checked(output: Any, encoder: Encoder, count: int) -> EncoderOutput:
    if not isinstance(output, EncoderOutput):
        raise EmbedshiftError(f"it returned {type(output).__name__}, not an EncoderOutput")
    arrays, observed = output.arrays(), output.observed
    if (output.attention is None) != (encoder.grid is None):
        given = "no attention" if output.attention is None else "attention"
        raise EmbedshiftError(f"it returned {given}, and its `grid` is {encoder.grid}")
    shapes = {"embedding": (encoder.dim,), "attention": tuple(encoder.grid or ())}
    found = {name: _floats(name, array, count, shapes.get(name)) for name, array in arrays.items()}
    return EncoderOutput(
        found["embedding"], found.get("attention"), output.attention_kind, {name: found[name] for name in observed}
    )


def _floats(name: str, array: Any, count: int, shape: tuple[int, ...] | None) -> Floats:
    """An array as float32; refuses one that does not hold one part per view, or parts of another shape."""
    given = np.asarray(array)
    whole = (count, *(given.shape[1:] if shape is None else shape))
    if given.shape != whole or given.dtype.kind not in "fiu":
        raise EmbedshiftError(f"its {name} is {given.dtype} {given.shape}; it must be float32 {whole}")
    return np.asarray(given, np.float32)
