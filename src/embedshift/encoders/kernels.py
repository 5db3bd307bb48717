"""oneDNN's matrix products with packed weights, which a long study uses on a CPU where they are faster.

`nn.Linear` runs through MKL in float32; in bfloat16 it first copies its bias into the result. oneDNN's linear with
packed weights, which torch's compiler uses, is faster by a tenth to a fifth on some processors with AVX-512. Results
differ by rounding, so study.json names the kernels with which a study began, and whoever continues it uses the same.
"""

import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput
from embedshift.encoders.device import keep_memory, one_thread
from embedshift.encoders.timing import FASTER, noise, same_output, timed, views_in

# The name of these kernels in study.json.
PACKED = "products"
# Only for a run of more seconds the kernels are timed.
LONG = 60
# The number of timed passes each way, the most seconds of all of them, and the largest part of the run that they take.
TURNS, MOST, PART = 7, 10, 1 / 20


class PackedWeights(TorchFunctionMode):
    """Inside the context a module's linear layers and patch embeddings run through oneDNN with packed weights."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
            raise RuntimeError("torch was built without oneDNN")
        with torch.no_grad():
            # With the weight itself, so that its id stays its own.
            self._packed = {id(weight): (weight, _pack(weight)) for weight in _weights(module, dtype)}
        self._replaced: dict[Any, Callable[..., Any]] = {
            functional.linear: self._linear,
            functional.conv2d: self._patch_embedding,
        }

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._replaced.get(func, func)(*args, **(kwargs or {}))

    def _linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if torch.compiler.is_compiling():
            float32 = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            return _product(x, weight, bias) if float32 else functional.linear(x, weight, bias)
        packed = self._packed_weight(weight)
        if packed is None:
            return functional.linear(x, weight, bias)
        return _product(x.to(weight.dtype), packed, bias)

    def _patch_embedding(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        packed = self._packed_weight(weight)
        if packed is None:
            return functional.conv2d(x, weight, bias, *args, **kwargs)
        height, width = weight.shape[2:]
        batch, channels, rows, columns = x.shape
        patches = x.view(batch, channels, rows // height, height, columns // width, width).permute(0, 2, 4, 1, 3, 5)
        flat = torch.empty(patches.shape, dtype=weight.dtype).copy_(patches).flatten(3)
        return _product(flat, packed, bias).permute(0, 3, 1, 2)

    def _packed_weight(self, weight: Tensor) -> Tensor | None:
        if torch.compiler.is_compiling() or id(weight) not in self._packed:
            return None
        return self._packed[id(weight)][1]


def _weights(module: nn.Module, dtype: torch.dtype) -> Iterator[Tensor]:
    for part in module.modules():
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and _cuts_patches(part)):
            weight: Tensor = part.weight
            if weight.dtype == dtype:
                yield weight


def _cuts_patches(part: nn.Conv2d) -> bool:
    plain = part.padding in ((0, 0), "valid") and part.dilation == (1, 1) and part.groups == 1
    return plain and part.stride == part.kernel_size and part.kernel_size[0] > 1


def _pack(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().flatten(1).contiguous())
    return packed


def _product(x: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        x, packed, None if bias is None else bias.to(x.dtype), "none", [], ""
    )
    return product


def packed_is_faster(
    encode: Callable[[Pixels], EncoderOutput],
    pack: Callable[[], PackedWeights],
    *,
    size: int,
    views: int,
    batch: int,
    rounding: float,
) -> bool:
    """Times an encoder's pass with and without packed weights, in turns, where a run takes more than a minute."""
    keep_memory()  # as a study does: it is a large part of the time of some kernels
    images = noise(1, size)
    seconds, plain = _quickest(encode, images, enough=LONG / views)
    run = seconds * views
    if run < LONG:
        return False
    packed = pack()
    with packed:
        if not same_output(plain, encode(images), rounding):
            return False
    seconds_of_pass = min(MOST, run * PART) / (2 * TURNS)
    images = noise(views_in(seconds_of_pass, seconds, batch), size)
    ratios = []
    for _ in range(TURNS):
        own = timed(lambda: encode(images))[0]
        with packed:
            ratios.append(own / timed(lambda: encode(images))[0])
    # Of pairs that follow each other, since other work on the machine comes and goes.
    return statistics.median(ratios) >= FASTER


def _quickest(
    encode: Callable[[Pixels], EncoderOutput], images: Pixels, *, enough: float
) -> tuple[float, EncoderOutput]:
    """Returns the seconds of a pass if all threads share it, and its output; on one, since threads that share wait."""
    threads, seconds = torch.get_num_threads(), math.inf
    with one_thread():
        for _ in range(3):
            pass_seconds, output = timed(lambda: encode(images))
            seconds = min(seconds, pass_seconds / threads)
            if seconds < enough:
                break
    return seconds, output
