"""Attention rolled out through all layers of an encoder, while they run (Abnar and Zuidema 2020)."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from embedshift.encoders.attention import AttentionTap, like_blocks
from embedshift.encoders.base import AttentionKind
from embedshift.errors import EmbedshiftError


class RolloutTap:
    """Multiplies the attention of all like blocks: `R_l = rows((A_l + I) / 2) R_{l-1}`, with `R_0 = I`.

    A is the mean over heads, I stands for the residual connection, and rows are brought to a sum of 1.

    Args:
        tower: The module inside which the blocks run.

    Raises:
        EmbedshiftError: when the tower has no run of like blocks.

    Example:
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        >>> tower = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        >>> tap = RolloutTap(tower)
        >>> with torch.inference_mode():
        ...     _ = tower(torch.ones(2, 5, 8))
        >>> tap.take("cls", None).sum(dim=1).round(decimals=5).tolist()
        [1.0, 1.0]
    """

    def __init__(self, tower: nn.Module) -> None:
        blocks = like_blocks(tower)
        if not blocks:
            raise _no_rollout("no run of like blocks was found in it")
        self._rolled: Tensor | None = None
        self._passed = 0
        self._taps = [AttentionTap(block, rows="all") for block in blocks]
        self._handles = [blocks[0].register_forward_pre_hook(self._begin)]
        for block, tap in zip(blocks, self._taps, strict=True):
            self._handles.append(block.register_forward_hook(functools.partial(self._fold, tap)))

    def take(self, kind: AttentionKind, pooling: Tensor | None) -> Tensor:
        """How much of every token of the first layer's input reaches what is read, float32 `[B, T]`, of the last pass.

        Args:
            kind: "cls" = the first token's row, "mean" = the mean of all rows, "pool" = the mean by `pooling`.
            pooling: The pooling head's weights `[B, T]`.

        Raises:
            EmbedshiftError: when a block did not run once, or the head pools other tokens than the blocks give.
        """
        rolled, passed = self._rolled, self._passed
        self._rolled, self._passed = None, 0
        if rolled is None or passed != len(self._taps):
            raise _no_rollout(f"{passed} layers of attention were seen of its {len(self._taps)} blocks")
        if kind != "pool":
            return rolled[:, 0] if kind == "cls" else rolled.mean(dim=1)
        if pooling is None or pooling.shape != rolled.shape[:2]:
            raise _no_rollout("its pooling head does not weigh the tokens of its last layer")
        return torch.einsum("bt,bts->bs", pooling, rolled)

    def remove(self) -> None:
        """Takes the hooks off the blocks."""
        for handle in self._handles:
            handle.remove()
        for tap in self._taps:
            tap.remove()

    def _begin(self, *_: Any) -> None:
        self._rolled, self._passed = None, 0  # a pass before this one may have ended halfway, out of memory

    def _fold(self, tap: AttentionTap, _block: nn.Module, _inputs: Any, _output: Any) -> None:
        weights = tap.take()
        if weights is None:
            raise _no_rollout(f"no attention runs inside its block {self._passed + 1}")
        if weights.shape[1] != weights.shape[2] or (self._rolled is not None and weights.shape != self._rolled.shape):
            raise _no_rollout("its layers do not attend from the same tokens to the same tokens")
        with torch.autocast(weights.device.type, enabled=False):
            mixed = weights + torch.eye(weights.shape[1], device=weights.device)
            mixed /= mixed.sum(dim=-1, keepdim=True)
            self._rolled = mixed if self._rolled is None else mixed @ self._rolled
        self._passed += 1


def _no_rollout(why: str) -> EmbedshiftError:
    return EmbedshiftError(f"gives no rollout: {why}; run without rollout metrics", exit_code=2)
