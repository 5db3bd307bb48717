"""Records what each part of a block adds to the residual stream while the block runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedshift.encoders.attention import PRODUCTS, SOFTMAX, attention_weights
from embedshift.encoders.hooks import BlockHook, Kwargs
from embedshift.encoders.kernels import LINEAR


@dataclass(frozen=True)
class Parts:
    """What one block added to B views, at R of their tokens."""

    before: Tensor
    heads: Tensor
    between: Tensor
    after: Tensor


class BlockParts(BlockHook):
    """Records the parts of one pre-norm block from its calls, without relying on the names of its modules."""

    def __init__(self, *, first: bool) -> None:
        self.first = first
        self.count = 0
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self._clear()

    def take(self) -> Parts | None:
        """Returns the parts of the last pass; None if one was not recorded."""
        parts = self._parts
        self._clear()
        return Parts(**parts) if len(parts) == len(Parts.__dataclass_fields__) else None

    def _clear(self) -> None:
        self._parts: dict[str, Tensor] = {}
        self._input: Tensor | None = None
        self.merged: Tensor | None = None
        self._softmax = self._mixed = self.pre_norm = False

    def begin(self, tokens: Tensor) -> None:
        self._clear()
        self._input, self._parts["before"] = tokens, self._keep(tokens)

    def on_call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Kwargs, result: Any) -> None:
        if func is functional.scaled_dot_product_attention:
            self._record_attention(result)
        elif func in SOFTMAX and result.ndim == 4:
            self._softmax = True
        elif func in PRODUCTS and self._softmax and result.ndim == 4:
            self._record_attention(result)
        elif func in LINEAR and self._mixed and "heads" not in self._parts:
            self._record_projection(*args[:3], **kwargs)
        elif func is functional.layer_norm:
            self._record_norm(args[0])

    def _record_attention(self, outputs: Tensor) -> None:
        self._softmax = False
        if outputs.ndim == 4:
            self.count, self._mixed = outputs.shape[1], True
            self.merged = None if self.first else outputs.transpose(1, 2).flatten(2)

    def _record_projection(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
        if x.ndim == 3:
            self._parts["heads"], self.weight, self.bias = self._keep(x), weight, bias

    def _record_norm(self, x: Tensor) -> None:
        """Records the streams that norms read: the first reads the input, the last the stream after attention."""
        if self._input is None or x.shape != self._input.shape:
            return
        if x is self._input or torch.equal(x, self._input):
            self.pre_norm = True
        else:
            self._parts["between"] = self._keep(x)

    def multihead(self, module: nn.MultiheadAttention, args: tuple[Any, ...], kwargs: Kwargs) -> None:
        arguments = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        tokens = arguments["query"] if module.batch_first else arguments["query"].transpose(0, 1)
        self.count, self.weight, self.bias = module.num_heads, module.out_proj.weight, module.out_proj.bias
        heads = _head_outputs(module, self._keep(tokens), tokens, arguments.get("attn_mask"))
        self._parts["heads"], self.merged = heads, None if self.first else heads

    def end(self, output: Any) -> None:
        """Keeps the stream after the block; discards everything if the block raised."""
        self._input = None
        tokens = output[0] if isinstance(output, tuple) else output
        if isinstance(tokens, Tensor):
            self._parts["after"] = self._keep(tokens)
        else:
            self._clear()

    def _keep(self, tokens: Tensor) -> Tensor:
        # The first alone is a copy, so that the rest can be freed.
        return tokens[:, :1].detach().clone() if self.first else tokens.detach()


def _head_outputs(module: nn.MultiheadAttention, queries: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the concatenated outputs of the heads, `[B, R, Z]`, for R query tokens of self-attention."""
    heads, width = module.num_heads, module.embed_dim
    packed = module.in_proj_weight
    query_weight, key_weight, value_weight = (
        (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
        if packed is None
        else (packed[:width], packed[width : 2 * width], packed[2 * width :])
    )
    biases = [None] * 3 if module.in_proj_bias is None else [module.in_proj_bias[k * width :][:width] for k in range(3)]
    query = functional.linear(queries, query_weight, biases[0]).view(*queries.shape[:2], heads, -1).transpose(1, 2)
    # A key's bias adds the same to all scores of a query, which the softmax does not see.
    projected_query = torch.einsum("bhqd,hde->bhqe", query, key_weight.view(heads, -1, width))
    if mask is not None and mask.ndim == 3:
        mask = mask.view(-1, heads, *mask.shape[1:])
    if mask is not None:
        mask = mask[..., : queries.shape[1], :]
    weights = attention_weights(projected_query, tokens[:, None], mask, scale=query.shape[-1] ** -0.5)
    mixed = weights @ tokens[:, None]
    outputs = torch.einsum("bhqe,hde->bqhd", mixed, value_weight.view(heads, -1, width)).flatten(2)
    return outputs if biases[2] is None else outputs + biases[2]
