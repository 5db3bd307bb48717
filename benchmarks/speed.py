"""Speed of a study against the order of work of the paper's scripts, the encoder alone, and what the machine allows.

usage: python benchmarks/speed.py PHOTO_DIR [--photos 64] [--repeats 3] [--kinds float32 bfloat16 "bfloat16 compiled"]
       python benchmarks/speed.py PHOTO_DIR --short [--repeats 3]     short runs alone, in float32

Full-size CLIP ViT-B/32 with random weights: speed does not depend on them. Photos are repeated under other names if
there are too few. Everything runs one after the other, again and again (A-B-A-B), since the speed of a shared machine
changes, by a factor of two; ratios are taken within each round, and their median and range are printed.

A short run: (seconds of 48 photos - seconds of 8) / 40 against the authors' seconds an image, so that the start and
the end of a run do not count; and the largest relative difference of its embeddings from those by torch's own kernels.

What the machine allows: the operations of a forward pass, counted while it runs, at the best rate of a matrix product
measured in the same round. What the loaders leave: the encoder's rate if their CPU time, which the same cores give,
were the only other work.
"""

import argparse
import contextlib
import logging
import math
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import linear
from torch.utils.flop_counter import FlopCounterMode

from authors_order import in_a_process
from embedshift.config import Precision, make_config
from embedshift.encoders import Encoder, load_encoder
from embedshift.encoders.base import Compilable, HasKernels
from embedshift.encoders.device import keep_memory
from embedshift.encoders.kernels import PackedLinears
from embedshift.runner import run_study
from fullsize import repeat_photos, save_clip
from machine import describe_machine

BATCH = 40
# Name → precision, and whether the encoder is compiled.
KINDS: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "bfloat16 compiled": ("bfloat16", True),
}
# Rows, inner and outer size of matrix products: those of the model at its batch, and larger ones.
PRODUCTS = ((2_000, 768, 3_072), (2_000, 3_072, 768), (2_000, 768, 768), (2_048, 2_048, 2_048), (4_096, 4_096, 4_096))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        photos = repeat_photos(options.folder, max(48, options.photos), Path(scratch) / "photos")
        if options.short:
            compare_short(photos[:48], options.repeats)
        else:
            compare(photos[: options.photos], options.kinds, options.repeats)


def compare_short(photos: list[Path], repeats: int) -> None:
    """Measures short runs in turns with the authors' order, and prints."""
    encoder = load_encoders(["float32"])["float32"]
    assert isinstance(encoder, HasKernels)
    print(f"{describe_machine()}\nkernels: {', '.join(encoder.kernels) or 'torch only'}", flush=True)
    views = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8)
    chosen, found = encoder.kernels, encoder(views).embedding
    encoder.use_kernels([])  # a run chooses them again
    own = encoder(views).embedding
    off = np.linalg.norm(found - own, axis=1) / np.linalg.norm(own, axis=1)
    print(f"embeddings with {chosen} differ from torch's own by {off.max():.1e} at most, as a relative distance")
    rounds: list[dict[str, float]] = []
    for number in range(repeats):
        seconds = {"authors": sum(in_a_process(photos[:8]).values())}
        few, all_photos = (study(encoder, photos[:count]) * count for count in (8, len(photos)))
        seconds["study"] = (all_photos - few) / (len(photos) - 8)
        seconds["authors after"] = sum(in_a_process(photos[:8]).values())
        rounds.append(seconds | {"both": (seconds["authors"] + seconds["authors after"]) / 2})
        print(f"round {number + 1}, s/image: " + ", ".join(f"{k} {v:.3f}" for k, v in seconds.items()), flush=True)
    show("a short run against the authors' order (times as fast)", rounds, "both", "study")


