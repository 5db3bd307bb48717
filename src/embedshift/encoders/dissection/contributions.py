"""The exact split of a shift into contributions of heads, feed-forward networks, input and pooling pattern."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from embedshift.encoders.dissection.anatomy import Anatomy, listening
from embedshift.encoders.dissection.parts import BlockParts, Parts
from embedshift.encoders.dissection.readout import noise
from embedshift.encoders.dissection.secant import pull_back
from embedshift.encoders.taps import Taps
from embedshift.errors import UsageError

# How far from 1 the contributions of two images of noise may add up.
INEXACT = 1e-3


@dataclass(frozen=True)
class HeadContributions:
    """Contributions to the shifts of P views; they add up to 1 for each view, and are NaN if it has not moved."""

    heads: Tensor
    mlps: Tensor
    input: Tensor
    pattern: Tensor
    rest: Tensor

    @property
    def total(self) -> Tensor:
        """The sum of all contributions, `[P]`."""
        return self.heads.sum(dim=(1, 2)) + self.mlps.sum(dim=1) + self.input + self.pattern + self.rest


@torch.no_grad()
def split(anatomy: Anatomy, original: Sequence[Parts], views: Sequence[Parts]) -> HeadContributions:
    count = len(views[0].before)
    pulled = pull_back(anatomy.readout, original[-1].after.expand(count, -1, -1), views[-1].after)
    weights = pulled.weights[:, : views[0].before.shape[1]]
    heads, mlps, rest = [], [], torch.zeros_like(pulled.length)
    for layer, old, new in zip(anatomy.layers, original, views, strict=True):
        back = (weights * layer.scale) @ layer.weight
        head_terms = (back * (new.heads - old.heads)).sum(dim=1).view(count, layer.heads, -1).sum(dim=2)
        attention = (weights * ((new.between - new.before) - (old.between - old.before))).sum(dim=(1, 2))
        heads.append(head_terms)
        rest = rest + attention - head_terms.sum(dim=1)
        mlps.append((weights * ((new.after - new.between) - (old.after - old.between))).sum(dim=(1, 2)))
    first = (weights * (views[0].before - original[0].before)).sum(dim=(1, 2))
    moved = pulled.moved
    return HeadContributions(
        torch.stack(heads, dim=1) * moved[:, None, None],
        torch.stack(mlps, dim=1) * moved[:, None],
        first * moved,
        pulled.pattern() * moved,
        rest * moved,
    )


def block_parts(anatomy: Anatomy, pixels: Tensor) -> list[Parts]:
    """Returns what the parts of every block add to B images at the tokens that are read, by a separate pass."""
    listeners = [BlockParts(first=anatomy.readout.first_only) for _ in anatomy.layers]
    with anatomy.tower.taps.silent(), listening(Taps(), anatomy.readout, listeners), torch.no_grad():
        anatomy.tower.embed(pixels)
    parts_by_block = [listener.take() for listener in listeners]
    return [listener for listener in parts_by_block if listener is not None]


def check_exact(anatomy: Anatomy) -> None:
    """Refuses an encoder whose parts do not add up, for example because of a resampler or an unknown function."""
    parts = block_parts(anatomy, noise(2, anatomy.tower.size))
    first, second = ([_row(block, index) for block in parts] for index in range(2))
    total = float(split(anatomy, first, second).total)
    if not abs(total - 1) < INEXACT:
        raise UsageError(f"cannot be split exactly: its parts add up to {total:.3f} of a shift")


def _row(parts: Parts, index: int) -> Parts:
    only = slice(index, index + 1)
    return Parts(parts.before[only], parts.heads[only], parts.between[only], parts.after[only])
