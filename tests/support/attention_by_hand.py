"""Attention weights written out by hand, in loops and float64."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def slow_row(q: Tensor, k: Tensor, *, from_cls: bool, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ · scale + bias) in float64: the first query's row, or the mean of all; mean over heads."""
    rows = torch.zeros(len(q), k.shape[2], dtype=torch.float64)
    heads, queries = q.shape[1], 1 if from_cls else q.shape[2]
    for b in range(len(q)):
        for h in range(heads):
            for i in range(queries):
                logits = (k[b, h * k.shape[1] // heads].double() @ q[b, h, i].double()) * (scale or q.shape[-1] ** -0.5)
                logits = logits if bias is None else logits + bias[i].double()
                weights = (logits - logits.max()).exp()
                rows[b] += weights / weights.sum() / heads / queries
    return rows.float()


def multihead_row(module: Any, x: Tensor, *, from_cls: bool, bias: Tensor | None = None) -> Tensor:
    """From the module's own weights, by hand; x `[B, T, E]`."""
    q, k, _ = functional.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
    q, k = (part.reshape(*part.shape[:2], module.num_heads, module.head_dim).transpose(1, 2) for part in (q, k))
    return slow_row(q.detach(), k.detach(), from_cls=from_cls, bias=bias)
