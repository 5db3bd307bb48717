"""Each kernel, compilation and each precision against torch's own, in turns; for `tried.py`."""

import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from torch import nn

from embedshift.config import Precision
from embedshift.encoders.device import keep_memory
from embedshift.encoders.huggingface import load_huggingface
from embedshift.encoders.kernels import KERNELS, CpuKernels
from embedshift.encoders.module import ModuleEncoder
from embedshift.encoders.verdict import processor
from embedshift.encoders.weights import DTYPES

MATTER = ("avx2", "avx_vnni", "avx512", "amx", "f16c", "neon", "sve", "bf16", "i8mm")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

Way = tuple[ModuleEncoder, Callable[[], AbstractContextManager[Any]]]


def processor_lines() -> Iterator[str]:
    """What the processor has, and what torch and its libraries use of it."""
    found = processor()
    yield f"{found['name']}, {found['threads']} threads, held by {found['held'] or 'nothing'}"
    yield "features: " + ", ".join(name for name in found["features"] if name.startswith(MATTER))
    yield f"torch's own kernels use {found['torch']}; oneDNN has products in bfloat16: {found['bfloat16']}"


def show_turns(checkpoint: str, rounds: int, views: int) -> None:
    """Prints for every way how many times as fast it is as torch's own in float32, or in its precision."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("embedshift").setLevel(logging.INFO)
    keep_memory()
    ways: dict[tuple[str, str], Way] = {}
    for precision in PRECISIONS:
        encoder = load_huggingface(checkpoint, device="cpu", precision=precision)
        for name, kernels in _kernels(encoder, encoder.kernels).items():
            ways[precision, name] = encoder, _taking(encoder, kernels)
        ways[precision, "compiled"] = encoder, lambda encoder=encoder: encoder.compiling(views)  # type: ignore[misc]
        print(f"{precision}: taken: {', '.join(encoder.kernels) or 'none'}", flush=True)
    auto = load_huggingface(checkpoint, device="cpu", precision="auto")
    print(f"auto became {auto.precision}", flush=True)
    seconds = _in_turns(ways, rounds, views)
    for (computed, name), found in seconds.items():
        own, full = seconds[computed, "torch's own"], seconds["float32", "torch's own"]
        words = f"{statistics.median(found) / views * 10:.3f} s/image"
        against = _ratio(own, found) if name != "torch's own" else _ratio(full, found) + " of float32"
        print(f"{computed} {name}: {words}, {against}")


def _in_turns(ways: dict[tuple[str, str], Way], rounds: int, views: int) -> dict[tuple[str, str], list[float]]:
    pictures = np.random.default_rng(0).integers(0, 256, (views, 224, 224, 3), dtype=np.uint8)
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):  # the first warms up
        for way, (encoder, at_work) in ways.items():
            try:
                with at_work():
                    started = time.perf_counter()
                    encoder(pictures)
                    taken = time.perf_counter() - started
            except Exception as error:
                print(f"{way}: {error}")
                taken = float("nan")
            if number:
                seconds[way].append(taken)
    return seconds


def _kernels(encoder: ModuleEncoder, taken: Sequence[str]) -> dict[str, CpuKernels | None]:
    """By name, each of the kernels that can be had, and those that are taken."""
    found: dict[str, CpuKernels | None] = {"torch's own": None}
    dtype, module = DTYPES[encoder.precision], encoder.module
    for name in KERNELS[dtype]:
        found |= _made(module, dtype, [name])
    if len(taken) > 1:
        found["all that are taken"] = CpuKernels(module, dtype, taken)
    return found


def _made(module: nn.Module, dtype: Any, names: list[str]) -> dict[str, CpuKernels | None]:
    try:
        return {names[0]: CpuKernels(module, dtype, names)}
    except RuntimeError as error:
        print(f"{names[0]} in {dtype}: not here ({str(error)[:80]})")
        return {}


def _taking(encoder: ModuleEncoder, kernels: CpuKernels | None) -> Callable[[], AbstractContextManager[Any]]:
    @contextlib.contextmanager
    def entered() -> Iterator[None]:
        before, encoder._kernels = encoder._kernels, None
        try:
            with kernels or nullcontext():
                yield
        finally:
            encoder._kernels = before

    return entered


def _ratio(first: list[float], second: list[float]) -> str:
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
