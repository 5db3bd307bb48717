"""Observations of a torch encoder: name → a tap that captures it during the forward pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from embedshift.arrays import Floats
from embedshift.encoders.base import AttentionKind
from embedshift.encoders.taps import Taps
from embedshift.registry import Registry


@dataclass(frozen=True)
class Tower:
    """The part of an encoder that sees the image.

    Args:
        module: The module that contains the blocks.
        has_cls: Whether the first token is a class token.
        grid: Number of tokens → patch grid `(g_h, g_w)`; the patches are the last of the tokens.
        on_grid: Weights of all tokens `[B, T]`, and B → those of the patches `[B, g_h, g_w]`; None if there is no grid.
        kind: Which query's attention weights are read.
        embed: The whole encoder by torch's own kernels: pixels float32 `[B, 3, S, S]` in [0, 255] → embedding `[B, D]`.
        size: Side S of the input in pixels.
        taps: The taps that listen to its blocks.
    """

    module: nn.Module
    has_cls: bool
    grid: Callable[[int], tuple[int, int]]
    on_grid: Callable[[Tensor, int], Tensor | None] = lambda weights, count: weights
    kind: AttentionKind = "cls"
    embed: Callable[[Tensor], Tensor] = lambda pixels: pixels
    size: int = 0
    taps: Taps = field(default_factory=Taps)


class Tap(Protocol):
    """Hooks on a tower that capture values while it runs."""

    def take(self, count: int, row: Tensor | None) -> Floats:
        """Returns the values of the last pass, float32 `[B, ...]`.

        Args:
            count: Number of views B.
            row: The attention weights of `Tower.kind` over all tokens, `[B, T]`; None without attention.

        Raises:
            UsageError: The encoder cannot give them. The message omits its name.
        """
        ...

    def remove(self) -> None:
        """Removes the hooks."""
        ...


OBSERVATIONS: Registry[Callable[[Tower], Tap]] = Registry("observation")
