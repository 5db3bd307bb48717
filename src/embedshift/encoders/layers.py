"""What every block of an encoder gives, reduced while it runs to one or two vectors: class token and mean patch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from embedshift.encoders.attention import like_blocks
from embedshift.errors import EmbedshiftError

Grid = tuple[int, int]


class LayerTap:
    """Keeps, of the output `[B, N, W]` of each of L like blocks, the class token and the mean of the patch tokens.

    Args:
        tower: The module inside which the blocks run.
        has_cls: Whether the first token is a class token.
        grid: Told the number of tokens N, gives the patch grid `(g_h, g_w)`; the patches are the last `g_h * g_w`
            tokens, behind class and register tokens.

    Raises:
        EmbedshiftError: when the tower has no run of like blocks.

    Example:
        >>> tower = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        >>> tap = LayerTap(tower, has_cls=True, grid=lambda tokens: (2, 2))
        >>> _ = tower(torch.ones(3, 5, 8))
        >>> tap.take(3).shape
        torch.Size([3, 2, 2, 8])
    """

    def __init__(self, tower: nn.Module, *, has_cls: bool, grid: Callable[[int], Grid]) -> None:
        self.tokens: tuple[str, ...] = ("cls", "patches") if has_cls else ("patches",)
        self._grid = grid
        self._caught: list[Tensor] = []
        blocks = like_blocks(tower)
        if not blocks:
            raise _no_layers("no run of like blocks was found in it")
        self._handles = [blocks[0].register_forward_pre_hook(self._begin)]
        self._handles += [block.register_forward_hook(self._reduce) for block in blocks]
        self.depth = len(blocks)

    def take(self, count: int) -> Tensor:
        """What the last forward pass of `count` views gave, float32 `[B, L, T, W]`; T as `tokens` names them.

        Raises:
            EmbedshiftError: when a block did not run once, or its output is not `[B, N, W]`.
        """
        caught, self._caught = self._caught, []
        if len(caught) != self.depth:
            raise _no_layers(f"{len(caught)} outputs were seen of its {self.depth} blocks")
        if any(len(tokens) != count for tokens in caught):
            raise _no_layers(f"a block's output holds {len(caught[0])} of {count} views: it must be [B, tokens, width]")
        return torch.stack(caught, dim=1)

    def remove(self) -> None:
        """Takes the hooks off the blocks."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, *_: Any) -> None:
        self._caught = []  # a pass before this one may have ended halfway, out of memory

    def _reduce(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        if not isinstance(tokens, Tensor) or tokens.ndim != 3:
            raise _no_layers(f"a block's output is {shape}, not [B, tokens, width]")
        height, width = self._grid(tokens.shape[1])
        if height * width + len(self.tokens) - 1 > tokens.shape[1]:
            raise _no_layers(f"a block's output is {shape}, less than a {height} x {width} grid of patches")
        patches = tokens[:, tokens.shape[1] - height * width :].mean(dim=1, dtype=torch.float32)
        both = [tokens[:, 0].float(), patches] if len(self.tokens) == 2 else [patches]
        self._caught.append(torch.stack(both, dim=1))


def _no_layers(why: str) -> EmbedshiftError:
    return EmbedshiftError(f"gives no layers: {why}; run without --layers", exit_code=2)
