"""Attention written out in plain products, so that gradients reach its weights, values and outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.encoders.attention import SOFTMAX, attention_weights
from embedshift.encoders.taps import Kwargs

PRODUCTS = (torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm)
ARGUMENTS = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias",
)  # fmt: skip


@dataclass(frozen=True)
class AttendedTensor:
    """One attention of a pass: weights `[B, heads, Q, T]`, values `[B, heads, T, d]`, outputs `[B, heads, Q, d]`."""

    weights: Tensor
    values: Tensor
    outputs: Tensor


class AttentionInterceptor(TorchFunctionMode):
    """Inside the context attention is written out, and kept in `attended` in the order in which it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.attended: list[AttendedTensor] = []
        self._softmax: Tensor | None = None

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        return weights @ values

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Kwargs | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            return self._scaled(*args, **kwargs)
        if func is functional.multi_head_attention_forward:
            return self._multihead(**(dict(zip(ARGUMENTS, args, strict=False)) | kwargs))
        if func in PRODUCTS and self._softmax is not None and self._is_softmax(args[0]):
            self._softmax = None
            return self._keep(args[0], args[1])
        result = func(*args, **kwargs)
        if func in SOFTMAX and result.ndim == 4:
            self._softmax = result
        return result

    def _is_softmax(self, tensor: Tensor) -> bool:
        last = self._softmax
        return last is not None and tensor.shape == last.shape and tensor.data_ptr() == last.data_ptr()

    def _keep(self, weights: Tensor, values: Tensor) -> Tensor:
        outputs = self.attend(weights, values)
        self.attended.append(AttendedTensor(weights, values, outputs))
        return outputs

    def _scaled(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        weights = attention_weights(query, key, attn_mask, *args, **kwargs)
        flat = query.ndim == 3
        values = value[:, None] if flat else value
        if values.shape[1] != weights.shape[1]:  # heads share values
            values = values.repeat_interleave(weights.shape[1] // values.shape[1], dim=1)
        outputs = self._keep(weights, values)
        return outputs[:, 0] if flat else outputs

    def _multihead(self, **a: Any) -> tuple[Tensor, Tensor | None]:
        width, heads, packed, bias = a["embed_dim_to_check"], a["num_heads"], a["in_proj_weight"], a["in_proj_bias"]
        separate = [a.get(f"{name}_proj_weight") for name in "qkv"]
        projections = separate if packed is None else packed.split(width)
        biases = [None] * 3 if bias is None else bias.split(width)
        q, k, v = (
            _in_heads(functional.linear(a[name].transpose(0, 1), projection, projection_bias), heads)
            for name, projection, projection_bias in zip(("query", "key", "value"), projections, biases, strict=True)
        )
        mask = a.get("attn_mask")
        if mask is not None and mask.ndim == 3:
            mask = mask.view(-1, heads, *mask.shape[1:])
        weights = attention_weights(q, k, mask)
        merged = self._keep(weights, v).transpose(1, 2).flatten(2)
        outputs = functional.linear(merged, a["out_proj_weight"], a["out_proj_bias"]).transpose(0, 1)
        if not a.get("need_weights", True):
            return outputs, None
        return outputs, weights.mean(dim=1) if a.get("average_attn_weights", True) else weights


def _in_heads(tokens: Tensor, heads: int) -> Tensor:
    """Reshapes `[B, T, H d]` to `[B, H, T, d]`."""
    return tokens.reshape(*tokens.shape[:2], heads, -1).transpose(1, 2)
