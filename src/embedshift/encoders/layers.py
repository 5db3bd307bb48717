"""The observation `layers`: the output of every block, reduced during the pass to class token and mean patch."""

from typing import Any

import torch
from torch import Tensor, nn

from embedshift.arrays import Floats
from embedshift.encoders.observations import OBSERVATIONS, Tower
from embedshift.encoders.structure import like_blocks
from embedshift.errors import UsageError


class LayerTap:
    """Keeps the class token and the mean patch token of the output `[B, N, W]` of each of L similar blocks."""

    def __init__(self, tower: Tower) -> None:
        self._has_cls, self._grid = tower.has_cls, tower.grid
        self._outputs: list[Tensor] = []
        blocks = like_blocks(tower.module)
        if not blocks:
            raise _no_layers("it has no sequence of similar blocks")
        self._handles = [blocks[0].register_forward_pre_hook(self._begin)]
        self._handles += [block.register_forward_hook(self._reduce) for block in blocks]
        self.depth = len(blocks)

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the values of the pass, float32 `[B, L, T, W]`: class token, if there is one, and mean patch."""
        outputs, self._outputs = self._outputs, []
        if len(outputs) != self.depth:
            raise _no_layers(f"{len(outputs)} outputs were recorded for its {self.depth} blocks")
        if any(len(tokens) != count for tokens in outputs):
            raise _no_layers(
                f"a block's output contains {len(outputs[0])} of {count} views: it must be [B, tokens, width]"
            )
        layers: Floats = torch.stack(outputs, dim=1).cpu().numpy()
        return layers

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _begin(self, *_: Any) -> None:
        self._outputs = []  # a pass before this one may have ended halfway, out of memory

    def _reduce(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        shape = tuple(tokens.shape) if isinstance(tokens, Tensor) else type(tokens).__name__
        if not isinstance(tokens, Tensor) or tokens.ndim != 3:
            raise _no_layers(f"a block's output is {shape}, not [B, tokens, width]")
        height, width = self._grid(tokens.shape[1])
        if height * width + self._has_cls > tokens.shape[1]:
            raise _no_layers(f"a block's output is {shape}, less than a {height} x {width} grid of patches")
        patches = tokens[:, tokens.shape[1] - height * width :].mean(dim=1, dtype=torch.float32)
        reduced = [tokens[:, 0].float(), patches] if self._has_cls else [patches]
        # A pass with gradients would be held in memory as a whole.
        self._outputs.append(torch.stack(reduced, dim=1).detach())


def _no_layers(why: str) -> UsageError:
    return UsageError(f"gives no layers: {why}; run without `layers`")


OBSERVATIONS.add("layers", LayerTap)
