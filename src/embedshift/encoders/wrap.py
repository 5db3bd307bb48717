"""`wrap`: makes an encoder from the user's own torch module."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.family import Embedding
from embedshift.encoders.module import Embed, ModuleEncoder
from embedshift.errors import UsageError
from embedshift.registry import fingerprint


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
    """Makes an encoder from a torch module.

    Args:
        module: Maps normalised pixels float `[B, 3, size, size]` to embeddings `[B, D]`. It is moved to the
            device, gets forward hooks, and is in eval mode while it encodes.
        size: Side of its square input, in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
        name: Name in tables and reports; None = the name of the module's class.
        embed: `(module, pixels) -> [B, D]`, if the module's output is not the embedding itself.
        attention: Path of the block that runs the last attention ("blocks.11.attn"); None = it is found by structure.
        device: "auto" = CUDA, else MPS, else CPU; or any torch device.
        precision: "float32", "bfloat16", "float16", or "auto" = the fastest whose embeddings are close to float32.
        encode_text: `(texts) -> [N, D]`, for the settings `text` and `labels`: vectors in the space of the embedding.

    Returns:
        An encoder for `embedshift.run(model=...)`.

    Raises:
        UsageError: The module has no part with the name `attention`.
        EmbedshiftError: The module cannot encode one image of the input size.

    Example:
        >>> import numpy
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
        >>> encoder = wrap(net, size=8, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), name="linear")
        >>> encoder(numpy.zeros((2, 8, 8, 3), numpy.uint8)).embedding.shape
        (2, 4)
    """
    title = name or type(module).__name__
    if not isinstance(module, nn.Module):
        raise UsageError(f"wrap: give a torch.nn.Module, not {title}")
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise UsageError(f"{title}: it is on the device meta, without weights; load its weights first")
    try:
        block = None if attention is None else module.get_submodule(attention)
    except AttributeError as error:
        raise UsageError(f"wrap: the module has no part {attention!r}") from error
    encoder: Any = ModuleEncoder(
        module,
        embed or _output,
        Preprocess.of_user(title, size, mean, std),
        title,
        device=device,
        precision=precision,
        attention=block,
        embedding=_own_reading(embed, attention),
        shared=True,
    )
    if encode_text is not None:
        encoder.encode_text = encode_text
    return encoder  # type: ignore[no-any-return]


def _own_reading(embed: Embed | None, attention: str | None) -> Embedding | None:
    """Describes how the module is read: weights alone do not identify it, and a study must not mix two readings."""
    if embed is None and attention is None:
        return None
    name = fingerprint(embed, f"{attention}|")
    return Embedding(name, "image", "as the user's own function reads it" if embed else "the module's output")


def _output(module: nn.Module, pixels: Tensor) -> Tensor:
    output = module(pixels)
    if not isinstance(output, Tensor):
        raise TypeError(f"the module returns {type(output).__name__}, not a tensor: give wrap an `embed` function")
    return output
