"""Depth and cause: the way of a shift through all blocks, and what happens when a head's output is put back."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.secant import pull_back
from embedshift.encoders.observations import Tower
from embedshift.encoders.written import WrittenAttention
from embedshift.errors import UsageError

# How far from 1 the terms of a route may add up; they are many, and cancel.
INEXACT = 1e-2


@dataclass(frozen=True)
class Route:
    """Where the shifts of P views come in; the terms add up to 1 for each view, and are NaN for one that did not move.

    Held at their means, all weights of attention pass a change on; what enters at a block is the change of its own.

    Args:
        patterns: `[P, L, H]`, of the changed weights of each head of each block.
        pooling: `[P]`, of those of a pooling head.
        input: `[P]`, of the tokens that the first block gets.
    """

    patterns: Tensor
    pooling: Tensor
    input: Tensor

    @property
    def total(self) -> Tensor:
        """The sum, `[P]`."""
        return self.patterns.sum(dim=(1, 2)) + self.pooling + self.input

    @property
    def absolute(self) -> Tensor:
        """The sum of the absolute terms of blocks and input, `[P]`: far above 1 where terms cancel."""
        return self.patterns.sum(dim=2).abs().sum(dim=1) + self.pooling.abs() + self.input.abs()


def route(anatomy: Anatomy, original: Tensor, views: Tensor) -> Route:
    """The way of the shifts of P views through the whole network, by its secants, in one backward pass.

    Args:
        anatomy: Of the encoder.
        original: Pixels of the original, float32 `[1, 3, S, S]` in [0, 255].
        views: Of P views, likewise.

    Raises:
        UsageError: without the encoder's name, where a block is made of other functions than have known secants.
    """
    count, depth = len(views), len(anatomy.layers)
    start, end = (_stream(anatomy, pixels, 0) for pixels in (original, views))
    pulled = pull_back(lambda tokens: anatomy.readout.from_block(0, tokens), start.expand(count, -1, -1), end)
    moved = pulled.moved
    found = Route(
        torch.stack(pulled.patterns[:depth], dim=1) * moved[:, None, None],
        pulled.pattern(depth) * moved,
        (pulled.weights * (end - start)).sum(dim=(1, 2)) * moved,
    )
    if ((found.total - 1).abs() > INEXACT * found.absolute).any():
        raise UsageError("has functions whose secants are not known; run without `heads_detail` route")
    return found


@torch.no_grad()
def put_back(anatomy: Anatomy, original: Tensor, view: Tensor) -> Tensor:
    """How much of a view's shift goes when one head of the last block gives what it gave for the original.

    Args:
        anatomy: Of the encoder.
        original: Pixels of the original, float32 `[1, 3, S, S]` in [0, 255].
        view: Of one view, likewise.

    Returns:
        `[H]`: 1 = all of 1 - cosine is gone; below 0 = there is more.
    """
    heads, last = anatomy.layers[-1].heads, len(anatomy.layers) - 1
    old, new = (_stream(anatomy, pixels, last) for pixels in (original, view))
    plain, patched = WrittenAttention(), _PutBack()
    with plain:
        before = anatomy.readout.from_block(last, torch.cat([old, new]))
    patched.outputs = plain.attended[0].outputs[:1]
    with patched:
        after = anatomy.readout.from_block(last, new.expand(heads, -1, -1))
    target, shifted = before[:1], 1 - functional.cosine_similarity(before[:1], before[1:])
    return 1 - (1 - functional.cosine_similarity(target, after)) / shifted


class _PutBack(WrittenAttention):
    """In the first attention of a pass of H like images, head h of image h gives what it gave for another one."""

    outputs: Tensor | None = None

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        outputs = weights @ values
        if not self.attended and self.outputs is not None:
            for head in range(outputs.shape[1]):
                outputs[head, head] = self.outputs[0, head]
        return outputs


@torch.no_grad()
def _stream(anatomy: Anatomy, pixels: Tensor, place: int) -> Tensor:
    """The tokens that block `place` gets for some images, `[B, T, D]`."""
    return tokens_before(anatomy.tower, anatomy.readout.blocks[place], pixels)


def tokens_before(tower: Tower, block: torch.nn.Module, pixels: Tensor) -> Tensor:
    """The tokens that a block gets for pixels `[B, 3, S, S]`."""
    kept: list[Tensor] = []

    def keep(_block: object, inputs: tuple[object, ...], more: dict[str, object]) -> None:
        kept.extend(each for each in (*inputs, *more.values()) if isinstance(each, Tensor))

    handle = block.register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with tower.taps.silent():
            tower.embed(pixels)
    finally:
        handle.remove()
    return kept[0]
