"""Maps that explain an embedding by gradients through the encoder's attention.

`relevance` follows all layers (Chefer, Gur and Wolf 2021, the rule for self-attention). `tokens` gives the exact
contribution of each patch through the attention of the last block.
"""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embedshift.arrays import Floats, Pixels
from embedshift.encoders.attention import AttendedTensor, AttentionInterceptor
from embedshift.encoders.hooks import Kwargs
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.structure import like_blocks
from embedshift.errors import UsageError

RELEVANCE, TOKENS = "relevance", "tokens"
# Views per pass: the attention of all layers is in memory at once.
VIEWS = 4
NORMS = (functional.layer_norm, functional.rms_norm)


class Explainer:
    def __init__(self, encoder: ModuleEncoder, names: Collection[str]) -> None:
        self._encoder, self._names, self._tower = encoder, names, encoder.tower
        self._blocks = like_blocks(self._tower.module)
        if not self._blocks:
            raise self._refusal("it has no sequence of similar blocks")

    def __call__(self, views: Pixels, target: Any) -> dict[str, Floats]:
        """Returns the maps of views for one target, by name, float32 `[B, g_h, g_w]` each."""
        parts = [self._explain(views[start : start + VIEWS], target) for start in range(0, len(views), VIEWS)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._names}

    def _explain(self, views: Pixels, target: Any) -> dict[str, Floats]:
        encoder, mode = self._encoder, _BlockByBlock(self._blocks)
        with encoder.differentiable() as embed:
            pixels = torch.from_numpy(views).to(encoder.device).permute(0, 3, 1, 2).float().requires_grad_()
            with mode.watching():
                embedding = embed(pixels)
            explained = (
                embedding * torch.as_tensor(np.asarray(target), dtype=embedding.dtype).to(encoder.device)
            ).sum()
            layers, pooling = self._layers(mode, len(views))
            weights = [layer.weights for layer in (*layers, *pooling)]
            gradients = torch.autograd.grad(
                explained, [*weights, layers[-1].outputs], retain_graph=True, allow_unused=True
            )
            if any(gradient is None for gradient in gradients):
                raise self._refusal("its embedding does not come from its attention")
            positive = [(a * g).clamp(min=0).mean(dim=1) for a, g in zip(weights, gradients, strict=False)]
            rows_by_map: dict[str, Tensor] = {}
            if RELEVANCE in self._names:
                # Exactly the rows of the tokens that are read have a gradient.
                read = gradients[-1].abs().sum(dim=(1, 3)) > 0
                rows = positive[-1].sum(dim=1) if pooling else read / read.sum(dim=1, keepdim=True)
                rolled = rows  # of R, with R ← R + A R from the first layer to the last, starting from R = I
                for layer in reversed(positive[: len(layers)]):
                    rolled = rolled + torch.einsum("bt,bts->bs", rolled, layer)
                # A token's own contribution is equal for all tokens that are read, and says nothing about patches.
                rows_by_map[RELEVANCE] = rolled if pooling else rolled - rows
            if TOKENS in self._names:
                rows_by_map[TOKENS] = self._tokens(mode, layers[-1], explained)
        return {name: self._on_grid(row) for name, row in rows_by_map.items()}

    def _layers(self, mode: "_BlockByBlock", count: int) -> tuple[list[AttendedTensor], list[AttendedTensor]]:
        depth = len(self._blocks)
        layers, pooling = mode.attended[:depth], mode.attended[depth:]
        if mode.block_numbers != [*range(depth), *[-1] * len(pooling)]:
            raise self._refusal("attention does not run once in each of its blocks")
        tokens = layers[-1].weights.shape[-1]
        if any(layer.weights.shape[::2] != (count, tokens) or layer.weights.shape[3] != tokens for layer in layers):
            raise self._refusal("its blocks do not attend from the same tokens to the same tokens")
        if mode.has_open_end or len(pooling) > 1 or any(layer.weights.shape[-1] != tokens for layer in pooling):
            raise self._refusal("its embedding comes from attention for which no rule is known")
        return layers, pooling

    def _tokens(self, mode: "_BlockByBlock", last: AttendedTensor, explained: Tensor) -> Tensor:
        """Returns each token's contribution through the last block's attention and residual stream, `[B, T]`."""
        mode.closed = True
        (gradient,) = torch.autograd.grad(explained, [last.outputs])
        if not mode.has_gate or not gradient.any():
            raise self._refusal("its last block has no norm between attention and MLP", "`maps` relevance alone")
        return torch.einsum("bhqt,bhtd,bhqd->bt", last.weights, last.values, gradient)

    def _on_grid(self, row: Tensor) -> Floats:
        if (patches := self._tower.on_grid(row.detach(), len(row))) is None:
            raise self._refusal("its tokens do not form a grid of patches")
        return np.asarray(patches.cpu().float().numpy())

    def _refusal(self, why: str, instead: str = "it without `maps`") -> UsageError:
        return UsageError(f"{self._encoder.name} cannot provide these maps: {why}; run {instead}")


class _BlockByBlock(AttentionInterceptor):
    """Attention in plain products with the index of its block, and a gate before the MLP of the last block."""

    def __init__(self, blocks: list[nn.Module]) -> None:
        super().__init__()
        self.block_numbers: list[int] = []
        self.closed, self.has_gate = False, False
        self._blocks, self._block, self._is_projected = blocks, -1, False

    def watching(self) -> ExitStack:
        stack = ExitStack()
        for number, block in enumerate(self._blocks):
            stack.callback(block.register_forward_pre_hook(self._enter(number)).remove)
            stack.callback(block.register_forward_hook(self._enter(-1)).remove)
        stack.enter_context(self)
        return stack

    @property
    def has_open_end(self) -> bool:
        return self._softmax is not None

    def _enter(self, number: int) -> Callable[..., None]:
        def move(*_: Any) -> None:
            self._block, self._is_projected = number, False

        return move

    def attend(self, weights: Tensor, values: Tensor) -> Tensor:
        self.block_numbers.append(self._block)
        return super().attend(weights, values)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Kwargs | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        if self._block == len(self._blocks) - 1 and self._block in self.block_numbers and not self.has_gate:
            if func in NORMS and self._is_projected:
                result.register_hook(lambda gradient: torch.zeros_like(gradient) if self.closed else None)
                self.has_gate = True
            self._is_projected |= func in (functional.linear, functional.multi_head_attention_forward)
        return result
