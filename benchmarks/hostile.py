"""Hostile files: what becomes of each kind, how long it takes, and what decoding 100 megapixels needs.

python benchmarks/hostile.py            kinds and outcomes
python benchmarks/hostile.py memory     peaks of a loader against its bound (Linux)
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from embedshift.errors import cause
from embedshift.sources import open_source
from embedshift.sources.images import decode

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from support import hostile, memory  # noqa: E402


def outcome(kind: hostile.Kind, data: bytes) -> str:
    """What becomes of the bytes of one kind; raises what failed."""
    found = decode(data)
    if kind.pixels is None:
        return "measured; the damage cannot be seen" if kind.words is None else "MEASURED, BUT SHOULD FAIL"
    if found.shape != kind.pixels.shape:
        return f"WRONG: {found.shape}"
    off = np.abs(found.astype(int) - kind.pixels).mean()
    return f"measured, {off:.2f} levels off" if off <= kind.off else f"WRONG: {off:.2f} levels off"


def corpus() -> None:
    """Prints a line for each kind."""
    kinds = hostile.kinds()
    counts = {"measured": 0, "failed": 0, "wrong": 0}
    with tempfile.TemporaryDirectory() as folder:
        hostile.write(Path(folder), kinds)
        source = open_source([folder])
        samples = {sample.image_id.encode("utf-8", "surrogateescape"): sample for sample in source.samples}
        for kind in kinds:
            start = time.perf_counter()
            try:
                words, how = outcome(kind, source.read(samples[kind.file_name])), "measured"
            except Exception as error:
                words, how = cause(error), "failed"
                if kind.pixels is not None or (kind.words and not re.search(kind.words, words)):
                    words = f"WRONG: {words}"
            counts["wrong" if words.isupper() or words.startswith(("WRONG", "MEASURED")) else how] += 1
            print(f"{kind.name:40} {1000 * (time.perf_counter() - start):7.1f} ms  {words[:120]}", flush=True)
    print(f"\n{len(kinds)} kinds: " + ", ".join(f"{count} {how}" for how, count in counts.items()))


def peaks(side: int) -> None:
    """Prints the peak of each kind of picture."""
    done = subprocess.run(
        [sys.executable, "-m", "support.memory", str(side)],
        cwd=TESTS, env=os.environ | memory.GIVES_BACK, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        name, peak = line.rsplit(" ", 1)
        verdict = "OVER THE BOUND" if float(peak) > memory.bound(name, side) else ""
        print(f"{name:26} {float(peak) / 1e6:7.0f} MB  {verdict}")
    print(f"{side} x {side} pixels, besides the file")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["corpus", "memory"], default="corpus")
    parser.add_argument("--side", type=int, default=10_000)
    given = parser.parse_args()
    if given.what == "corpus":
        corpus()
    else:
        peaks(given.side)
