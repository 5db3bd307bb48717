"""The readout: what follows the last block, run by itself from tokens to the embedding."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from embedshift.encoders.observations import Tower
from embedshift.encoders.structure import run_of_blocks
from embedshift.errors import UsageError


class Readout:
    """The embedding as a function of the tokens that the last block of a tower returns."""

    def __init__(self, tower: Tower) -> None:
        run = run_of_blocks(tower.module)
        if run is None or not len(run):
            raise UsageError("has no sequence of similar blocks")
        self._tower, self._run, self.blocks = tower, run, list(run)
        seen: list[Any] = []
        handle = self.blocks[-1].register_forward_hook(lambda _block, _inputs, output: seen.append(output))
        try:
            with torch.no_grad():
                embedding = tower.embed(noise(1, tower.size))
        finally:
            handle.remove()
        self.device = embedding.device
        self._like = seen[-1] if seen else None
        last = self._like[0] if isinstance(self._like, tuple) else self._like
        if not isinstance(last, Tensor) or last.ndim != 3 or embedding.ndim != 2:
            raise UsageError("has blocks whose outputs are not [B, tokens, width]")
        self.tokens = last.shape[1]
        with torch.enable_grad():
            leaf = last.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self(leaf).square().sum(), leaf)
        read = gradient[0].abs().amax(dim=1) > 0
        self.first_only = bool(read[0]) and not bool(read[1:].any())

    def __call__(self, tokens: Tensor) -> Tensor:
        """Maps tokens `[B, T, D]` to embeddings; if only the first token is read, `[B, 1, D]` is enough."""
        if tokens.shape[1] < self.tokens:
            others = tokens.new_zeros(len(tokens), self.tokens - tokens.shape[1], tokens.shape[2])
            tokens = torch.cat([tokens, others], dim=1)
        return self.from_block(len(self.blocks), tokens)

    def from_block(self, place: int, tokens: Tensor) -> Tensor:
        """Maps the input tokens `[B, T, D]` of block `place` (from 0) to embeddings, running the network from there."""
        side = self._tower.size
        with self._instead_of_blocks(place, tokens):
            return self._tower.embed(torch.zeros(len(tokens), 3, side, side))

    @contextlib.contextmanager
    def _instead_of_blocks(self, place: int, tokens: Tensor) -> Iterator[None]:
        instead: list[nn.Module] = [_Gives(tokens, self._like) for _ in self.blocks[:place]]
        instead += [_Reads(tokens, block) for block in self.blocks[place:][:1]]
        try:
            for k, module in enumerate(instead):
                self._run[k] = module
            with self._tower.taps.silent():
                yield
        finally:
            for k, block in enumerate(self.blocks):
                self._run[k] = block


class _Gives(nn.Module):
    """Replaces a block: returns the given tokens, in the form in which the block returns its own."""

    def __init__(self, tokens: Tensor, like: Any) -> None:
        super().__init__()
        self._output = (tokens, *like[1:]) if isinstance(like, tuple) else tokens

    def forward(self, *_: Any, **__: Any) -> Any:
        return self._output


class _Reads(nn.Module):
    """Makes a block read the given tokens, whatever the network before it computes."""

    def __init__(self, tokens: Tensor, block: nn.Module) -> None:
        super().__init__()
        self._tokens, self._block = tokens, [block]  # not registered as a submodule: it belongs to the run of blocks

    def forward(self, *inputs: Any, **more: Any) -> Any:
        if inputs:
            return self._block[0](self._tokens, *inputs[1:], **more)
        first = next(name for name, value in more.items() if isinstance(value, Tensor))
        return self._block[0](**(more | {first: self._tokens}))


def noise(count: int, side: int) -> Tensor:
    """Returns `count` images of noise, float32 `[B, 3, S, S]` in [0, 255], always the same."""
    drawn = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))
    return drawn * 255
