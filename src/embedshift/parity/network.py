"""The network of a reference, altered: precision, GELU, interpolation of positions; and all its poolings at once."""

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.arrays import Floats, Pixels, Values
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.structure import has_cls_token, run_of_blocks
from embedshift.encoders.weights import DTYPES

GELUS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "exact": functional.gelu,
    "quick": lambda x: x * torch.sigmoid(1.702 * x),
    "tanh": functools.partial(functional.gelu, approximate="tanh"),
}


class _Gelu(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, x: Tensor) -> Tensor:
        return GELUS[self.kind](x)


class _Positions(TorchFunctionMode):
    """Inside the context what a network interpolates by bicubic, its positions, is interpolated otherwise."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.is_used = how, False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.interpolate and kwargs.get("mode") in ("bicubic", "bilinear"):
            self.is_used = True
            if self.how == "bilinear":
                kwargs = kwargs | {"mode": "bilinear"}
            elif self.how == "antialias":
                kwargs = kwargs | {"antialias": True}
            elif self.how == "offset" and (size := kwargs.pop("size", None)):
                scales = [(new + 0.1) / old for new, old in zip(size, args[0].shape[-2:], strict=True)]
                kwargs = kwargs | {"scale_factor": scales}
        return func(*args, **kwargs)


class Network:
    """The altered passes of an encoder; `axes` has the values that exist for it."""

    def __init__(self, encoder: ModuleEncoder) -> None:
        self.encoder = encoder
        self._modules = functools.cache(self._module)
        self._has_class, self._special = has_cls_token(encoder.tower.module), 0
        kinds = {_kind_of(part) for part in encoder.module.modules()} - {None}
        self.gelu = kinds.pop() if len(kinds) == 1 else "own"
        probe = np.random.default_rng(0).normal(size=(3, encoder.size, encoder.size)).astype(np.float32)
        positions = _Positions("own")
        with positions:
            poolings = self(probe, "float32", self.gelu, "own")
        self.axes: dict[str, tuple[Any, ...]] = {
            "gelu": tuple(GELUS) if self.gelu in GELUS else (),
            "positions": ("own", "bilinear", "antialias", "offset") if positions.is_used else (),
            "precision": ("float32", "bfloat16", "float16", *(["int8"] if encoder.device.type == "cpu" else [])),
            "pooling": tuple(k for k, v in poolings.items() if k == "own" or not _equal(v, poolings["own"])),
        }

    def __call__(self, inputs: Floats, precision: str, gelu: str, positions: str) -> dict[str, Values]:
        """Encodes one input `[3, S, S]` into a vector of each pooling."""
        module = self._modules(precision)
        dtype = DTYPES.get(precision, torch.float32)
        pixels = torch.from_numpy(inputs)[None].to(self.encoder.device, dtype)
        mode = contextlib.nullcontext() if positions == "own" else _Positions(positions)
        silent, other = self.encoder.tower.taps.silent(), gelu if gelu != self.gelu else None
        with torch.inference_mode(), silent, _gelu_of(module, other), mode, _captured(module) as tokens:
            own = self.encoder.embed(module, pixels)
        vectors = {"own": own, **self._poolings(tokens)}
        return {name: vector[0].double().cpu().numpy() for name, vector in vectors.items()}

    def _poolings(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        if "after" not in tokens:
            return {}
        after, before = tokens["after"], tokens["before"]
        if not self._special and self.encoder.grid:
            self._special = after.shape[1] - self.encoder.grid[0] * self.encoder.grid[1]
        mean, mean_before = (x[:, self._special :].mean(dim=1) for x in (after, before))
        pooled = {"mean": mean, "mean before norm": mean_before, "all": after.mean(dim=1)}
        if self._has_class:
            pooled |= {"class": after[:, 0], "class before norm": before[:, 0]}
            pooled["both"] = torch.cat([after[:, 0], mean], dim=1)
        return pooled

    def _module(self, precision: str) -> nn.Module:
        if precision == "float32":
            return self.encoder.module
        taps = self.encoder.tower.taps
        module = copy.deepcopy(self.encoder.module, {id(taps): taps})  # its hooks stay silent
        if precision != "int8":
            return module.to(DTYPES[precision])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantized: nn.Module = torch.ao.quantization.quantize_dynamic(
                module, {nn.Linear}, dtype=torch.qint8, inplace=True
            )
        return quantized


@contextlib.contextmanager
def _captured(module: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Gives the tokens that leave the last block, before and after the last norm; nothing without blocks."""
    tokens: dict[str, Tensor] = {}
    blocks = run_of_blocks(module)
    if blocks is None:
        yield tokens
        return
    inside = {*blocks.modules()}
    norms = [part for part in module.modules() if isinstance(part, nn.LayerNorm) and part not in inside]

    def capture(_module: nn.Module, _inputs: Any, output: Any) -> None:
        output = output[0] if isinstance(output, tuple) else output
        if isinstance(output, Tensor) and output.ndim == 3:
            tokens["before"] = output if len(output) == 1 else output.transpose(0, 1)

    handle = blocks[-1].register_forward_hook(capture)
    try:
        yield tokens
    finally:
        handle.remove()
    if "before" in tokens:
        before = tokens["before"]
        fitting = [norm for norm in norms if norm.normalized_shape == before.shape[2:]]
        tokens["after"] = fitting[-1](before) if fitting else before


@contextlib.contextmanager
def _gelu_of(module: nn.Module, kind: str | None) -> Iterator[None]:
    """Inside the context every GELU of a module is of another kind; None = its own."""
    places = [] if kind is None else [
        (parent, name, part) for parent in module.modules() for name, part in parent.named_children() if _kind_of(part)
    ]  # fmt: skip
    for parent, name, _ in places:
        setattr(parent, name, _Gelu(kind or ""))
    try:
        yield
    finally:
        for parent, name, part in places:
            setattr(parent, name, part)


@functools.lru_cache(4096)
def _kind_of(part: nn.Module) -> str | None:
    """The kind of GELU that a module is, by what it computes; None for any other module."""
    if next(part.children(), None) is not None or next(part.parameters(), None) is not None:
        return None
    if "gelu" not in type(part).__name__.lower():
        return None
    x = torch.linspace(-4, 4, 65)
    with torch.inference_mode():
        return next((kind for kind, gelu in GELUS.items() if torch.allclose(part(x), gelu(x), atol=1e-6)), None)


def _equal(vector: Values, other: Values) -> bool:
    return vector.shape == other.shape and np.allclose(vector, other, rtol=1e-4, atol=1e-5)


def resize_by_torch(
    pixels: Pixels | Floats, height: int, width: int, mode: str, *, antialias: bool, rounded: bool
) -> Floats:
    """Resizes an image `[H, W, 3]` as torchvision does a tensor; `rounded` = to whole values in [0, 255]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).permute(2, 0, 1)[None]
    resized = functional.interpolate(tensor, (height, width), mode=mode, align_corners=False, antialias=antialias)
    if rounded:
        resized = resized.clamp(0, 255).round()
    return np.asarray(resized[0].permute(1, 2, 0).numpy())
