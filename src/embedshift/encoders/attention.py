"""Attention of a layer: weights captured from the fast kernel, and attention in plain products, for gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.encoders.base import AttentionKind
from embedshift.encoders.hooks import BlockHook, BlockHooks, Kwargs
from embedshift.encoders.structure import has_cls_token, like_blocks, pooling_head

Rows = Literal["first", "mean", "all"]

SOFTMAX = (functional.softmax, torch.softmax, Tensor.softmax)
MULTIHEAD = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
WITH_WEIGHTS = {"need_weights": True, "average_attn_weights": False}


class AttentionHook(BlockHook):
    def __init__(self, block: nn.Module, *, rows: Rows, block_hooks: BlockHooks | None = None) -> None:
        self._rows = rows
        self._row: Tensor | None = None
        self.remove = (block_hooks or BlockHooks()).listen(block, self)

    def take(self) -> Tensor | None:
        """Returns the row `[B, T]` over all T key tokens, or all rows `[B, Q, T]`, float32, of the last pass."""
        row, self._row = self._row, None
        return row

    def begin(self, tokens: Tensor) -> None:
        self._row = None

    def on_call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Kwargs, result: Any) -> None:
        if func is functional.scaled_dot_product_attention:
            self._row = self._from_q_and_k(*args, **kwargs)
        elif func is functional.multi_head_attention_forward:
            self._row = self._from_weights(func(*args, **(kwargs | WITH_WEIGHTS))[1])
        elif func in SOFTMAX and result.ndim == 4:
            self._row = self._from_weights(result)

    def multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        arguments = dict(zip(MULTIHEAD, args, strict=False)) | kwargs | WITH_WEIGHTS
        self._row = self._from_weights(module.forward(**arguments)[1])

    def end(self, output: Any) -> None:
        if output is None:
            self._row = None

    def _from_weights(self, weights: Any) -> Tensor:
        """Reduces weights `[B, heads, queries, T]` to the row `[B, T]`, or to all rows `[B, queries, T]`."""
        rows = weights[:, :, :1] if self._rows == "first" else weights
        mean: Tensor = rows.float().mean(dim=1 if self._rows == "all" else (1, 2))
        return mean

    def _from_q_and_k(
        self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            first = self._rows == "first"
            weights = attention_weights(query, key, attn_mask, *args, first=first, **kwargs)
            return weights.mean(dim=1 if self._rows == "all" else (1, 2))


def attention_hook(
    tower: nn.Module, block: nn.Module | None, block_hooks: BlockHooks
) -> tuple[AttentionHook | None, AttentionKind]:
    has_cls = has_cls_token(tower)
    head = None if has_cls or block is not None else pooling_head(tower)
    kind: AttentionKind = "cls" if has_cls else "mean" if head is None else "pool"
    if block is None:
        block = head if head is not None else next(reversed(like_blocks(tower)), None)
    rows: Rows = "mean" if kind == "mean" else "first"
    return None if block is None else AttentionHook(block, rows=rows, block_hooks=block_hooks), kind


def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    first: bool = False,
) -> Tensor:
    """Returns the weights inside `scaled_dot_product_attention`, float32 `[B, heads, Q, T]`."""
    if query.ndim == 3:  # no dimension of heads
        query, key = query[:, None], key[:, None]
        attn_mask = attn_mask[:, None] if attn_mask is not None and attn_mask.ndim == 3 else attn_mask
    q = (query[:, :, :1] if first else query).float()
    k = key.float()
    if enable_gqa:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    scores = q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = scores.new_ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        mask = attn_mask[..., :1, :] if first and attn_mask.shape[-2] > 1 else attn_mask
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(dim=-1)


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
    """Context in which attention runs in plain products and is kept in `attended`, in call order."""

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
    return tokens.reshape(*tokens.shape[:2], heads, -1).transpose(1, 2)
