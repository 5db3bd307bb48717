"""The one attention tap: the weights of a layer's own fast kernel, caught while it runs.

Fast kernels do not give their weights back, and eager ones, which do, are slower and differ. So a
`TorchFunctionMode`, active only inside one block, sees the very q and k that the kernel gets, after rotary positions,
norms and scale, and computes the few rows that are wanted beside it. It needs no names of projections and serves every
family: scaled dot-product attention, `nn.MultiheadAttention`, and attention written out with a softmax.
"""

import contextlib
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

Rows = Literal["first", "mean", "all"]

CLS_NAMES = ("cls_token", "class_embedding", "class_token")
POOL_NAMES = ("attn_pool", "attnpool")
SOFTMAX = (functional.softmax, torch.softmax, Tensor.softmax)
MULTIHEAD = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
WITH_WEIGHTS = {"need_weights": True, "average_attn_weights": False}


class AttentionTap:
    """Catches the attention of one block during its forward pass, mean over heads.

    Args:
        block: The module inside which the attention runs; the last attention in it counts.
        rows: "first" = the row of the first query token, "mean" = the mean over all query tokens, "all" = every row.

    Example:
        >>> layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
        >>> tap = AttentionTap(layer, rows="first")
        >>> x = torch.ones(1, 5, 8)
        >>> with torch.inference_mode():
        ...     _ = layer(x, x, x, need_weights=False)
        >>> tap.take().shape
        torch.Size([1, 5])
    """

    def __init__(self, block: nn.Module, *, rows: Rows) -> None:
        self._mode = _Mode(rows)
        self._entered = contextlib.ExitStack()
        self._handles = [block.register_forward_pre_hook(self._enter)]
        for part in block.modules():
            if isinstance(part, nn.MultiheadAttention):
                self._handles.append(part.register_forward_pre_hook(self._before_multihead))
                self._handles.append(part.register_forward_hook(self._after_multihead, with_kwargs=True))
        self._handles.append(block.register_forward_hook(self._leave, always_call=True))

    def remove(self) -> None:
        """Takes the hooks off the block."""
        for handle in self._handles:
            handle.remove()

    def take(self) -> Tensor | None:
        """The row `[B, T]` over all T key tokens, or all rows `[B, Q, T]`, float32, of the last pass; else None."""
        row, self._mode.row = self._mode.row, None
        return row

    def _enter(self, *_: Any) -> None:
        self._mode.row = None
        self._entered.enter_context(self._mode)

    def _leave(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        self._entered.close()
        if output is None:  # the block raised
            self._mode.row = None

    # `nn.MultiheadAttention` takes another kernel while a mode is active, which would change the output by rounding: it
    # runs without, and is asked for its weights beside that.
    def _before_multihead(self, *_: Any) -> None:
        self._entered.close()

    def _after_multihead(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any) -> None:
        given = dict(zip(MULTIHEAD, args, strict=False)) | kwargs | WITH_WEIGHTS
        self._mode.row = self._mode.from_weights(module.forward(**given)[1])


class _Mode(TorchFunctionMode):
    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows
        self.row: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            self.row = self._from_q_and_k(*args, **kwargs)
        elif func is functional.multi_head_attention_forward:
            self.row = self.from_weights(func(*args, **(kwargs | WITH_WEIGHTS))[1])
        result = func(*args, **kwargs)
        if func in SOFTMAX and result.ndim == 4:
            self.row = self.from_weights(result)
        return result

    def from_weights(self, weights: Tensor) -> Tensor:
        """Weights `[B, heads, queries, T]` → the row `[B, T]`, or all rows `[B, queries, T]`."""
        rows = weights[:, :, :1] if self.rows == "first" else weights
        return rows.float().mean(dim=1 if self.rows == "all" else (1, 2))

    def _from_q_and_k(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if query.ndim == 3:  # no dimension of heads
            query, key = query[:, None], key[:, None]
            attn_mask = attn_mask[:, None] if attn_mask is not None and attn_mask.ndim == 3 else attn_mask
        with torch.autocast(query.device.type, enabled=False):
            first = self.rows == "first"
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
            weights = scores.softmax(dim=-1)
            return weights.mean(dim=1 if self.rows == "all" else (1, 2))


def last_block(module: nn.Module) -> nn.Module | None:
    """The last of the longest run of like blocks in `module`: the last layer of its transformer.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]))
        >>> last_block(net)
        Linear(in_features=8, out_features=8, bias=True)
    """
    return next(reversed(like_blocks(module)), None)


def like_blocks(module: nn.Module) -> list[nn.Module]:
    """The longest run of like blocks in `module`, in order: the layers of its transformer; empty where there is none.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]))
        >>> len(like_blocks(net))
        2
    """
    runs = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len({*map(type, m)}) == 1]
    return list(max(runs, key=len, default=[]))


def patch_embedding(module: nn.Module) -> nn.Conv2d | None:
    """The convolution that cuts pictures into patches: the first whose stride is its kernel.

    Example:
        >>> patch_embedding(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4))).kernel_size
        (4, 4)
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == part.stride and part.kernel_size[0] > 1:
            return part
    return None


def has_cls_token(module: nn.Module) -> bool:
    """Whether the module's first token is a class token, by the name that every family gives its parameter."""
    return any(name.rsplit(".", 1)[-1] in CLS_NAMES for name, _ in module.named_parameters())


def pooling_head(module: nn.Module) -> nn.Module | None:
    """The attention that pools all tokens into one: a part named so, or one with a learned query, its `probe`."""
    part: nn.Module
    for name, part in module.named_modules():
        if name.rsplit(".", 1)[-1] in POOL_NAMES or isinstance(getattr(part, "probe", None), nn.Parameter):
            return part
    return None
