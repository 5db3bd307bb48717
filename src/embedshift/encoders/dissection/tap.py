"""The observation `heads`: what each block's parts add to the single token from which an embedding is read.

It comes with the study's own pass, at almost no cost. If all tokens are read, it would take megabytes per view; then
nothing is kept here, and a separate pass computes the parts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from embedshift.arrays import Floats
from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.contributions import check_exact
from embedshift.encoders.dissection.parts import BlockParts, Parts
from embedshift.encoders.observations import OBSERVATIONS, Tower
from embedshift.errors import UsageError


class HeadsTap:
    """Keeps `[B, F]`: for every block, concatenated, the four vectors of `Parts` at the first token."""

    def __init__(self, tower: Tower) -> None:
        try:
            self.anatomy = Anatomy(tower)
            check_exact(self.anatomy)
        except UsageError as error:
            raise UsageError(f"{error}; run without `heads`") from error
        first = self.anatomy.readout.first_only
        self._listeners = [BlockParts(first=True) for _ in self.anatomy.layers] if first else []
        pairs = zip(self.anatomy.readout.blocks, self._listeners, strict=False)
        self._stops = [tower.taps.listen(block, listener) for block, listener in pairs]

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the values of the pass, float32 `[B, F]`; `[B, 0]` if the embedding is read from several tokens."""
        parts_by_block = [listener.take() for listener in self._listeners]
        if not parts_by_block:
            return torch.zeros(count, 0).numpy()
        packed: Floats = torch.cat([_pack(parts) for parts in parts_by_block if parts is not None], dim=1).cpu().numpy()
        return packed

    def remove(self) -> None:
        for stop in self._stops:
            stop()


def _pack(parts: Parts) -> Tensor:
    return torch.cat([parts.before, parts.heads, parts.between, parts.after], dim=2)[:, 0]


def unpack(anatomy: Anatomy, packed: Tensor) -> Sequence[Parts]:
    """Returns the parts of every block from what `HeadsTap` kept for B views, `[B, F]`."""
    parts_by_block: list[Parts] = []
    start = 0
    for layer in anatomy.layers:
        stream, merged = layer.weight.shape
        sizes = [stream, merged, stream, stream]
        row = packed[:, None, start : start + sum(sizes)]
        parts_by_block.append(Parts(*torch.split(row, sizes, dim=2)))
        start += sum(sizes)
    return parts_by_block


OBSERVATIONS.add("heads", HeadsTap)
