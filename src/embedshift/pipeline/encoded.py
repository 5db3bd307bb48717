"""Runs one forward pass and checks its output, because the encoder may be anybody's."""

from collections.abc import Callable
from typing import Any

import numpy as np

from embedshift.arrays import Floats, Pixels
from embedshift.encoders.base import Encoder, EncoderOutput, Pipelined
from embedshift.errors import EmbedshiftError, foreign_code


@foreign_code()
def encode_views(encoder: Encoder, views: Pixels) -> EncoderOutput:
    """Returns the encoder's output for views uint8 `[B, S, S, 3]`, as float32."""
    return _checked(encoder(views), encoder, len(views))


def begin_views(encoder: Encoder, views: Pixels) -> Callable[[], EncoderOutput]:
    """Starts a pass; the returned function waits for its output. An encoder that is not `Pipelined` runs at once."""
    if not isinstance(encoder, Pipelined):
        output = encode_views(encoder, views)
        return lambda: output
    with foreign_code():
        finish = encoder.begin(views)
    return foreign_code()(lambda: _checked(finish(), encoder, len(views)))


def unusable(output: EncoderOutput) -> str | None:
    """Returns why nothing can be measured for some views; None if everything can."""
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
        returned = "no attention" if output.attention is None else "attention"
        raise EmbedshiftError(f"it returned {returned}, and its `grid` is {encoder.grid}")
    shapes = {"embedding": (encoder.dim,), "attention": tuple(encoder.grid or ())}
    floats = {name: _floats(name, array, count, shapes.get(name)) for name, array in arrays.items()}
    return EncoderOutput(
        floats["embedding"], floats.get("attention"), output.attention_kind, {name: floats[name] for name in observed}
    )


def _floats(name: str, array: Any, count: int, shape: tuple[int, ...] | None) -> Floats:
    """Returns a copy as float32 in C order, on which sums depend by rounding; refuses another shape or type."""
    numbers = np.asarray(array)
    expected = (count, *(numbers.shape[1:] if shape is None else shape))
    if numbers.shape != expected or numbers.dtype.kind not in "fiu":
        raise EmbedshiftError(f"its {name} is {numbers.dtype} {numbers.shape}; it must be float32 {expected}")
    return np.array(numbers, np.float32, order="C")  # an encoder may fill one array again and again
