"""Studies of vectors that grow: CPU, memory, files and system calls of each step, and what a billion images would take.

usage: python benchmarks/scale.py [--images 100000 1000000] [--dim 64] [--folder DIR]

Vectors are random numbers: originals, and one change that is near each. Each step is a process of its own: the run
with its tables, search and near-copies, but without a report; its tables once more, `verify` and `report`. Where strace
is installed, calls are counted that ask for the state of a shard by its path, or open it. Disk: about 1 kB an image,
removed again.

The last tables extrapolate from the two largest sizes: what grows with the images by the images, what grows with the
shards by shards of 1,024. A limit that is reached first is what breaks first.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import arguments, print_head, print_machine, print_row
from embedshift.pipeline.plan import MOST_PER_SHARD
from embedshift.store.info import FILE, LARGEST

MANY, GIB = 10**9, 2**30
STEPS = {
    "run": "embedshift.from_vectors({given!r}, out={out!r}, progress=False)",
    "tables": "embedshift.load({out!r}).write_tables()",
    "verify": "assert not embedshift.load({out!r}).verify().damaged",
    "report": "embedshift.load({out!r}).report()",
}
# VmHWM and not ru_maxrss, which a child inherits from the process that started it.
PROGRAM = """
import contextlib, json, os, re, sys, embedshift
with contextlib.redirect_stdout(sys.stderr):
    {step}
