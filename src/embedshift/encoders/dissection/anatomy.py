"""The anatomy of an encoder: what the parts of a block add, the projections of its heads, and its readout."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedshift.encoders.attention import PRODUCTS, SOFTMAX, attention_weights
from embedshift.encoders.hooks import BlockHook, BlockHooks, Kwargs
from embedshift.encoders.kernels import LINEAR
from embedshift.encoders.observations import Tower
from embedshift.encoders.structure import run_of_blocks, tokens_of
from embedshift.errors import UsageError

# The largest difference from what a block or a readout of the known kind gives, as a fraction of the largest value.
ROUNDING = 1e-3


@dataclass(frozen=True)
class Parts:
    before: Tensor
    heads: Tensor
    between: Tensor
    after: Tensor


class BlockParts(BlockHook):
    def __init__(self, *, first: bool) -> None:
        self.first = first
        self.count = 0
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self._clear()

    def take(self) -> Parts | None:
        """Returns the parts of the last pass; None if one of the four was not recorded."""
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
        self._input = None
        tokens = tokens_of(output)
        if isinstance(tokens, Tensor):
            self._parts["after"] = self._keep(tokens)
        else:
            self._clear()

    def _keep(self, tokens: Tensor) -> Tensor:
        # A copy: the rest can be freed, and a block may fill the same tensor again.
        return (tokens[:, :1] if self.first else tokens).detach().clone()


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


class Readout:
    def __init__(self, tower: Tower) -> None:
        run = run_of_blocks(tower.module)
        if run is None or not len(run):
            raise UsageError("has no sequence of similar blocks")
        self._tower, self._run, self.blocks = tower, run, list(run)
        with keeping_outputs(self.blocks[-1]) as outputs, torch.no_grad():
            embedding = tower.embed(noise(1, tower.size))
        self.device = embedding.device
        self._like = outputs[-1] if outputs else None
        last = tokens_of(self._like)
        if not isinstance(last, Tensor) or last.ndim != 3 or embedding.ndim != 2:
            raise UsageError("has blocks whose outputs are not [B, tokens, width]")
        self.tokens = last.shape[1]
        with torch.enable_grad():
            leaf = last.detach().clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self(leaf).square().sum(), leaf)
        read = gradient[0].abs().amax(dim=1) > 0
        self.first_only = bool(read[0]) and not bool(read[1:].any())

    def __call__(self, tokens: Tensor) -> Tensor:
        """Maps tokens `[B, T, D]` to embeddings; if only the first token is read, `[B, 1, D]` is enough."""
        if tokens.shape[1] < self.tokens:
            padding = tokens.new_zeros(len(tokens), self.tokens - tokens.shape[1], tokens.shape[2])
            tokens = torch.cat([tokens, padding], dim=1)
        side = self._tower.size
        with self._replacing_blocks(tokens):
            return self._tower.embed(torch.zeros(len(tokens), 3, side, side))

    @contextmanager
    def _replacing_blocks(self, tokens: Tensor) -> Iterator[None]:
        try:
            for index in range(len(self.blocks)):
                self._run[index] = _FixedOutput(tokens, self._like)
            with self._tower.block_hooks.silent():
                yield
        finally:
            for index, block in enumerate(self.blocks):
                self._run[index] = block


@contextmanager
def keeping_outputs(block: nn.Module) -> Iterator[list[Any]]:
    outputs: list[Any] = []
    handle = block.register_forward_hook(lambda _block, _inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()


class _FixedOutput(nn.Module):
    """Replaces a block: returns the given tokens, in the form in which the block returns its own."""

    def __init__(self, tokens: Tensor, like: Any) -> None:
        super().__init__()
        self._output = (tokens, *like[1:]) if isinstance(like, tuple) else tokens

    def forward(self, *_: Any, **__: Any) -> Any:
        return self._output


def noise(count: int, side: int) -> Tensor:
    """Returns `count` images of noise, float32 `[B, 3, S, S]` in [0, 255], always the same."""
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255


@dataclass(frozen=True)
class Layer:
    heads: int
    weight: Tensor
    scale: Tensor


class Anatomy:
    """The blocks and the readout of a tower, found by running it on two images of noise."""

    def __init__(self, tower: Tower) -> None:
        self.tower = tower
        self.readout = Readout(tower)
        hooks = [BlockParts(first=False) for _ in self.readout.blocks]
        with listening(tower.block_hooks, self.readout, hooks), torch.no_grad():
            tower.embed(noise(2, tower.size))
            self.layers = [_layer(parts, number) for number, parts in enumerate(hooks, start=1)]

    @property
    def heads(self) -> int:
        return self.layers[0].heads


@contextmanager
def listening(block_hooks: BlockHooks, readout: Readout, hooks: Sequence[BlockParts]) -> Iterator[None]:
    stops = [block_hooks.listen(block, hook) for block, hook in zip(readout.blocks, hooks, strict=True)]
    try:
        yield
    finally:
        for stop in stops:
            stop()


def _layer(recorded: BlockParts, number: int) -> Layer:
    """Derives a block's layer from its calls; refuses a block whose structure does not allow the split."""
    merged, pre_norm = recorded.merged, recorded.pre_norm
    parts = recorded.take()
    if parts is None or recorded.weight is None or merged is None or not recorded.count:
        raise UsageError(f"has no attention and feed-forward network of a supported kind in block {number}")
    if not pre_norm:
        raise UsageError(f"has layer norms after its attention, not before it, in block {number}")
    if merged.shape != parts.heads.shape or not _alike(merged, parts.heads):
        raise UsageError(f"changes the outputs of its heads before it projects them, in block {number}")
    scale = _scale(parts, recorded.weight, recorded.bias, number)
    return Layer(recorded.count, recorded.weight.detach(), scale)


def _scale(parts: Parts, weight: Tensor, bias: Tensor | None, number: int) -> Tensor:
    added = (parts.between - parts.before).double()
    projected = functional.linear(parts.heads, weight, bias).double()
    scale = (added * projected).sum(dim=(0, 1)) / projected.square().sum(dim=(0, 1))
    if (scale - 1).abs().max() < ROUNDING:
        scale = torch.ones_like(scale)
    if not _alike(added, scale * projected):
        raise UsageError(f"does not add its attention to the residual stream, in block {number}")
    return scale.to(weight.dtype)


def _alike(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= ROUNDING * a.abs().max())
