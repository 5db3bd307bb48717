"""Observations of a torch encoder, captured by hooks in its forward pass: `layers` and `rollout`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from embedshift.arrays import Floats
from embedshift.encoders.attention import AttentionHook
from embedshift.encoders.base import AttentionKind
from embedshift.encoders.hooks import BlockHooks
from embedshift.encoders.structure import like_blocks, tokens_of
from embedshift.errors import UsageError
from embedshift.registry import Registry


@dataclass(frozen=True)
class Tower:
    """The part of an encoder that sees the image.

    Args:
        module: The module that contains the blocks.
        has_cls: Whether the first token is a class token.
        grid: Number of tokens → patch grid `(g_h, g_w)`; the patches are the last of the tokens.
        on_grid: Weights of all tokens `[B, T]`, and B → those of the patches `[B, g_h, g_w]`; None if there is no grid.
        kind: Which query's attention weights are read.
        embed: The whole encoder by torch's own kernels: pixels float32 `[B, 3, S, S]` in [0, 255] → embedding `[B, D]`.
        size: Side S of the input in pixels.
        block_hooks: The hooks of its blocks.
    """

    module: nn.Module
    has_cls: bool
    grid: Callable[[int], tuple[int, int]]
    on_grid: Callable[[Tensor, int], Tensor | None] = lambda weights, count: weights
    kind: AttentionKind = "cls"
    embed: Callable[[Tensor], Tensor] = lambda pixels: pixels
    size: int = 0
    block_hooks: BlockHooks = field(default_factory=BlockHooks)


class Observation(Protocol):
    """Values of a tower captured by hooks while it runs."""

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the values of the last pass, float32 `[B, ...]`, B = `count`; UsageError without the encoder's name.

        `row` has the attention weights of `Tower.kind` over all tokens, `[B, T]`; None without attention.
        """

    def remove(self) -> None:
        """Removes the hooks."""


OBSERVATIONS: Registry[Callable[[Tower], Observation]] = Registry("observation")


class LayerObservation:
    """Captures the class token and the mean patch token of the output `[B, N, W]` of each of L similar blocks."""

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
        """Returns the values of the pass, float32 `[B, L, T, W]`: class token, if any, and mean patch."""
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
        """Removes the hooks."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, *_: Any) -> None:
        self._outputs = []  # the previous pass may have ended halfway, out of memory

    def _reduce(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = tokens_of(output)
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


OBSERVATIONS.add("layers", LayerObservation)


class RolloutObservation:
    """Multiplies the attention of all similar blocks: `R_l = rows((A_l + I) / 2) R_{l-1}`, with `R_0 = I`."""

    def __init__(self, tower: Tower) -> None:
        blocks = like_blocks(tower.module)
        if not blocks:
            raise _no_rollout("it has no sequence of similar blocks")
        self._tower = tower
        self._rolled: Tensor | None = None
        self._passed = 0
        self._begins = blocks[0].register_forward_pre_hook(self._begin)
        self._hooks = [_RolloutRows(block, self._fold, tower.block_hooks) for block in blocks]

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the weight of every patch for the query, float32 `[B, g_h, g_w]`."""
        maps = self._tower.on_grid(self._read(row), count)
        if maps is None:
            raise _no_rollout("its attention runs inside windows, not from all tokens to all")
        rolled: Floats = maps.cpu().numpy()
        return rolled

    def _read(self, pooling: Tensor | None) -> Tensor:
        kind, rolled, passed = self._tower.kind, self._rolled, self._passed
        self._rolled, self._passed = None, 0
        if rolled is None or passed != len(self._hooks):
            raise _no_rollout(f"{passed} layers of attention were recorded for its {len(self._hooks)} blocks")
        if kind != "pool":
            return rolled[:, 0] if kind == "cls" else rolled.mean(dim=1)
        if pooling is None or pooling.shape != rolled.shape[:2]:
            raise _no_rollout("its pooling head does not weigh the tokens of its last layer")
        return torch.einsum("bt,bts->bs", pooling, rolled)

    def remove(self) -> None:
        """Removes the hooks."""
        self._begins.remove()
        for hook in self._hooks:
            hook.remove()

    def _begin(self, *_: Any) -> None:
        self._rolled, self._passed = None, 0  # the previous pass may have ended halfway, out of memory

    def _fold(self, weights: Tensor | None) -> None:
        if weights is None:
            raise _no_rollout(f"no attention runs inside its block {self._passed + 1}")
        if weights.shape[1] != weights.shape[2] or (self._rolled is not None and weights.shape != self._rolled.shape):
            raise _no_rollout("its layers do not attend from the same tokens to the same tokens")
        with torch.autocast(weights.device.type, enabled=False):
            mixed = weights + torch.eye(weights.shape[1], device=weights.device)
            mixed /= mixed.sum(dim=-1, keepdim=True)
            self._rolled = mixed if self._rolled is None else mixed @ self._rolled
        self._passed += 1


class _RolloutRows(AttentionHook):
    """Captures all rows of one block and returns them when the block ends."""

    def __init__(self, block: nn.Module, fold: Callable[[Tensor | None], None], block_hooks: BlockHooks) -> None:
        super().__init__(block, rows="all", block_hooks=block_hooks)
        self._fold = fold

    def end(self, output: Any) -> None:
        super().end(output)
        if output is not None:
            self._fold(self.take())


def _no_rollout(why: str) -> UsageError:
    return UsageError(f"gives no rollout: {why}; run without rollout metrics")


OBSERVATIONS.add("rollout", RolloutObservation)
