"""The patch grid of a tower: its shape, and which tokens are patches."""

from typing import Any

from torch import Tensor, nn

from embedshift.encoders.base import LARGEST
from embedshift.encoders.structure import patch_embedding
from embedshift.errors import UsageError


class PatchGrid:
    """Derives the grid from the convolution that cuts images into patches; without one, it is a square of tokens."""

    def __init__(self, tower: nn.Module) -> None:
        self._shape: tuple[int, int] | None = None
        convolution = patch_embedding(tower)
        self.patch = None if convolution is None else convolution.kernel_size[0]
        if convolution is not None:
            convolution.register_forward_hook(self._record_shape)

    def refuse_size(self, size: int, name: str) -> None:
        """Raises UsageError for an input size that is too large, or not a multiple of the patch."""
        if not 0 < size <= LARGEST:
            raise UsageError(f"{name}: size {size} is not one of 1 to {LARGEST} pixels; choose another `size`")
        if self.patch is not None and size % self.patch:
            raise UsageError(
                f"{name}: size {size} is not a multiple of its patch of {self.patch} pixels; choose another `size`"
            )

    def shape(self, tokens: int) -> tuple[int, int]:
        """Returns the grid `(g_h, g_w)` of the last pass, which had `tokens` tokens."""
        return self._shape or (int(tokens**0.5),) * 2

    def to_grid(self, row: Tensor, count: int) -> Tensor | None:
        """Reduces weights of all tokens `[B, T]`, B = `count`, to those of the patches `[B, g_h, g_w]`."""
        height, width = self.shape(row.shape[1])
        patches = row[:, row.shape[1] - height * width :]  # class and register tokens come first
        if height * width > row.shape[1] or len(row) != count:  # attention inside windows
            return None
        return patches.reshape(-1, height, width)

    def _record_shape(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._shape = (output.shape[-2], output.shape[-1])
