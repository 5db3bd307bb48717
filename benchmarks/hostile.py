"""Hostile files: what becomes of each kind, and how long it takes; and what decoding 100 megapixels needs.

usage: python benchmarks/hostile.py
       python benchmarks/hostile.py --memory [--side 10000]     peaks of a loader against its bound (Linux)
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from bench import ROOT, arguments
from embedshift.errors import cause
from embedshift.sources import ImageRef, Source, open_source
from embedshift.sources.images import decode
from support import hostile, memory


def outcome(kind: hostile.Kind, source: Source, sample: ImageRef) -> tuple[str, str]:
    """Whether a file is measured or fails as it must, or something is WRONG; and how."""
    try:
        found = decode(source.read(sample))
    except Exception as error:
        words = cause(error)
        wrong = kind.pixels is not None or (kind.words and not re.search(kind.words, words))
        return "WRONG" if wrong else "failed", words
    if kind.pixels is None:
        return ("measured", "the damage cannot be seen") if kind.words is None else ("WRONG", "should fail")
    if found.shape != kind.pixels.shape:
        return "WRONG", str(found.shape)
    off = np.abs(found.astype(int) - kind.pixels).mean()
    return "measured" if off <= kind.off else "WRONG", f"{off:.2f} levels off"


def corpus() -> None:
    """Prints a line for each kind."""
    kinds, counts = hostile.kinds(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        hostile.write(Path(folder), kinds)
        source = open_source([folder])
        samples = {sample.image_id.encode("utf-8", "surrogateescape"): sample for sample in source.samples}
        for kind in kinds:
            start = time.perf_counter()
            how, words = outcome(kind, source, samples[kind.file_name])
            counts[how] += 1
            print(f"{kind.name:40} {1000 * (time.perf_counter() - start):7.1f} ms  {how}: {words[:110]}", flush=True)
    print(f"\n{len(kinds)} kinds: " + ", ".join(f"{count} {how}" for how, count in counts.items()))


def peaks(side: int) -> None:
    """Prints the peak of each kind of picture."""
    command, environment = [sys.executable, "-m", "support.memory", str(side)], os.environ | memory.GIVES_BACK
    done = subprocess.run(command, cwd=ROOT / "tests", env=environment, stdout=subprocess.PIPE, text=True, check=True)
    for line in done.stdout.splitlines():
        name, peak = line.rsplit(" ", 1)
        verdict = "OVER THE BOUND" if float(peak) > memory.bound(name, side) else ""
        print(f"{name:26} {float(peak) / 1e6:7.0f} MB  {verdict}")
    print(f"{side} x {side} pixels, besides the file")


if __name__ == "__main__":
    given = arguments(__doc__, memory=False, side=10_000)
    if given.memory:
        peaks(given.side)
    else:
        corpus()
