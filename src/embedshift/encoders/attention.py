"""Captures attention weights from a layer's fast kernel while it runs.

Fast kernels do not return their weights; eager kernels do, but are slower and give other results. So a listener gets
the q and k that the kernel gets, after rotary positions, norms and scale, and computes only the needed rows. It does
not depend on the names of projections and works for every family: scaled dot-product attention,
`nn.MultiheadAttention`, and attention written out with a softmax.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedshift.encoders.base import AttentionKind
from embedshift.encoders.structure import has_cls_token, last_block, pooling_head
from embedshift.encoders.taps import Kwargs, Listener, Taps

Rows = Literal["first", "mean", "all"]

SOFTMAX = (functional.softmax, torch.softmax, Tensor.softmax)
MULTIHEAD = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
WITH_WEIGHTS = {"need_weights": True, "average_attn_weights": False}


class AttentionTap(Listener):
    """Captures the attention of one block during its forward pass, averaged over heads."""

    def __init__(self, block: nn.Module, *, rows: Rows, taps: Taps | None = None) -> None:
        self._rows = rows
        self._row: Tensor | None = None
        self.remove = (taps or Taps()).listen(block, self)

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


def attention_tap(tower: nn.Module, block: nn.Module | None, taps: Taps) -> tuple[AttentionTap | None, AttentionKind]:
    has_cls = has_cls_token(tower)
    head = None if has_cls or block is not None else pooling_head(tower)
    kind: AttentionKind = "cls" if has_cls else "mean" if head is None else "pool"
    if block is None:
        block = head if head is not None else last_block(tower)
    rows: Rows = "mean" if kind == "mean" else "first"
    return None if block is None else AttentionTap(block, rows=rows, taps=taps), kind


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
    """Returns the weights inside `scaled_dot_product_attention`, written out, float32 `[B, heads, Q, T]`."""
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
