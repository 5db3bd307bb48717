"""Packed weights, compilation and each precision against torch's own kernels: CLIP ViT-B/32, random weights.

usage: python benchmarks/tried.py [--rounds 5] [--views 40]

All ways in turns in one process, A-B-A-B; medians and ranges of ratios within a round. What a processor without AVX-512
does: with `ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2` (without the last of which
float32 would keep AVX-512).
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from statistics import median

import torch

from bench import arguments, print_head, print_machine, print_row, random_views, ratios, save_clip, timed
from embedshift.config import Precision
from embedshift.encoders.device import keep_memory
from embedshift.encoders.huggingface import load_huggingface
from embedshift.encoders.kernels import PACKED
from embedshift.encoders.module import ModuleEncoder

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
OWN = "torch's own"

Way = tuple[ModuleEncoder, Callable[[], AbstractContextManager[None]]]


def ways(checkpoint: str, views: int) -> Iterator[tuple[str, Way]]:
    """Every precision by torch's own kernels, with packed weights, and compiled."""
    for precision in PRECISIONS:
        encoder = load_huggingface(checkpoint, device="cpu", precision=precision)
        encoder.choose_kernels()
        print(f"{precision}: chosen: {', '.join(encoder.kernels) or OWN}", flush=True)
        encoder.use_kernels([])
        yield f"{precision}, {OWN}", (encoder, contextlib.nullcontext)
        yield f"{precision}, packed weights", (encoder, partial(packed, encoder))
        yield f"{precision}, compiled", (encoder, partial(encoder.compiling, views))


@contextlib.contextmanager
def packed(encoder: ModuleEncoder) -> Iterator[None]:
    """Inside the context the encoder uses packed weights."""
    encoder.use_kernels([PACKED])
    try:
        yield
    finally:
        encoder.use_kernels([])


def seconds_of(way: Way, views: int) -> float:
    """Of a pass; NaN where it fails, as compilation does without a compiler."""
    encoder, at_work = way
    try:
        with at_work():
            return timed(partial(encoder, random_views(views)))
    except Exception as error:
        print(error)
        return float("nan")


def main() -> None:
    options = arguments(__doc__, rounds=5, views=40)
    keep_memory()
    print_machine()
    print(f"torch uses {torch.backends.cpu.get_cpu_capability()}")
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_clip(Path(folder) / "clip")
        tried = dict(ways(checkpoint, options.views))
        print(f"auto became {load_huggingface(checkpoint, device='cpu', precision='auto').precision}\n", flush=True)
        rounds = [
            {name: seconds_of(way, options.views) for name, way in tried.items()} for _ in range(options.rounds + 1)
        ]
    print_head("way", "s/image", "times as fast as torch's own", "times as fast as torch's own in float32")
    for name in tried:
        own = f"{name.partition(',')[0]}, {OWN}"
        seconds = median(each[name] for each in rounds[1:]) / options.views * 10  # the first warms up
        print_row(name, f"{seconds:.3f}", *(ratios(rounds[1:], of, name) for of in (own, f"float32, {OWN}")))


if __name__ == "__main__":
    main()
