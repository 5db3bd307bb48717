"""Packed weights, compilation and each precision against torch's own kernels, in turns; for `tried.py`."""

import contextlib
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import numpy as np
import torch

from embedshift.config import Precision
from embedshift.encoders.device import keep_memory
from embedshift.encoders.huggingface import load_huggingface
from embedshift.encoders.kernels import PACKED
from embedshift.encoders.module import ModuleEncoder

MATTER = ("avx2", "avx_vnni", "avx512", "amx", "f16c", "neon", "sve", "bf16", "i8mm")
# Settings that restrict the processor instructions of torch and its libraries.
HELD = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
OWN = "torch's own"

Way = tuple[ModuleEncoder, Callable[[], AbstractContextManager[None]]]


def processor_lines() -> Iterator[str]:
    """What the processor has, and what torch and its libraries use of it."""
    lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    held = {name: os.environ[name] for name in HELD if name in os.environ}
    yield f"{name}, {torch.get_num_threads()} threads, held by {held or 'nothing'}"
    features: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    yield "features: " + ", ".join(
        sorted(name for name in features if features[name] is True and name.startswith(MATTER))
    )
    bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    yield f"torch uses {torch.backends.cpu.get_cpu_capability()}; oneDNN has products in bfloat16: {bfloat16}"


def show_turns(checkpoint: str, rounds: int, views: int) -> None:
    """Prints for every way how many times as fast it is as torch's own in float32, or in its precision."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("embedshift").setLevel(logging.INFO)
    keep_memory()
    ways: dict[tuple[str, str], Way] = {}
    for precision in PRECISIONS:
        encoder = load_huggingface(checkpoint, device="cpu", precision=precision)
        ways[precision, OWN] = encoder, contextlib.nullcontext
        encoder.choose_kernels()
        print(f"{precision}: chosen: {', '.join(encoder.kernels) or OWN}", flush=True)
        encoder.use_kernels([])
        ways[precision, "packed weights"] = encoder, partial(packed, encoder)
        ways[precision, "compiled"] = encoder, partial(encoder.compiling, views)
    auto = load_huggingface(checkpoint, device="cpu", precision="auto")
    print(f"auto became {auto.precision}", flush=True)
    seconds = in_turns(ways, rounds, views)
    for (precision_of, name), measured in seconds.items():
        own, full = seconds[precision_of, OWN], seconds["float32", OWN]
        words = f"{statistics.median(measured) / views * 10:.3f} s/image"
        against = ratio(own, measured) if name != OWN else ratio(full, measured) + " of float32"
        print(f"{precision_of} {name}: {words}, {against}")


@contextlib.contextmanager
def packed(encoder: ModuleEncoder) -> Iterator[None]:
    """Inside the context the encoder uses packed weights."""
    encoder.use_kernels([PACKED])
    try:
        yield
    finally:
        encoder.use_kernels([])


def in_turns(ways: dict[tuple[str, str], Way], rounds: int, views: int) -> dict[tuple[str, str], list[float]]:
    """Returns the seconds of every pass."""
    images = np.random.default_rng(0).integers(0, 256, (views, 224, 224, 3), dtype=np.uint8)
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):  # the first warms up
        for way, (encoder, at_work) in ways.items():
            try:
                with at_work():
                    started = time.perf_counter()
                    encoder(images)
                    measured = time.perf_counter() - started
            except Exception as error:
                print(f"{way}: {error}")
                measured = float("nan")
            if number:
                seconds[way].append(measured)
    return seconds


def ratio(first: list[float], second: list[float]) -> str:
    """Returns how many times as fast the second is, round by round."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
