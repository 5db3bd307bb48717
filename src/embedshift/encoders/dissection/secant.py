"""Secants: the exact linear map between a function's outputs for an image and for its view.

A derivative at the original is wrong for a distant view: layer norm alone was off by 63 % under noise. For two inputs x
and x' the rules here give a linear map D with `D (x' - x) = f(x') - f(x)`, up to rounding. They form the backward pass
of a torch mode, for a batch of the originals followed by the views in the same order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from embedshift.encoders.attention import AttentionInterceptor
from embedshift.encoders.hooks import Kwargs

ACTIVATIONS = (
    functional.gelu, functional.relu, functional.silu, functional.leaky_relu, functional.softplus,
    torch.relu, Tensor.relu, torch.sigmoid, Tensor.sigmoid, functional.sigmoid, torch.tanh, Tensor.tanh,
)  # fmt: skip
MULTIPLY = (torch.mul, Tensor.mul, Tensor.__mul__)
# For inputs that differ by less, the secant is the derivative.
SAME = 1e-9
# A view whose unit embedding is nearer to the original's than this has not moved: it has no contributions.
UNMOVED = 1e-6


@dataclass(frozen=True)
class PullBack:
    weights: Tensor
    patterns: tuple[Tensor, ...]
    length: Tensor

    @property
    def moved(self) -> Tensor:
        return torch.where(self.length > UNMOVED, 1.0, torch.nan)

    def pattern(self) -> Tensor:
        """Returns the contributions that the changed weights of all attentions carry, `[P]`."""
        return sum((weights.sum(dim=1) for weights in self.patterns), torch.zeros_like(self.length))


def pull_back(function: Callable[[Tensor], Tensor], originals: Tensor, views: Tensor) -> PullBack:
    """Pulls the shift between the unit embeddings of P pairs back to the tokens that the embeddings are made of."""
    count, both = len(views), torch.cat([originals, views])
    mode = SecantAttention()
    with torch.enable_grad(), mode:
        leaf = both.detach().clone().requires_grad_()
        embeddings = function(leaf)
    seed, length = _unit_secant(embeddings.detach()[:count], embeddings.detach()[count:])
    (gradient,) = torch.autograd.grad(embeddings, leaf, torch.cat([-seed, seed]))
    patterns = tuple(mode.patterns[index] for index in sorted(mode.patterns))
    return PullBack(gradient[count:], patterns, length)


def _unit_secant(original: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
    """Returns weights g with g · (view − original) = 1, and the distance of the normalised vectors, which g splits."""
    old, new = (vectors.norm(dim=-1, keepdim=True) for vectors in (original, view))
    unit = view / new - original / old
    length = unit.norm(dim=-1, keepdim=True)
    pulled = _norm_secant((unit / length.square()).unsqueeze(0), original, view, old, new, 1)
    return pulled[0], length[:, 0]


def _norm_secant(
    upstream: Tensor, old: Tensor, new: Tensor, old_scale: Tensor, new_scale: Tensor, width: int
) -> Tensor:
    mean, middle = (1 / old_scale + 1 / new_scale) / 2, (old + new) / 2
    curvature = 2 / (width * old_scale * new_scale * (old_scale + new_scale))
    return mean * upstream - curvature * middle * (middle * upstream).sum(dim=-1, keepdim=True)


class SecantAttention(AttentionInterceptor):
    """Inside the context every layer norm, activation, product and attention has its secant as backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.patterns: dict[int, Tensor] = {}

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        return _apply(_Attention, weights.detach(), values, self.patterns, len(self.attended))

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Kwargs | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.layer_norm:
            return _layer_norm(*args, **kwargs)
        if func in ACTIVATIONS:
            return _apply(_Activation, args[0], lambda x: func(x, *args[1:], **kwargs))
        if func in MULTIPLY and _both_vary(*args):
            return _apply(_Product, *args)
        return super().__torch_function__(func, types, args, kwargs)


def _layer_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    return _apply(_LayerNorm, x, weight, bias, eps)


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> Tensor:
    output: Tensor = function.apply(*inputs)  # type: ignore[no-untyped-call]
    return output


def _both_vary(a: Any, b: Any) -> bool:
    """Returns whether both factors depend on the image, as in gated networks; a weight has another shape."""
    return (
        isinstance(a, Tensor) and isinstance(b, Tensor) and a.requires_grad and b.requires_grad and a.shape == b.shape
    )


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        scale = (centred.square().mean(dim=-1, keepdim=True) + eps).sqrt()
        ctx.save_for_backward(centred, scale, weight)
        scaled = centred / scale if weight is None else centred / scale * weight
        return scaled if bias is None else scaled + bias

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        centred, scale, weight = ctx.saved_tensors
        upstream = _halves(gradients[0] if weight is None else gradients[0] * weight)
        (old, new), (old_scale, new_scale) = _halves(centred), _halves(scale)
        pulled = _norm_secant(upstream, old, new, old_scale, new_scale, centred.shape[-1])
        pulled = pulled - pulled.mean(dim=-1, keepdim=True)
        return pulled.flatten(0, 1), None, None, None


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        y = function(x)
        (old, new), (before, after) = _halves(x), _halves(y)
        with torch.enable_grad():
            middle = ((old + new) / 2).detach().requires_grad_()
            (slope,) = torch.autograd.grad(function(middle).sum(), middle)
        moved = (new - old).abs() > SAME
        ctx.save_for_backward(torch.where(moved, (after - before) / torch.where(moved, new - old, 1), slope))
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return (_halves(gradients[0]) * ctx.saved_tensors[0]).flatten(0, 1), None


class _Product(torch.autograd.Function):
    """`Δ(a b) = mean(a) Δb + mean(b) Δa`."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        upstream, (a, b) = _halves(gradients[0]), map(_halves, ctx.saved_tensors)
        return tuple((upstream * factor.mean(dim=0)).flatten(0, 1) for factor in (b, a))


class _Attention(torch.autograd.Function):
    """`Δ(A v) = mean(A) Δv + ΔA mean(v)`; the contribution of the second term is kept and not passed on."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, values: Tensor, patterns: dict[int, Tensor], index: int) -> Tensor:
        ctx.save_for_backward(weights, values)
        ctx.patterns, ctx.index = patterns, index
        return weights @ values

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        weights, values = map(_halves, ctx.saved_tensors)
        upstream = _halves(gradients[0])
        changed = (weights[1] - weights[0]) @ values.mean(dim=0)
        ctx.patterns[ctx.index] = (upstream[1] * changed).sum(dim=(-2, -1))
        return None, (weights.mean(dim=0).transpose(-2, -1) @ upstream).flatten(0, 1), None, None


def _halves(both: Tensor) -> Tensor:
    return both.reshape(2, len(both) // 2, *both.shape[1:])
