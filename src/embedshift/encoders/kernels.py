"""Faster kernels for matrix products and attention on a CPU, which torch contains but does not choose by itself.

`nn.Linear` runs through MKL in float32; in bfloat16 it first copies its bias into the result. oneDNN's linear with
packed weights, which torch's compiler uses, is faster by a tenth to a fifth on processors with AVX-512;
`benchmarks/tried.py` shows by how much.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

PRODUCTS, ATTENTION = "products", "attention"
# Dtype of matrix products → the kernels for it; each can be switched on by itself.
KERNELS = {torch.float32: (PRODUCTS,), torch.bfloat16: (PRODUCTS, ATTENTION)}


class CpuKernels(TorchFunctionMode):
    """Inside the context some functions of torch run through other kernels; nothing else changes."""

    def __init__(self, module: nn.Module, dtype: torch.dtype, names: Collection[str] | None = None) -> None:
        super().__init__()
        self.names = tuple(name for name in KERNELS.get(dtype, ()) if names is None or name in names)
        self._packed: dict[int, tuple[Tensor, Tensor]] = {}
        self._instead: dict[Callable[..., Any], Callable[..., Any]] = {}
        if PRODUCTS in self.names:
            if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
                raise RuntimeError("torch was built without oneDNN")
            with torch.no_grad():
                # With the weight itself, so that its id stays its own.
                self._packed = {id(weight): (weight, _pack(weight)) for weight in _weights(module, dtype)}
            self._instead |= {functional.linear: self._linear, functional.conv2d: self._patch_embedding}
        if ATTENTION in self.names:
            self._instead[functional.scaled_dot_product_attention] = _attention

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._instead.get(func, func)(*args, **(kwargs or {}))

    def replaces(self, func: Callable[..., Any]) -> bool:
        """Returns whether calls of a torch function run through these kernels."""
        return func in self._instead

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if torch.compiler.is_compiling():
            # The compiler packs weights itself, except in float32, which it would leave to MKL.
            full = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            return _product(x, weight, bias) if full else functional.linear(x, weight, bias)
        packed = self._packed_now(weight)
        if packed is None:
            return functional.linear(x, weight, bias)
        return _product(x.to(weight.dtype), packed, bias)

    def _patch_embedding(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *how: Any, **more: Any) -> Tensor:
        packed = self._packed_now(weight)
        if packed is None:
            return functional.conv2d(x, weight, bias, *how, **more)
        height, width = weight.shape[2:]
        batch, channels, rows, columns = x.shape
        patches = x.view(batch, channels, rows // height, height, columns // width, width).permute(0, 2, 4, 1, 3, 5)
        flat = torch.empty(patches.shape, dtype=weight.dtype).copy_(patches).flatten(3)
        return _product(flat, packed, bias).permute(0, 3, 1, 2)

    def _packed_now(self, weight: Tensor) -> Tensor | None:
        known = not torch.compiler.is_compiling() and id(weight) in self._packed
        return self._packed[id(weight)][1] if known else None


def _weights(module: nn.Module, dtype: torch.dtype) -> Iterator[Tensor]:
    for part in module.modules():
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and _cuts_patches(part)):
            weight: Tensor = part.weight
            if weight.dtype == dtype:
                yield weight


def _cuts_patches(part: nn.Conv2d) -> bool:
    plain = part.padding in ((0, 0), "valid") and part.dilation == (1, 1) and part.groups == 1
    return plain and part.stride == part.kernel_size and part.kernel_size[0] > 1


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().flatten(1).contiguous())
    return packed


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, packed, None if bias is None else bias.to(x.dtype), "none", [], ""
    )
    return product


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **more: Any,
) -> Tensor:
    """Computes plain attention in bfloat16 by two batched products; leaves any other attention to torch."""
    like = query.ndim == 4 and query.shape[1] == key.shape[1] and query.dtype == key.dtype == value.dtype
    if attn_mask is not None or dropout_p or is_causal or not like or query.dtype != torch.bfloat16:
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, **more
        )
    batch, heads, _, width = query.shape
    q, k, v = (part.reshape(batch * heads, -1, part.shape[-1]) for part in (query, key, value))
    # What all scores of a query have in common drops out of the softmax. Without it they are small, and lose little
    # when they are rounded to bfloat16; the fused kernel keeps them in float32.
    k = k - k.mean(dim=1, keepdim=True)
    scores = torch.baddbmm(q.new_empty(1), q, k.transpose(1, 2), beta=0, alpha=width**-0.5 if scale is None else scale)
    # Under autocast a softmax would give float32.
    with torch.autocast("cpu", enabled=False):
        weights = scores.softmax(dim=-1)
    return torch.bmm(weights, v).view(batch, heads, -1, v.shape[-1])
