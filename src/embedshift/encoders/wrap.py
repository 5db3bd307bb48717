"""The user's own torch module as an encoder."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.family import Embedding
from embedshift.encoders.module import Embed, ModuleEncoder
from embedshift.errors import UsageError
from embedshift.registry import fingerprint


class ReadingEncoder(ModuleEncoder):
    """One that reads texts too, by the user's own function."""

    encode_text: Callable[[Sequence[str]], Any]


def wrap(
    module: nn.Module,
    *,
    size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    name: str | None = None,
    embed: Embed | None = None,
    attention: str | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    encode_text: Callable[[Sequence[str]], Any] | None = None,
) -> ModuleEncoder:
    """The user's own torch module as an encoder.

    Args:
        module: Takes float `[B, 3, size, size]`, normalised, and gives the embedding `[B, D]`. It is put into eval
            mode, moved to the device, and gets forward hooks.
        size: Side of its square input, in pixels.
        mean: Per channel, of values in [0, 1].
        std: Per channel, of values in [0, 1].
        name: What tables and reports call it; by default the class's name.
        embed: `(module, pixels) -> [B, D]`, where the module's output is not the embedding itself.
        attention: Path of the block inside which the last attention runs ("blocks.11.attn"); by default it is found.
        device: As `ModuleEncoder`.
        precision: As `ModuleEncoder`.
        encode_text: `(texts) -> [N, D]`, for `text` and `labels`: vectors in the space of the embedding.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Example:
        >>> import numpy
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> encoder = wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear")
        >>> encoder(numpy.zeros((2, 8, 8, 3), numpy.uint8)).embedding.shape
        (2, 4)
    """
    try:
        block = None if attention is None else module.get_submodule(attention)
    except AttributeError as error:
        raise UsageError(f"wrap: the module has no part {attention!r}") from error
    encoder = (ModuleEncoder if encode_text is None else ReadingEncoder)(
        module,
        embed or _output,
        Preprocess(size, mean, std),
        name or type(module).__name__,
        device=device,
        precision=precision,
        attention=block,
        embedding=_own_reading(embed, attention),
        shared=True,
    )
    if isinstance(encoder, ReadingEncoder) and encode_text is not None:
        encoder.encode_text = encode_text
    return encoder


def _own_reading(embed: Embed | None, attention: str | None) -> Embedding | None:
    """What tells two ways to read one module apart: weights alone do not, and a study must not mix them."""
    if embed is None and attention is None:
        return None
    name = fingerprint(embed, f"{attention}|")
    return Embedding(name, "image", "as the user's own function reads it" if embed else "the module's output")


def _output(module: nn.Module, pixels: Tensor) -> Tensor:
    output = module(pixels)
    if not isinstance(output, Tensor):
        raise TypeError(f"the module returns {type(output).__name__}, not a tensor: give wrap an `embed` function")
    return output
