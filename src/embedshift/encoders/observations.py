"""What a torch encoder can be observed by: name → a tap that catches it during the forward pass."""

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
        module: Inside it the blocks run.
        has_cls: Whether the first token is a class token.
        grid: Told a number of tokens, gives the patch grid `(g_h, g_w)`; the patches are the last of the tokens.
        embed: The whole encoder by torch's own kernels: pixels float32 `[B, 3, S, S]` in [0, 255] → embedding `[B, D]`.
        size: S.
        taps: To listen to its blocks.
    """

    module: nn.Module
    has_cls: bool
    grid: Callable[[int], tuple[int, int]]
    embed: Callable[[Tensor], Tensor] = lambda pixels: pixels
    size: int = 0
    taps: Taps = field(default_factory=Taps)


@dataclass(frozen=True)
class ForwardPass:
    """The pass that a tap is asked about.

    Args:
        views: Their number B.
        kind: Whose attention weights are read.
        row: These weights over all tokens, `[B, T]`; None without attention.
        on_grid: Weights of all tokens `[B, T]` → those of the patches `[B, g_h, g_w]`; None where there is no grid.
    """

    views: int
    kind: AttentionKind
    row: Tensor | None
    on_grid: Callable[[Tensor], Tensor | None]


class Tap(Protocol):
    """Hooks on a tower that catch something while it runs.

    `all_tokens` says whether the outputs of the last block are needed for all tokens, so that none may be spared.
    """

    all_tokens: bool

    def take(self, done: ForwardPass) -> Floats:
        """What the last pass gave, float32 `[B, ...]`; raises UsageError without the encoder's name where it cannot."""
        ...

    def remove(self) -> None:
        """Takes the hooks off."""
        ...


OBSERVATIONS: Registry[Callable[[Tower], Tap]] = Registry("observation")
