"""Faster passes with equal numbers up to rounding: packed weights, and compilation.

On a CPU with AVX-512, oneDNN's float32 products with packed weights are up to 1.8 times as fast as `nn.Linear`; without
AVX-512 they are slower. They are chosen by rule, never by timing. study.json names the kernels of a study, which a
resumed run uses again.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from embedshift.config import Precision

# Name of these kernels in study.json.
PACKED = "products"
# Calls of a linear layer as a torch mode sees them: each begins with x, weight and bias.
LINEAR = (functional.linear, getattr(torch.ops.mkldnn, "_linear_pointwise", None))


def usual_kernels(device: torch.device, precision: Precision) -> tuple[str, ...]:
    has_avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    packs = device.type == "cpu" and precision == "float32" and has_avx512 and _has_onednn()
    return (PACKED,) if packs else ()


class PackedLinears:
    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        if not _has_onednn():
            raise RuntimeError("torch was built without oneDNN")
        self._dtype = dtype
        self._layers = [part for part in module.modules() if _is_plain(part)]
        self._packed: dict[nn.Linear, _PackedLinear] = {}
        self._follow()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Context in which the layers' `forward` is the packed product in passes without gradients."""
        self._follow()
        try:
            for layer, packed in self._packed.items():
                vars(layer)["forward"] = packed.forward
            yield
        finally:
            for layer in self._layers:
                vars(layer).pop("forward", None)

    def _follow(self) -> None:
        for layer in self._layers:
            if layer.weight.dtype != self._dtype or layer.weight.device.type != "cpu":
                self._packed.pop(layer, None)
            elif layer not in self._packed or not self._packed[layer].is_current():
                self._packed[layer] = _PackedLinear(layer)


def _is_plain(part: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether a layer computes as `nn.Linear`: its own `forward` and a stored weight."""
    return type(part).forward is nn.Linear.forward and "forward" not in vars(part) and "weight" in part._parameters


class _PackedLinear:
    def __init__(self, layer: nn.Linear) -> None:
        self._layer, self._version = layer, _version(layer.weight)
        self._weight = layer.weight.detach()  # so that no other weight gets its address
        self._packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(self._weight.contiguous())

    def is_current(self) -> bool:
        weight = self._layer.weight
        return (weight.data_ptr(), _version(weight)) == (self._weight.data_ptr(), self._version)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # the packed product has no gradient
            return nn.Linear.forward(self._layer, x)
        # A compiled pass packs the frozen weight itself.
        weight = self._layer.weight if torch.compiler.is_compiling() else self._packed
        return _product(x.to(weight.dtype), weight, self._layer.bias)


def _version(weight: Tensor) -> int | None:
    return None if weight.is_inference() else weight._version


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def _has_onednn() -> bool:
    is_built: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return is_built and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    import torch._dynamo.config  # takes a second or two
    import torch._inductor.config

    run = torch.compile(function, dynamic=False)

    def frozen(*inputs: Any) -> Tensor:
        # Around every call: the first one traces, with weights known to be constants; later hooks must trigger a new
        # trace.
        guards = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
        with torch._inductor.config.patch(freezing=True), guards:
            return run(*inputs)

    return frozen