def compare(photos: list[Path], kinds: Sequence[str], repeats: int) -> None:
    """Measures and prints."""
    keep_memory()
    encoders = load_encoders(kinds)
    operations = 10 * count_operations(next(iter(encoders.values())))
    rounds: list[dict[str, float]] = []
    for number in range(repeats):
        seconds = {"authors": sum(in_a_process(photos[: min(20, max(8, len(photos) // 4))]).values())}
        for kind, encoder in encoders.items():
            dtype = getattr(torch, KINDS[kind][0])
            plain, packed = best_rates(dtype)
            seconds[f"limit {kind}"], seconds[f"packed {kind}"] = operations / plain, operations / packed
            before, loaders = half_alone(encoder, kind, len(photos)), -loaders_cpu()
            seconds[f"study {kind}"] = study(encoder, photos, compiled=KINDS[kind][1])
            loaders = (loaders + loaders_cpu()) / len(photos)
            seconds[f"encoder {kind}"] = (before + half_alone(encoder, kind, len(photos))) / 2
            seconds[f"beside {kind}"] = seconds[f"encoder {kind}"] + loaders / torch.get_num_threads()
        rounds.append(seconds)
        print(f"round {number + 1}, s/image: " + ", ".join(f"{k} {v:.3f}" for k, v in seconds.items()), flush=True)
    print(describe_machine())
    print(f"{len(photos)} photos, 10 views each, CLIP ViT-B/32 with random weights, {repeats} rounds")
    print(f"{operations / 1e9:.1f} GFLOP an image, counted while the encoder runs")
    print("torch counts nothing for its fused attention on a CPU, some 1 % of the operations")
    for kind in encoders:
        show(f"study {kind} against the authors' order (times as fast)", rounds, "authors", f"study {kind}")
        show("    which the rate of matrix products would allow", rounds, "authors", f"limit {kind}")
        show("    against the encoder alone (fraction of its rate)", rounds, f"encoder {kind}", f"study {kind}")
        show("    which the CPU time of the loaders leaves", rounds, f"encoder {kind}", f"beside {kind}")
        show("    the encoder alone against torch's matrix product", rounds, f"limit {kind}", f"encoder {kind}")
        show("    against oneDNN's with packed weights", rounds, f"packed {kind}", f"encoder {kind}")


def load_encoders(kinds: Sequence[str]) -> dict[str, Encoder]:
    """The encoder in each kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(save_clip(Path(folder) / "clip"))
        encoders = {kind: load_encoder(path, device="cpu", precision=KINDS[kind][0]) for kind in kinds}
    for encoder in encoders.values():
        assert encoder.grid == (7, 7), "the attention hook must be at work"
        assert isinstance(encoder, HasKernels)
        encoder.choose_kernels()  # as a study does
    return encoders


def half_alone(encoder: Encoder, kind: str, images: int) -> float:
    """Seconds per image of the encoder alone on half of the images: the other half comes after the study."""
    with at_work(encoder, kind):
        return encoder_only(encoder, max(8, images // 2))


def at_work(encoder: Encoder, kind: str) -> contextlib.AbstractContextManager[None]:
    """While entered, the encoder is compiled, where its kind is; torch keeps the code for the next time."""
    if not KINDS[kind][1]:
        return contextlib.nullcontext()
    assert isinstance(encoder, Compilable)
    return encoder.compiling(BATCH)


def count_operations(encoder: Encoder) -> float:
    """Floating-point operations of the encoder's forward pass, per view."""
    packed = {torch.ops.mkldnn._linear_pointwise: lambda x, weight, *_, **__: 2 * math.prod(x) * weight[0]}
    with FlopCounterMode(display=False, custom_mapping=packed) as counter:
        encoder(np.zeros((BATCH, 224, 224, 3), np.uint8))
    return float(counter.get_total_flops()) / BATCH


def best_rates(dtype: torch.dtype, tries: int = 10) -> tuple[float, float]:
    """Operations per second of the fastest matrix product: torch's own `linear`, and oneDNN's with packed weights."""
    plain: list[float] = []
    packed: list[float] = []
    with torch.inference_mode():
        for rows, inner, outer in PRODUCTS:
            x, weight = torch.randn(rows, inner, dtype=dtype), torch.randn(outer, inner, dtype=dtype)
            layer = torch.nn.Linear(inner, outer, bias=False, dtype=dtype)
            kernels, operations = PackedLinears(layer, dtype), 2 * rows * inner * outer
            plain.append(operations / min(timed(partial(linear, x, weight)) for _ in range(tries)))
            with kernels.in_use():
                packed.append(operations / min(timed(partial(layer, x)) for _ in range(tries)))
    return max(plain), max(packed)


def encoder_only(encoder: Encoder, images: int, batch: int = BATCH) -> float:
    """Seconds per image of ten views that lie in memory."""
    views = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
    return timed(lambda: [encoder(views) for _ in range(max(1, images * 10 // batch))]) / images


def study(encoder: Encoder, photos: list[Path], *, compiled: bool = False) -> float:
    """Seconds per image from the files to the tables, the encoder loaded."""
    with tempfile.TemporaryDirectory() as folder:
        config = make_config({"images": [str(photo) for photo in photos], "batch_size": BATCH, "compile": compiled})
        return timed(lambda: run_study(config, Path(folder) / "study", encoder=encoder)) / len(photos)


def loaders_cpu() -> float:
    """Seconds of CPU of all loader processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def show(title: str, rounds: list[dict[str, float]], above: str, below: str) -> None:
    ratios = [seconds[above] / seconds[below] for seconds in rounds]
    print(f"{title}: {statistics.median(ratios):.2f} (range {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
