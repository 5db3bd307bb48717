"""The observation `rollout`: attention rolled out through all layers during the pass (Abnar and Zuidema 2020)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from embedshift.arrays import Floats
from embedshift.encoders.attention import AttentionTap
from embedshift.encoders.observations import OBSERVATIONS, Tower
from embedshift.encoders.structure import like_blocks
from embedshift.encoders.taps import Taps
from embedshift.errors import UsageError


class RolloutTap:
    """Multiplies the attention of all similar blocks: `R_l = rows((A_l + I) / 2) R_{l-1}`, with `R_0 = I`."""

    def __init__(self, tower: Tower) -> None:
        blocks = like_blocks(tower.module)
        if not blocks:
            raise _no_rollout("it has no sequence of similar blocks")
        self._tower = tower
        self._rolled: Tensor | None = None
        self._passed = 0
        self._begins = blocks[0].register_forward_pre_hook(self._begin)
        self._taps = [_BlockTap(block, self._fold, tower.taps) for block in blocks]

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns how much of every patch reaches the query, float32 `[B, g_h, g_w]`."""
        maps = self._tower.on_grid(self._read(row), count)
        if maps is None:
            raise _no_rollout("its attention runs inside windows, not from all tokens to all")
        rolled: Floats = maps.cpu().numpy()
        return rolled

    def _read(self, pooling: Tensor | None) -> Tensor:
        kind, rolled, passed = self._tower.kind, self._rolled, self._passed
        self._rolled, self._passed = None, 0
        if rolled is None or passed != len(self._taps):
            raise _no_rollout(f"{passed} layers of attention were recorded for its {len(self._taps)} blocks")
        if kind != "pool":
            return rolled[:, 0] if kind == "cls" else rolled.mean(dim=1)
        if pooling is None or pooling.shape != rolled.shape[:2]:
            raise _no_rollout("its pooling head does not weigh the tokens of its last layer")
        return torch.einsum("bt,bts->bs", pooling, rolled)

    def remove(self) -> None:
        self._begins.remove()
        for tap in self._taps:
            tap.remove()

    def _begin(self, *_: Any) -> None:
        self._rolled, self._passed = None, 0  # a pass before this one may have ended halfway, out of memory

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


class _BlockTap(AttentionTap):
    """Captures all rows of one block and passes them on when the block ends."""

    def __init__(self, block: nn.Module, fold: Callable[[Tensor | None], None], taps: Taps) -> None:
        super().__init__(block, rows="all", taps=taps)
        self._fold = fold

    def end(self, output: Any) -> None:
        super().end(output)
        if output is not None:
            self._fold(self.take())


def _no_rollout(why: str) -> UsageError:
    return UsageError(f"gives no rollout: {why}; run without rollout metrics")


OBSERVATIONS.add("rollout", RolloutTap)
