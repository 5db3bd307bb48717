"""Times the calls of one pass, alternating between torch's own kernels and others."""

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from embedshift.arrays import Values
from embedshift.encoders.kernels import CpuKernels

T = TypeVar("T")

clock = time.perf_counter

# Seconds of one call that is timed, and of all its turns; how many turns there are.
CALL, TURNS = 0.06, 0.25
FEWEST, MOST = 3, 9
# How many of the first arguments of a call have the views as their first axis.
BATCHED = {functional.linear: 1, functional.conv2d: 1, functional.scaled_dot_product_attention: 3}


class Calls(TorchFunctionMode):
    """The calls of one pass over one view that kernels may replace: the first call of each shape, and their number."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Any, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {}
        self._counts: dict[Any, int] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in BATCHED:
            shapes = [(tuple(each.shape), each.dtype) if isinstance(each, Tensor) else str(each) for each in args]
            key = (func, str(shapes))
            self._seen.setdefault(key, (func, args, kwargs or {}))
            self._counts[key] = self._counts.get(key, 0) + 1
        return func(*args, **(kwargs or {}))

    def times_as_fast(self, kernels: CpuKernels, dtype: torch.dtype, batch: int) -> float:
        """Returns how many times as fast the replaced calls are: by medians or by fastest runs, the smaller of both."""
        totals = np.zeros((2, 2))
        low = dtype != torch.float32
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=low):
            for key, (func, args, kwargs) in self._seen.items():
                if kernels.replaces(func):
                    with contextlib.suppress(RuntimeError):  # it cannot be repeated
                        totals += self._counts[key] * _in_turns(func, args, kwargs, kernels, batch)
        return float((totals[0] / totals[1]).min()) if (totals > 0).all() else 1.0


def _in_turns(
    func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], kernels: CpuKernels, batch: int
) -> Values:
    """Returns seconds per view of a call, `[2, 2]`: torch's kernel and the other; median and minimum."""

    def repeated(count: int) -> list[Any]:
        first = BATCHED[func]
        return [_repeated(each, count) for each in args[:first]] + list(args[first:])

    def seconds(given: list[Any], at_work: AbstractContextManager[Any]) -> float:
        with at_work:
            return timed(lambda: func(*given, **kwargs))[0]

    ways = (nullcontext(), kernels)
    # Not from one view, where the fixed cost of a call would dominate.
    slower = max(seconds(repeated(batch), way) for way in ways)
    count = fitting(batch, CALL, slower / batch)
    given, turns = repeated(count), list[list[float]]()
    for way in ways:
        seconds(given, way)
    until = clock() + TURNS
    while len(turns) < FEWEST or (len(turns) < MOST and clock() < until):
        turns.append([seconds(given, way) for way in ways])
    return np.stack([np.median(turns, axis=0), np.min(turns, axis=0)], axis=1) / count


def _repeated(x: Tensor, count: int) -> Tensor:
    """Repeats a tensor along its first axis and keeps the order of axes in memory, since some kernels would copy it."""
    order = sorted(range(x.ndim), key=x.stride, reverse=True)
    times = [count if axis == 0 else 1 for axis in order]
    return x.permute(order).repeat(times).permute([order.index(axis) for axis in range(x.ndim)])


def fitting(most: int, seconds: float, of_one: float) -> int:
    """Returns how many views of `of_one` seconds each fit into `seconds`, from 1 to `most`."""
    return max(1, min(most, int(seconds / max(of_one, 1e-9))))


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Returns the seconds that a function takes, and its result."""
    started = clock()
    result = work()
    return clock() - started, result
