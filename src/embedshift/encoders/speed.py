"""What makes a forward pass faster and leaves its output as it is: weights cast once, a shortcut, compilation."""

from collections.abc import Callable
from typing import Any

import torch
import torch._inductor.config
from torch import Tensor, nn

FEED_FORWARD = ("mlp", "ffn", "feed_forward")


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Casts the weights of matrix products and convolutions once; autocast would do it again at every pass.

    Example:
        >>> layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
        >>> cast_weights(layer, torch.bfloat16)
        >>> [weight.dtype for weight in layer.parameters()][1:3]
        [torch.bfloat16, torch.float32]
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            part.to(dtype)


class ClassTokenShortcut:
    """Spares the feed-forward network of the last block all tokens but the first, while it is entered.

    After the attention of the last block nothing mixes the tokens any more: where only the class token is read, the
    others need not be computed. The sum with the residual broadcasts, so that the other tokens then hold nonsense.
    Whether an encoder reads none of them is for the caller to try.

    Args:
        block: The last block, its feed-forward network called by one of the usual names.

    Example:
        >>> block = nn.ModuleDict({"mlp": nn.Identity()})
        >>> shortcut = ClassTokenShortcut(block)
        >>> with shortcut:
        ...     block["mlp"](torch.ones(2, 5, 8)).shape
        torch.Size([2, 1, 8])
    """

    def __init__(self, block: nn.Module) -> None:
        self.on = False
        found = [part for name, part in block.named_children() if name in FEED_FORWARD]
        self._handles = [part.register_forward_pre_hook(self._first) for part in found]

    def __bool__(self) -> bool:
        return bool(self._handles)

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False

    def remove(self) -> None:
        """Takes the hooks off the block."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _first(self, _part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self.on or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 3:
            return None
        return (inputs[0][:, :1], *inputs[1:])


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function compiled by torch's inductor for inputs of one shape, the weights frozen into it."""
    run = torch.compile(function, dynamic=False)

    def frozen(*inputs: Any) -> Tensor:
        # Around every call, since the first one traces: by then weights must be known to be constants.
        with torch._inductor.config.patch(freezing=True):
            return run(*inputs)

    return frozen
