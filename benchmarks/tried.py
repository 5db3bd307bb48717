"""What each step towards a faster forward pass gives, in seconds per image of ten views: CLIP ViT-B/32, random weights.

usage: python benchmarks/tried.py [--passes 6]

Each step is added to those above it, in a process of its own, since what is told to the C library stays told; the
fastest of some passes counts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from transformers import CLIPVisionModelWithProjection

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.embeddings import READERS
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from embedshift.encoders.module import ModuleEncoder
from embedshift.engines.local import keep_memory
from fullsize import save_clip
from machine import describe_machine

BATCH = 40
STEPS = {
    "plain": "sdpa, autocast, the tap",
    "shortcut": "+ the last block's network for the class token alone",
    "cast": "+ weights cast once",
    "memory": "+ freed memory kept",
    "kernels": "+ oneDNN's packed products; in bfloat16, attention in two products",
    "compile": "+ compiled, weights frozen",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        checkpoint, precision, step = options.child
        print(seconds_per_image(checkpoint, precision, step, options.passes))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(save_clip(Path(folder) / "clip"))
        for precision in ("float32", "bfloat16"):
            first = 0.0
            for step, words in STEPS.items():
                if precision == "float32" and step == "cast":
                    continue
                command = [sys.executable, __file__, "--passes", str(options.passes)]
                command += ["--child", checkpoint, precision, step]
                seconds = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
                first = first or seconds
                print(f"{precision} {words}: {seconds:.3f} s/image, {first / seconds:.2f} times as fast", flush=True)
    print(describe_machine())


def seconds_per_image(checkpoint: str, precision: Precision, step: str, passes: int) -> float:
    """The fastest pass, with all steps up to `step`."""
    steps = list(STEPS)[: list(STEPS).index(step) + 1]
    if "memory" in steps:
        keep_memory()
    encoder = ModuleEncoder(
        CLIPVisionModelWithProjection.from_pretrained(checkpoint),
        READERS["image_embeds"],
        Preprocess(224, CLIP_MEAN, CLIP_STD),
        "clip",
        device="cpu",
        precision=precision,
        shared="cast" not in steps,
    )
    assert encoder.grid == (7, 7), "the attention tap must be at work"
    if "shortcut" not in steps:
        encoder._shortcut = None
    if "kernels" not in steps:
        encoder._kernels = None
    if "compile" in steps:
        with encoder.compiling(BATCH):
            return fastest(encoder, passes)
    return fastest(encoder, passes)


def fastest(encoder: ModuleEncoder, passes: int) -> float:
    """Seconds per image of the fastest pass."""
    views = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3), dtype=np.uint8)
    measured = []
    for _ in range(passes):
        started = time.perf_counter()
        encoder(views)
        measured.append(time.perf_counter() - started)
    return min(measured) / (BATCH / 10)


if __name__ == "__main__":
    main()
