"""What each step towards a faster forward pass gives, in seconds per image of ten views: CLIP ViT-B/32, random weights.

usage: python benchmarks/tried.py [--passes 6] [--rounds 5] [--only steps|turns] [--isa avx2] [--views 40]

First what the processor has. Then steps: each is added to those above it, in a process of its own, since what is told
to the C library stays told; the fastest of some passes counts. Then turns: packed weights, compiled, and each
precision, against torch's own in one process, A-B-A-B; medians and ranges of ratios within a round.
`--isa avx2` does all again with torch, oneDNN and MKL held to AVX2 (`ATEN_CPU_CAPABILITY`, `ONEDNN_MAX_CPU_ISA`,
`MKL_ENABLE_INSTRUCTIONS`, without the last of which float32 would keep AVX-512): what a processor without more does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from transformers import CLIPVisionModelWithProjection

from embedshift.config import Precision
from embedshift.encoders.base import Preprocess
from embedshift.encoders.device import keep_memory
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from embedshift.encoders.huggingface import READERS
from embedshift.encoders.kernels import PACKED
from embedshift.encoders.module import ModuleEncoder
from fullsize import save_clip
from machine import describe_machine
from turns import processor_lines, show_turns

BATCH = 40
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
STEPS = {
    "plain": "sdpa, autocast, the hook",
    "cast": "+ weights cast once",
    "memory": "+ freed memory kept",
    "kernels": "+ oneDNN's products with packed weights",
    "compile": "+ compiled, weights frozen",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--views", type=int, default=BATCH, help="of a pass in turns")
    parser.add_argument("--only", choices=("steps", "turns"))
    parser.add_argument("--isa", choices=("avx2",))
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.isa and not all(os.environ.get(name) == value for name, value in AVX2.items()):
        given = [each for each in sys.argv[1:] if each not in ("--isa", options.isa, f"--isa={options.isa}")]
        subprocess.run([sys.executable, __file__, *given], check=True)
        print("\nheld to AVX2: " + " ".join(f"{name}={value}" for name, value in AVX2.items()), flush=True)
        subprocess.run([sys.executable, __file__, *given], check=True, env=os.environ | AVX2)
        return
    if options.child:
        checkpoint, precision, step = options.child
        print(seconds_per_image(checkpoint, precision, step, options.passes))
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = str(save_clip(Path(folder) / "clip"))
        for line in processor_lines():
            print(line)
        if options.only != "steps":
            show_turns(checkpoint, options.rounds, options.views)
        if options.only == "turns":
            print(describe_machine())
            return
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
    assert encoder.grid == (7, 7), "the attention hook must be at work"
    encoder.use_kernels([PACKED] if "kernels" in steps else [])
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