memory = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(json.dumps((sum(os.times()[:4]), int(memory) / 2**20)))
"""
CALL = re.compile(r'(\w+)\(.*"[^"]*/shards/part-\d+\.parquet"')


@dataclass(frozen=True)
class Measured:
    """CPU seconds and GiB of a step; how often it asked for the state of a shard, and opened one, a shard."""

    cpu: float
    memory: float
    stats: float
    opened: float


def main() -> None:
    options = arguments(__doc__, images=(100_000, 1_000_000), dim=64, folder="")
    print_machine()
    print_head("images", "step", "CPU s", "CPU us an image", "peak GiB", "stats a shard", "opened a shard")
    found: dict[int, tuple[dict[str, Measured], dict[str, int]]] = {}
    for images in sorted(options.images):
        with tempfile.TemporaryDirectory(dir=options.folder or None) as scratch:
            found[images] = measure(Path(scratch), images, options.dim)
    print_sizes({images: sizes for images, (_, sizes) in found.items()})
    few, many = sorted(found)[0], sorted(found)[-1]
    if few < many:
        total = {images: sum(step.cpu for step in found[images][0].values()) / images for images in (few, many)}
        print(f"CPU an image at {many:,} images: {total[many] / total[few]:.2f} times that at {few:,}")
        extrapolate(found, *sorted(found)[-2:])


def measure(scratch: Path, images: int, dim: int) -> tuple[dict[str, Measured], dict[str, int]]:
    """The cost of each step, and the sizes of what lies in the folder after it."""
    given, out = scratch / "vectors.parquet", scratch / "study"
    write_vectors(given, images, dim)
    steps: dict[str, Measured] = {}
    for name, step in STEPS.items():
        program = PROGRAM.format(step=step.format(given=str(given), out=str(out)))
        cpu, memory, calls = in_a_process(program, scratch / "calls.txt")
        shards = [path.stat().st_size for path in (out / "shards").iterdir()]
        found = steps[name] = Measured(cpu, memory, calls[0] / len(shards), calls[1] / len(shards))
        cells = f"{cpu:.1f}", f"{1e6 * cpu / images:.0f}", f"{memory:.2f}"
        print_row(f"{images:,}", name, *cells, f"{found.stats:.1f}", f"{found.opened:.1f}")
    files = [path for path in out.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    sizes = {"shards": len(shards), "bytes of the shards": sum(shards), "bytes of all files": size}
    return steps, sizes | {f"bytes of {FILE}": (out / FILE).stat().st_size, "files": len(files)}


def write_vectors(file: Path, images: int, dim: int, *, step: int = 50_000) -> None:
    rng = np.random.default_rng(0)
    kind = pa.schema({"image_id": pa.string(), "view": pa.string(), "vector": pa.list_(pa.float32(), dim)})
    with pq.ParquetWriter(file, kind) as writer:
        for start in range(0, images, step):
            count = min(step, images - start)
            originals = rng.standard_normal((count, dim), np.float32)
            views = originals + 0.3 * rng.standard_normal((count, dim), np.float32)
            numbers = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate([originals, views]).ravel()), dim)
            ids = [f"image-{number:010d}.png" for number in range(start, start + count)]
            names = np.repeat(["original", "changed"], count)
            writer.write_table(pa.table([pa.array(ids * 2), pa.array(names), numbers], schema=kind))


def in_a_process(program: str, calls: Path) -> tuple[float, float, tuple[int, int]]:
    """CPU seconds, GiB, and how often paths of shards were asked for their state, and opened."""
    command = [sys.executable, "-c", program]
    if shutil.which("strace"):
        command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=%stat,%%stat,openat", "-o", str(calls), *command]
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | threads)
    cpu, memory = json.loads(done.stdout.splitlines()[-1])
    names = list[str]()
    if calls.exists():
        with calls.open(errors="replace") as lines:
            names = [found[1] for line in lines if (found := CALL.search(line))]
    opened = names.count("openat")
    return cpu, memory, (len(names) - opened, opened)


def print_sizes(sizes: dict[int, dict[str, int]]) -> None:
    print()
    print_head("images", *next(iter(sizes.values())))
    for images, counted in sizes.items():
        print_row(f"{images:,}", *(f"{value:,}" for value in counted.values()))


def extrapolate(found: dict[int, tuple[dict[str, Measured], dict[str, int]]], fewer: int, images: int) -> None:
    """Prints what so many images would take by the numbers measured, and at how many each limit is reached."""
    (before, _), (steps, sizes) = found[fewer], found[images]
    shards = MANY / MOST_PER_SHARD
    print(f"\n{MANY:,} images, extrapolated:")
    print_head("what", "measured", f"at {MANY:,} images", "limit", "reached at images")
    rows: list[tuple[float, tuple[str, ...]]] = []
    for name, step in steps.items():
        slope = max(step.memory - before[name].memory, 0) / (images - fewer)
        reached = images + (8 - step.memory) / slope if slope else float("inf")
        there = step.memory + slope * (MANY - images)
        rows.append((reached, (f"memory of {name}", f"{slope * GIB:.0f} bytes an image", f"{there:.0f} GiB", "8 GiB")))
    json_bytes = sizes[f"bytes of {FILE}"] / sizes["shards"]
    at_most, size = LARGEST / json_bytes * MOST_PER_SHARD, f"{json_bytes * shards / 1e6:.0f} MB"
    rows.append((at_most, (FILE, f"{json_bytes:.0f} bytes a shard", size, "1 GiB is read")))
    for reached, cells in sorted(rows):
        print_row(*cells, "never" if reached == float("inf") else f"{reached:.1e}")
    each = sizes["bytes of the shards"] / images
    print_row("shards", f"{each:,.0f} bytes an image", f"{each * MANY / 1e12:.1f} TB", "disk", "")
    print_row("files", f"{MOST_PER_SHARD:,} images a shard", f"{shards:,.0f}", "", "")
    for name, step in steps.items():
        hours = step.cpu / images * MANY / 3600
        print_row(
            f"CPU of {name}", f"{1e6 * step.cpu / images:.0f} us an image", f"{hours:,.0f} hours of a core", "", ""
        )
    asked = sum(step.stats + step.opened for step in steps.values())
    print_row("stats and openings", f"{asked:.0f} a shard", f"{asked * shards / 1e6:.0f} million", "", "")


if __name__ == "__main__":
    main()
