"""Attention weights written out by hand, in float64."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def slow_row(q: Tensor, k: Tensor, *, from_cls: bool, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """softmax(q kᵀ · scale + bias) in float64: the first query's row, or the mean of all; mean over heads."""
    keys = k.double().repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    logits = torch.einsum("bhqd,bhtd->bhqt", q.double(), keys) * (scale or q.shape[-1] ** -0.5)
    weights = (logits if bias is None else logits + bias.double()).exp()
    rows = (weights / weights.sum(dim=-1, keepdim=True)).mean(dim=1)
    return (rows[:, 0] if from_cls else rows.mean(dim=1)).float()


def multihead_row(module: Any, x: Tensor, *, from_cls: bool, bias: Tensor | None = None) -> Tensor:
    """From the module's own weights, by hand; x `[B, T, E]`."""
    q, k, _ = functional.linear(x, module.in_proj_weight, module.in_proj_bias).chunk(3, dim=-1)
    q, k = (part.reshape(*part.shape[:2], module.num_heads, module.head_dim).transpose(1, 2) for part in (q, k))
    return slow_row(q.detach(), k.detach(), from_cls=from_cls, bias=bias)
