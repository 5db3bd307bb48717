"""The patch grid of a tower: its shape, and which tokens are patches."""

from typing import Any

from torch import Tensor, nn

from embedshift.encoders.structure import patch_embedding


class PatchGrid:
    """Derives the grid from the convolution that cuts images into patches; without one, the grid is a square of tokens."""

    def __init__(self, tower: nn.Module) -> None:
        self._seen: tuple[int, int] | None = None
        convolution = patch_embedding(tower)
        self.patch = None if convolution is None else convolution.kernel_size[0]
        if convolution is not None:
            convolution.register_forward_hook(self._see)

    def of(self, tokens: int) -> tuple[int, int]:
        """Returns the grid `(g_h, g_w)` of the last pass, which had `tokens` tokens."""
        return self._seen or (int(tokens**0.5),) * 2

    def lay(self, row: Tensor, count: int) -> Tensor | None:
        """Reduces weights of all tokens `[B, T]`, B = `count`, to those of the patches `[B, g_h, g_w]`."""
        height, width = self.of(row.shape[1])
        patches = row[:, row.shape[1] - height * width :]  # class and register tokens come first
        if height * width > row.shape[1] or len(row) != count:  # attention inside windows
            return None
        return patches.reshape(-1, height, width)

    def _see(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._seen = (output.shape[-2], output.shape[-1])
