"""The observation `heads`: the exact split of a shift into parts of heads, MLPs, input, pooling and tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.arrays import Floats
from embedshift.encoders.attention import AttendedTensor, AttentionInterceptor
from embedshift.encoders.dissection.anatomy import (
    ROUNDING,
    Anatomy,
    BlockParts,
    Parts,
    Readout,
    keeping_outputs,
    listening,
    noise,
)
from embedshift.encoders.dissection.secant import pull_back
from embedshift.encoders.hooks import BlockHooks
from embedshift.encoders.observations import OBSERVATIONS, Tower
from embedshift.encoders.structure import tokens_of
from embedshift.errors import UsageError

# How far from 1 the contributions of two images of noise may add up.
INEXACT = 1e-3
# Tokens of one pass through a readout.
BATCH = 64


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
    hooks = [BlockParts(first=anatomy.readout.first_only) for _ in anatomy.layers]
    with anatomy.tower.block_hooks.silent(), listening(BlockHooks(), anatomy.readout, hooks), torch.no_grad():
        anatomy.tower.embed(pixels)
    return _recorded(hooks)


def _recorded(hooks: Sequence[BlockParts]) -> list[Parts]:
    return [parts for hook in hooks if (parts := hook.take()) is not None]


def check_exact(anatomy: Anatomy) -> None:
    """Refuses an encoder whose parts do not add up, for example because of a resampler or an unknown function."""
    parts = block_parts(anatomy, noise(2, anatomy.tower.size))
    images = slice(0, 1), slice(1, 2)
    first, second = ([Parts(*(part[image] for part in vars(block).values())) for block in parts] for image in images)
    total = float(split(anatomy, first, second).total)
    if not abs(total - 1) < INEXACT:
        raise UsageError(f"cannot be split exactly: its parts add up to {total:.3f} of a shift")


def head_matrices(anatomy: Anatomy, blocks: Sequence[int]) -> list[Tensor]:
    after, matrices = projection(anatomy.readout, len(anatomy.layers[0].weight)), list[Tensor]()
    for layer in (anatomy.layers[block] for block in blocks):
        weight = (layer.scale[:, None] * layer.weight).double()
        matrix = after @ (weight - weight.mean(dim=0))
        matrices.append(matrix.view(len(matrix), layer.heads, -1).transpose(0, 1))
    return matrices


def projection(readout: Readout, width: int) -> Tensor:
    """Returns what a readout does after its layer norm, float64 `[D', D]`, by regression on random tokens."""
    if not readout.first_only:
        raise UsageError("reads its embedding from more than one token")
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2 * width + 8, 1, width, generator=generator)
    with torch.no_grad():
        starts = range(0, len(tokens), BATCH)
        outputs = [readout(tokens[start : start + BATCH].to(readout.device)).double() for start in starts]
    embeddings, normed = torch.cat(outputs), functional.layer_norm(tokens[:, 0].double(), (width,)).to(readout.device)
    inputs = torch.cat([normed, torch.ones_like(normed[:, :1])], dim=1)
    solution: Tensor = torch.linalg.lstsq(inputs.cpu(), embeddings.cpu(), driver="gelsd").solution.to(readout.device)
    if (inputs @ solution - embeddings).abs().max() > ROUNDING * embeddings.abs().max():
        raise UsageError("computes its embedding with more than a layer norm and a projection")
    return solution[:-1].T


@dataclass(frozen=True)
class TokenContributions:
    """Contributions of the last block's attention to the shifts of P views, by attended token."""

    pattern: Tensor
    values: Tensor


@torch.no_grad()
def token_contributions(anatomy: Anatomy, original: Tensor, views: Tensor) -> TokenContributions:
    count, layer = len(views), anatomy.layers[-1]
    (old, old_stream), (new, new_stream) = (_last(anatomy, pixels) for pixels in (original, views))
    pulled = pull_back(anatomy.readout, old_stream.expand(count, -1, -1), new_stream)
    back = (pulled.weights * layer.scale) @ layer.weight
    upstream = back.view(count, back.shape[1], layer.heads, -1).transpose(1, 2)  # [P, H, Q, d]
    changed, weights = new.weights - old.weights, (new.weights + old.weights) / 2
    # <wanted, A v> = sum over queries of A[q, t] <wanted[q], v[t]>
    pattern = (changed * (upstream @ ((new.values + old.values) / 2).transpose(-2, -1))).sum(dim=(1, 2))
    values = (weights * (upstream @ (new.values - old.values).transpose(-2, -1))).sum(dim=(1, 2))
    moved = pulled.moved[:, None]
    return TokenContributions(pattern * moved, values * moved)


def _last(anatomy: Anatomy, pixels: Tensor) -> tuple[AttendedTensor, Tensor]:
    mode, last_block = AttentionInterceptor(), anatomy.readout.blocks[-1]
    with keeping_outputs(last_block) as outputs, anatomy.tower.block_hooks.silent(), mode:
        anatomy.tower.embed(pixels)
    attended = mode.attended[len(anatomy.layers) - 1]
    # Copies, since a module may fill the same tensors in its next pass.
    return AttendedTensor(*(tensor.clone() for tensor in vars(attended).values())), tokens_of(outputs[-1]).clone()


class HeadsObservation:
    """Keeps `[B, F]`: for every block, concatenated, the four vectors of `Parts` at the first token."""

    def __init__(self, tower: Tower) -> None:
        try:
            self.anatomy = Anatomy(tower)
            check_exact(self.anatomy)
        except UsageError as error:
            raise UsageError(f"{error}; run without `heads`") from error
        first = self.anatomy.readout.first_only
        self._hooks = [BlockParts(first=True) for _ in self.anatomy.layers] if first else []
        pairs = zip(self.anatomy.readout.blocks, self._hooks, strict=False)
        self._stops = [tower.block_hooks.listen(block, hook) for block, hook in pairs]

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the values of the pass, float32 `[B, F]`; `[B, 0]` if the embedding is read from several tokens."""
        if not self._hooks:
            return torch.zeros(count, 0).numpy()
        vectors = [vector[:, 0] for parts in _recorded(self._hooks) for vector in vars(parts).values()]
        packed: Floats = torch.cat(vectors, dim=1).cpu().numpy()
        return packed

    def remove(self) -> None:
        for stop in self._stops:
            stop()


def unpack(anatomy: Anatomy, packed: Tensor) -> Sequence[Parts]:
    """Returns the parts of every block from what `HeadsObservation` kept for B views, `[B, F]`."""
    parts_by_block: list[Parts] = []
    start = 0
    for layer in anatomy.layers:
        stream, merged = layer.weight.shape
        sizes = [stream, merged, stream, stream]
        row = packed[:, None, start : start + sum(sizes)]
        parts_by_block.append(Parts(*torch.split(row, sizes, dim=2)))
        start += sum(sizes)
    return parts_by_block


OBSERVATIONS.add("heads", HeadsObservation)
