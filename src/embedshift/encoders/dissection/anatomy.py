"""The anatomy of an encoder: the projections of its heads, block by block, and its readout."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.encoders.dissection.parts import BlockParts, Parts
from embedshift.encoders.dissection.readout import Readout, noise
from embedshift.encoders.observations import Tower
from embedshift.encoders.taps import Taps
from embedshift.errors import UsageError

# The largest difference from the output of a block of the known kind, as a fraction of the largest value.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Layer:
    """How the heads of one block reach the residual stream."""

    heads: int
    weight: Tensor
    scale: Tensor


class Anatomy:
    """The blocks and the readout of a tower, found by running it on two images of noise."""

    def __init__(self, tower: Tower) -> None:
        self.tower = tower
        self.readout = Readout(tower)
        listeners = [BlockParts(first=False) for _ in self.readout.blocks]
        with listening(tower.taps, self.readout, listeners), torch.no_grad():
            tower.embed(noise(2, tower.size))
            self.layers = [_layer(parts, number) for number, parts in enumerate(listeners, start=1)]

    @property
    def heads(self) -> int:
        """The number of heads H of each block; all blocks have the same."""
        return self.layers[0].heads


@contextmanager
def listening(taps: Taps, readout: Readout, listeners: Sequence[BlockParts]) -> Iterator[None]:
    stops = [taps.listen(block, listener) for block, listener in zip(readout.blocks, listeners, strict=True)]
    try:
        yield
    finally:
        for stop in stops:
            stop()


def _layer(recorded: BlockParts, number: int) -> Layer:
    """Derives a block's layer from its calls; refuses a block whose structure does not allow the split."""
    merged, pre_norm = recorded.merged, recorded.pre_norm
    parts = recorded.take()
    if parts is None or recorded.weight is None or merged is None or not recorded.count:
        raise UsageError(f"has no attention and feed-forward network of a supported kind in block {number}")
    if not pre_norm:
        raise UsageError(f"has layer norms after its attention, not before it, in block {number}")
    if merged.shape != parts.heads.shape or not _alike(merged, parts.heads):
        raise UsageError(f"changes the outputs of its heads before it projects them, in block {number}")
    scale = _scale(parts, recorded.weight, recorded.bias, number)
    return Layer(recorded.count, recorded.weight.detach(), scale)


def _scale(parts: Parts, weight: Tensor, bias: Tensor | None, number: int) -> Tensor:
    added = (parts.between - parts.before).double()
    projected = functional.linear(parts.heads, weight, bias).double()
    scale = (added * projected).sum(dim=(0, 1)) / projected.square().sum(dim=(0, 1))
    if (scale - 1).abs().max() < ROUNDING:
        scale = torch.ones_like(scale)
    if not _alike(added, scale * projected):
        raise UsageError(f"does not add its attention to the residual stream, in block {number}")
    return scale.to(weight.dtype)


def _alike(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= ROUNDING * a.abs().max())
