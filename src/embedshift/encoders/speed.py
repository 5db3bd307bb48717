"""Makes a forward pass faster without changing its output: a shortcut, and compilation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from embedshift.encoders.base import EncoderOutput

# Added to tokens that nothing should read.
WILD = 1000.0
FEED_FORWARD = ("mlp", "ffn", "feed_forward")


class ClassTokenShortcut:
    """Inside the context, the feed-forward network of the last block computes only the first token."""

    def __init__(self, block: nn.Module) -> None:
        self.on = False
        self.wild = False
        found = [part for name, part in block.named_children() if name in FEED_FORWARD]
        self._handles = [part.register_forward_pre_hook(self._first) for part in found]
        if found:
            self._handles.append(block.register_forward_hook(self._make_wild))

    def __bool__(self) -> bool:
        return bool(self._handles)

    def __enter__(self) -> None:
        self.on = True

    def __exit__(self, *_: object) -> None:
        self.on = False

    def remove(self) -> None:
        """Removes the hooks from the block."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def _make_wild(self, _block: nn.Module, _inputs: Any, output: Any) -> None:
        tokens = output[0] if isinstance(output, tuple) else output
        if self.on and self.wild:
            tokens[:, 1:] += WILD

    def _first(self, _part: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not self.on or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 3:
            return None
        return (inputs[0][:, :1], *inputs[1:])


def same_output(a: EncoderOutput, b: EncoderOutput, rounding: float = 1e-5) -> bool:
    """Returns whether two outputs differ by no more than rounding, as a fraction of the largest value."""
    first, second = a.arrays(), b.arrays()
    return first.keys() == second.keys() and all(
        np.abs(first[name] - second[name]).max() <= rounding * np.abs(first[name]).max() for name in first
    )


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compiles a function by torch's inductor for inputs of one shape, with frozen weights."""
    import torch._dynamo.config  # a second or two that only this needs
    import torch._inductor.config

    run = torch.compile(function, dynamic=False)

    def frozen(*inputs: Any) -> Tensor:
        # Around every call, since the first one traces: by then weights must be known to be constants, and hooks that
        # come or go later must make it trace again.
        guards = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
        with torch._inductor.config.patch(freezing=True), guards:
            return run(*inputs)

    return frozen
