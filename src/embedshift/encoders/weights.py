"""The weights of a module: their hash, their precision, and whether they have gradients."""

import contextlib
import hashlib
import re
from collections.abc import Iterator

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def weights_hash(module: nn.Module) -> str:
    """Returns SHA-256 over the names, dtypes, shapes and bytes of all weights; it does not depend on their device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{values.dtype}|{tuple(values.shape)}|".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def structure_hash(module: nn.Module) -> str:
    """Returns a hash of what a module prints: its parts, their settings and their order."""
    return hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", repr(module)).encode()).hexdigest()[:16]


def cast_weights(module: nn.Module, dtype: torch.dtype) -> None:
    """Casts the weights of matrix products and convolutions once; autocast would do it in every pass."""
    for part in _products(module):
        part.to(dtype)


@contextlib.contextmanager
def temporarily_cast(module: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Inside the context the weights are cast as by `cast_weights`; afterwards they are exactly as before."""
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
