"""The route of a shift through all blocks, and the effect of restoring one head's output."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.encoders.dissection.anatomy import Anatomy
from embedshift.encoders.dissection.secant import pull_back
from embedshift.encoders.observations import Tower
from embedshift.encoders.written import AttentionInterceptor
from embedshift.errors import UsageError

# How far from 1 the terms of a route may add up; they are many, and cancel.
INEXACT = 1e-2


@dataclass(frozen=True)
class Route:
    """Where the shifts of P views enter. The terms add up to 1 for each view, and are NaN for one that did not move."""

    patterns: Tensor
    pooling: Tensor
    input: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of all terms, `[P]`."""
        return self.patterns.sum(dim=(1, 2)) + self.pooling + self.input

    @property
    def absolute(self) -> Tensor:
        """The sum of the absolute terms of blocks and input, `[P]`; far above 1 if terms cancel."""
        return self.patterns.sum(dim=2).abs().sum(dim=1) + self.pooling.abs() + self.input.abs()


def route(anatomy: Anatomy, original: Tensor, views: Tensor) -> Route:
    """Returns the route of the shifts of P views through the whole network, by its secants, in one backward pass."""
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
    """Returns how much of a view's shift vanishes when one head of the last block gives its output for the original."""
    heads, last = anatomy.layers[-1].heads, len(anatomy.layers) - 1
    old, new = (_stream(anatomy, pixels, last) for pixels in (original, view))
    plain, patched = AttentionInterceptor(), _PutBack()
    with plain:
        before = anatomy.readout.from_block(last, torch.cat([old, new]))
    patched.outputs = plain.attended[0].outputs[:1]
    with patched:
        after = anatomy.readout.from_block(last, new.expand(heads, -1, -1))
    target, shifted = before[:1], 1 - functional.cosine_similarity(before[:1], before[1:])
    return 1 - (1 - functional.cosine_similarity(target, after)) / shifted


class _PutBack(AttentionInterceptor):
    """In the first attention of a pass over H equal images, head h of image h gives its output for another image."""

    outputs: Tensor | None = None

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        outputs = weights @ values
        if not self.attended and self.outputs is not None:
            for head in range(outputs.shape[1]):
                outputs[head, head] = self.outputs[0, head]
        return outputs


@torch.no_grad()
def _stream(anatomy: Anatomy, pixels: Tensor, place: int) -> Tensor:
    """Returns the tokens that block `place` gets for some images, `[B, T, D]`."""
    return tokens_before(anatomy.tower, anatomy.readout.blocks[place], pixels)


def tokens_before(tower: Tower, block: torch.nn.Module, pixels: Tensor) -> Tensor:
    """Returns the tokens that a block gets for pixels `[B, 3, S, S]`."""
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
