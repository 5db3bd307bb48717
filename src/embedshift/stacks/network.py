"""The network of a reference, altered: precision, GELU, interpolation of positions; and all its poolings at once."""

import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.arrays import Floats, Values
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.structure import DTYPES, has_cls_token, patch_embedding, run_of_blocks

GELUS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": functional.gelu,
    "quick": lambda x: x * torch.sigmoid(1.702 * x),
    "tanh": functools.partial(functional.gelu, approximate="tanh"),
}


class _Positions(TorchFunctionMode):
    """Inside the context a network interpolates its positions otherwise."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.is_used = how, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is functional.interpolate:
            self.is_used = True
            if self.how == "bilinear":
                kwargs["mode"] = "bilinear"
            elif self.how == "antialias":
                kwargs["antialias"] = True
            elif self.how == "offset":
                sides = zip(kwargs.pop("size"), args[0].shape[-2:], strict=True)
                kwargs["scale_factor"] = [(new + 0.1) / old for new, old in sides]
        return func(*args, **kwargs)


class Network:
    """The altered passes of an encoder; `axes` has the values that exist for it."""

    def __init__(self, encoder: ModuleEncoder) -> None:
        self.encoder = encoder
        self._modules = functools.cache(self._altered)
        self._outputs: list[Any] = []
        self._has_class = has_cls_token(encoder.module)
        kinds = {kind for part in encoder.module.modules() if (kind := _gelu(part))}
        self.gelu = kinds.pop() if len(kinds) == 1 else None
        probe = np.random.default_rng(0).normal(size=(1, 3, encoder.size, encoder.size)).astype(np.float32)
        with _Positions("own") as positions:
            vectors = self(probe, "float32", self.gelu, "own")
        own = vectors["own"]
        others = [n for n, v in vectors.items() if v.shape != own.shape or not np.allclose(v, own, 1e-4, 1e-5)]
        self.axes = {
            "gelu": GELUS if self.gelu else (),
            "positions": ("bilinear", "antialias", "offset") if positions.is_used else (),
            "precision": ("bfloat16", "float16", "int8 weights", *(["int8"] if encoder.device.type == "cpu" else [])),
            "pooling": others,
        }

    def __call__(self, inputs: Floats, precision: str, gelu: str | None, positions: str) -> dict[str, Values]:
        """Encodes inputs `[B, 3, S, S]` into vectors `[B, D]` of each pooling."""
        module, norms = self._modules(precision, gelu)
        pixels = torch.from_numpy(inputs).to(self.encoder.device, DTYPES.get(precision, torch.float32))
        self._outputs.clear()
        with torch.inference_mode(), self.encoder.tower.block_hooks.silent(), _Positions(positions):
            vectors = {"own": self.encoder.embed(module, pixels)}
            outputs = [output[0] if isinstance(output, tuple) else output for output in self._outputs]
            for before in outputs if outputs and outputs[0].ndim == 3 else ():
                fitting = [norm for norm in norms if norm.normalized_shape == before.shape[2:]]
                vectors |= self._pooled(before, fitting[-1](before) if fitting else before, inputs.shape[-1])
        return {name: vector.double().cpu().numpy() for name, vector in vectors.items()}

    def _pooled(self, before: Tensor, after: Tensor, side: int) -> dict[str, Tensor]:
        patch = patch_embedding(self.encoder.module)
        special = max(0, after.shape[1] - (side // patch.kernel_size[0]) ** 2) if patch else 0
        mean = after[:, special:].mean(dim=1)
        pooled = {"mean": mean, "mean before norm": before[:, special:].mean(dim=1), "all": after.mean(dim=1)}
        if self._has_class:
            pooled |= {"class": after[:, 0], "class before norm": before[:, 0]}
            pooled["both"] = torch.cat([after[:, 0], mean], dim=1)
        return pooled

    def _altered(self, precision: str, gelu: str | None) -> tuple[nn.Module, list[nn.LayerNorm]]:
        """A copy of the encoder's module, with its own weights where they differ; and the norms outside its blocks."""
        original, block_hooks = self.encoder.module, self.encoder.tower.block_hooks  # whose hooks stay silent
        weights = original.parameters() if precision == "float32" else ()
        module = copy.deepcopy(original, {id(block_hooks): block_hooks, **{id(weight): weight for weight in weights}})
        for part in module.modules() if gelu != self.gelu else ():
            if _gelu(part):
                part.forward = GELUS[gelu or ""]  # of this instance
        blocks = run_of_blocks(module)
        inside = {*blocks.modules()} if blocks else set()
        norms = [part for part in module.modules() if isinstance(part, nn.LayerNorm) and part not in inside]
        if blocks:
            blocks[-1].register_forward_hook(lambda _module, _inputs, output: self._outputs.append(output))
        if precision == "int8":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                quantize: Any = torch.ao.quantization.quantize_dynamic
                quantize(module, {nn.Linear}, dtype=torch.qint8, inplace=True)
        for part in module.modules() if precision == "int8 weights" else ():
            if isinstance(part, nn.Linear):
                step = part.weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
                part.weight = nn.Parameter((part.weight / step).round() * step, requires_grad=False)
        return module.to(DTYPES.get(precision, torch.float32)), norms


def _gelu(part: nn.Module) -> str | None:
    """The kind of GELU that a module is, by what it computes; None for any other module."""
    if "gelu" not in type(part).__name__.lower():
        return None
    x = torch.linspace(-4, 4, 65)
    with torch.inference_mode():
        return next((kind for kind, gelu in GELUS.items() if torch.allclose(part(x), gelu(x), atol=1e-6)), None)
