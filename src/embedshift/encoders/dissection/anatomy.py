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
            self.layers = [_layer(each, place) for place, each in enumerate(listeners, start=1)]

    @property
    def heads(self) -> int:
        """The number of heads H of each block; all blocks have the same."""
        return self.layers[0].heads


@contextmanager
def listening(taps: Taps, readout: Readout, listeners: Sequence[BlockParts]) -> Iterator[None]:
    """Inside the context each listener gets the calls of its block."""
    stops = [taps.listen(block, each) for block, each in zip(readout.blocks, listeners, strict=True)]
    try:
        yield
    finally:
        for stop in stops:
            stop()


def _layer(heard: BlockParts, place: int) -> Layer:
    """Derives a block's layer from its calls; refuses a block whose structure does not allow the split."""
    merged, pre_norm = heard.merged, heard.pre_norm
    parts = heard.take()
    if parts is None or heard.weight is None or merged is None or not heard.count:
        raise UsageError(f"has no attention and feed-forward network of a supported kind in block {place}")
    if not pre_norm:
        raise UsageError(f"has layer norms after its attention, not before it, in block {place}")
    if merged.shape != parts.heads.shape or not _alike(merged, parts.heads):
        raise UsageError(f"changes the outputs of its heads before it projects them, in block {place}")
    scale = _scale(parts, heard.weight, heard.bias, place)
    return Layer(heard.count, heard.weight.detach(), scale)


def _scale(parts: Parts, weight: Tensor, bias: Tensor | None, place: int) -> Tensor:
    """Returns, by regression, the factor per channel of the attention before it is added to the stream."""
    added = (parts.between - parts.before).double()
    projected = functional.linear(parts.heads, weight, bias).double()
    scale = (added * projected).sum(dim=(0, 1)) / projected.square().sum(dim=(0, 1))
    if (scale - 1).abs().max() < ROUNDING:
        scale = torch.ones_like(scale)
    if not _alike(added, scale * projected):
        raise UsageError(f"does not add its attention to the residual stream, in block {place}")
    return scale.to(weight.dtype)


def _alike(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= ROUNDING * a.abs().max())
