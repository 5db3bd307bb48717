"""The structure of a torch module: parts of a vision transformer, patch grid, and weights."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from embedshift.encoders.base import checked_size
from embedshift.errors import UsageError

CLS_NAMES = ("cls_token", "class_embedding", "class_token")
POOL_NAMES = ("attn_pool", "attnpool")


def like_blocks(module: nn.Module) -> list[nn.Module]:
    return list(run_of_blocks(module) or ())


def run_of_blocks(module: nn.Module) -> nn.ModuleList | nn.Sequential | None:
    runs = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len({*map(type, m)}) == 1]
    return max(runs, key=len, default=None)


def tokens_of(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def patch_embedding(module: nn.Module) -> nn.Conv2d | None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == part.stride and part.kernel_size[0] > 1:
            return part
    return None


def has_cls_token(module: nn.Module) -> bool:
    return any(name.rsplit(".", 1)[-1] in CLS_NAMES for name, _ in module.named_parameters())


def pooling_head(module: nn.Module) -> nn.Module | None:
    """Returns the attention that pools all tokens, found by name or by its learned query `probe`."""
    part: nn.Module
    for name, part in module.named_modules():
        if name.rsplit(".", 1)[-1] in POOL_NAMES or isinstance(getattr(part, "probe", None), nn.Parameter):
            return part
    return None


class PatchGrid:
    """Patch grid from the convolution that cuts images into patches, else a square of tokens."""

    def __init__(self, tower: nn.Module) -> None:
        self._shape: tuple[int, int] | None = None
        convolution = patch_embedding(tower)
        self.patch = None if convolution is None else convolution.kernel_size[0]
        if convolution is not None:
            convolution.register_forward_hook(self._record_shape)

    def refuse_size(self, size: int, name: str) -> None:
        checked_size(name, size)
        if self.patch is not None and size % self.patch:
            raise UsageError(
                f"{name}: size {size} is not a multiple of its patch of {self.patch} pixels; choose another `size`"
            )

    def shape(self, tokens: int) -> tuple[int, int]:
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


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def weights_hash(module: nn.Module) -> str:
    """Returns SHA-256 over names, dtypes, shapes and bytes of all weights, independent of their device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def structure_hash(module: nn.Module) -> str:
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", repr(module)).encode()).hexdigest()[:16]


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Casts the weights of matrix products and convolutions once; autocast would do so in every pass."""
    for part in _products(module):
        part.to(dtype)


@contextlib.contextmanager
def temporarily_cast(module: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Context in which the weights are cast as by `cast_weights`, and restored exactly afterwards."""
    before = [(weight, weight.data) for part in _products(module) for weight in part.parameters()]
    cast_weights(module, dtype)
    try:
        yield
    finally:
        for weight, data in before:
            weight.data = data


def _products(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]


@contextlib.contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    learned = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learned:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learned:
            parameter.requires_grad_()
