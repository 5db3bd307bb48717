"""Studies of vectors that exist: seconds, peak memory and disk of many images, against those of a fifth of them.

usage: python benchmarks/vectors.py [--images 100000] [--views 9] [--dim 512] [--store all metrics] [--folder DIR]

The table holds one row for each image and view in random order, float16, in row groups of 20,000 rows. Each study runs
in a process of its own. Ends with exit code 1 where the larger study takes 2 GiB of memory or more, or more than a
quarter above that of a fifth of the images.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import embedshift

GIBIBYTES, MORE, AT_ONCE = 2.0, 1.25, 20_000


def write_table(path: Path, images: int, views: int, dim: int) -> None:
    """Writes vectors of images, and of views that are further from them the higher their number."""
    rng = np.random.default_rng(0)
    originals = rng.standard_normal((images, dim), np.float32)
    strengths = np.array([0.0, *np.geomspace(0.05, 1.0, views)], np.float32)
    order = rng.permutation(images * (1 + views))
    vectors = pa.list_(pa.float16(), dim)
    schema = pa.schema([("image_id", pa.string()), ("view", pa.string()), ("vector", vectors)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(order), AT_ONCE):
            image, view = np.divmod(order[start : start + AT_ONCE], 1 + views)
            noise = rng.standard_normal((len(image), dim), np.float32)
            matrix = (originals[image] + strengths[view, None] * noise).astype(np.float16)
            columns = [
                pa.array([f"image-{number:07d}.jpg" for number in image]),
                pa.array(["original" if number == 0 else f"view-{number}" for number in view]),
                pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), dim),
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))


def measure(table: Path, out: Path, store: str) -> str:
    """Makes the study, and returns its seconds, GiB of memory and GB of disk as text."""
    begun = time.monotonic()
    study = embedshift.from_vectors(table, out=out, store=store)
    seconds = time.monotonic() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    disk = sum(path.stat().st_size for path in study.folder.rglob("*") if path.is_file()) / 1e9
    return f"{seconds:.1f} {memory:.3f} {disk:.3f}"


def main() -> int:
    """Prints a line for each study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=9)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--store", nargs="+", default=["all", "metrics"])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--one", nargs=3, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        table, out, store = given.one
        print(measure(Path(table), Path(out), store))
        return 0
    from machine import describe_machine  # with torch, which would be counted as memory of the studies

    print(describe_machine())
    code = 0
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        memory: dict[tuple[str, int], float] = {}
        for images in (given.images // 5, given.images):
            table = Path(folder) / f"{images}.parquet"
            write_table(table, images, given.views, given.dim)
            size = table.stat().st_size / 1e9
            print(f"{images:,} images with {given.views} views of {given.dim} numbers: {size:.2f} GB")
            for store in given.store:
                command = [sys.executable, __file__, "--one", str(table), f"{folder}/{images}-{store}", store]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(done.stderr, file=sys.stderr)
                    return 1
                seconds, gibibytes, disk = map(float, done.stdout.split())
                memory[store, images] = gibibytes
                words = f"{seconds:.0f} s, {gibibytes:.2f} GiB of memory, {disk:.2f} GB on disk"
                print(f"  store {store}: {words}", flush=True)
        for store in given.store:
            small, large = memory[store, given.images // 5], memory[store, given.images]
            code |= large >= GIBIBYTES or large > MORE * small
    return code


if __name__ == "__main__":
    sys.exit(main())
