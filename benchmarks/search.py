"""Search on a large study: seconds and peak memory, by default and for one augmentation with all queries.

usage: python benchmarks/search.py [--images 100000] [--dim 384]

A study of made-up vectors is written (100,000 images with nine augmentations take 1.6 GB of disk for a while). Each
search runs in a process of its own, torch not imported. Ends with exit code 1 where a limit is missed.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedshift.store.shards import shard_path, write_shard
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.revised import read_shard, record_shards, say_counts
from support.synthetic import make_study

SHARD = 2_048
# VmHWM and not ru_maxrss, which a child inherits from the process that started it.
PROGRAM = r"""
import sys, re, embedshift
embedshift.load(sys.argv[1]).search(queries=sys.argv[2])
assert "torch" not in sys.modules
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""
# Augmentations and queries → the limit in seconds, on a processor with AVX-512.
CASES = {(9, "2000"): 60.0, (1, "all"): 150.0}
GIBIBYTES = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=384)
    options = parser.parse_args()
    print(describe_machine())
    print(f"product of float32 matrices: {product_rate(options.dim):.0f} GFLOP a second")
    missed = False
    for (augmentations, queries), limit in CASES.items():
        folder = Path(tempfile.mkdtemp())
        try:
            write_study(folder / "study", options.images, options.dim, augmentations)
            started = time.perf_counter()
            command = [sys.executable, "-c", PROGRAM, str(folder / "study"), queries]
            done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            seconds = time.perf_counter() - started
        finally:
            shutil.rmtree(folder)
        memory = int(re.findall(r"\d+", done)[-1]) / 2**20
        missed |= seconds > limit or memory > GIBIBYTES
        print(
            f"{options.images:,} x {options.dim}, {augmentations} augmentation(s), queries {queries}: {seconds:.1f} s "
            f"(limit {limit:.0f}), peak {memory:.2f} GiB (limit {GIBIBYTES:.0f})",
            flush=True,
        )
    sys.exit(missed)


def product_rate(dim: int) -> float:
    """What NumPy's products reach here, of the shapes that the search has."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((rows, dim), np.float32) for rows in (512, 8_192))
    left @ right.T
    started = time.perf_counter()
    for _ in range(20):
        left @ right.T
    return 20 * 2 * len(left) * len(right) * dim / (time.perf_counter() - started) / 1e9


def write_study(folder: Path, images: int, dim: int, augmentations: int) -> None:
    """A study of so many images: the first shard's rows under other ids, with vectors around a thousand centres."""
    names = ["noise", "blur", "color_jitter", "shift_scale_rotate", "horizontal_flip", "elastic", "perspective"]
    names = [*names, "brightness_contrast", "coarse_dropout"][:augmentations]
    few = min(SHARD, images)
    study = make_study(folder, few, names, dim=dim, grid=None, shard_size=SHARD, with_tables=False, of=images)
    first, record = read_shard(shard_path(folder, 0))
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1_000, dim)).astype(np.float32) + 1.5
    for index, start in enumerate(range(0, images, SHARD)):
        count = min(SHARD, images - start)
        part = first.slice(0, count * (1 + augmentations))
        ids = np.repeat(np.array([f"image-{start + i:07d}.png" for i in range(count)], object), 1 + augmentations)
        part = part.set_column(0, first.schema.field(0), pa.array(ids, pa.string()))
        own = centres[rng.integers(len(centres), size=count)] + 0.7 * rng.standard_normal((count, dim), np.float32)
        spread = np.linspace(0, 1, 1 + augmentations, dtype=np.float32)[None, :, None]
        vectors = own[:, None] + spread * rng.standard_normal((count, 1 + augmentations, dim), np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)
        part = part.set_column(part.schema.get_field_index("embedding"), part.schema.field("embedding"), column)
        write_shard(study.folder, part, replace(record, index=index, images=count))
    record_shards(folder)
    say_counts(folder, images, images * (1 + augmentations))


if __name__ == "__main__":
    main()
