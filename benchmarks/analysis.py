"""Analysis out of core: seconds and peak memory of shards → all tables, at growing numbers of images.

usage: python benchmarks/analysis.py [--images 13312 133120 500000] [--dim 512] [--shard-size 2048] [--linked]

Shards are made of random numbers (one is made, then copied with other ids), 10 views an image, and removed again; the
largest size needs some 15 GB of disk for a while. Each size is analysed in a process of its own, torch not imported:
every table that a study has by default but those of the search, which `benchmarks/search.py` measures.

With `--groups 10`, each size is analysed again with images in groups of so many, at random.

With `--linked`, 100,000, 1,000,000 and 10,000,000 images by simulation, see `linked.py`: some ten megabytes of disk.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from embedshift.store.groups import Groups, write_groups
from embedshift.store.info import read_info
from embedshift.store.shards import shard_path, write_shard
from linked import link_study
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.revised import read_shard, record_shards, say_counts, say_metrics
from support.synthetic import make_study

# VmHWM and not ru_maxrss, which a child inherits from the process that started it.
PROGRAM = r"""
import sys, re, embedshift
if sys.argv[2:]:
    sys.path.insert(0, sys.argv[2])
    import linked
    linked.take_links_for_shards()
embedshift.load(sys.argv[1]).write_tables()
assert "torch" not in sys.modules
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--shard-size", type=int, default=2_048, help="images of a shard; a run makes shards of 64")
    parser.add_argument("--linked", action="store_true", help="shards are links to a few")
    parser.add_argument("--groups", type=int, help="images of a group")
    options = parser.parse_args()
    sizes = [100_000, 1_000_000, 10_000_000] if options.linked else [13_312, 133_120, 500_000]
    measured = []
    for images in options.images or sizes:
        folder = Path(tempfile.mkdtemp())
        try:
            if options.linked:
                images = link_study(folder / "study", images, options.dim, options.shard_size)
            else:
                write_shards(folder / "study", images, options.dim, options.shard_size)
            measured.append((images, *analyse(folder / "study", images, linked=options.linked)))
            if options.groups:
                group_images(folder / "study", images, options.groups)
                grouped = analyse(folder / "study", images, linked=options.linked)
                times = (more / plain for more, plain in zip(grouped, measured[-1][1:], strict=True))
                print("in groups: {:.2f} times as long, CPU {:.2f} times, memory {:.2f} times".format(*times))
        finally:
            shutil.rmtree(folder)
    print(describe_machine())
    (few, first, _, small), (many, last, _, large) = measured[0], measured[-1]
    print(f"memory {large / small:.2f} times from {few:,} to {many:,} images (target: 8 GiB at ten million)")
    print(f"time {last / first:.1f} times for {many / few:.1f} times the images (target: no more than that)")


def analyse(folder: Path, images: int, *, linked: bool) -> tuple[float, float, float]:
    """Prints and returns seconds, seconds of CPU and GiB of a process that makes all tables."""
    started, before = time.perf_counter(), os.times()
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    command += [str(Path(__file__).parent)] if linked else []
    memory = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 2**20
    seconds = time.perf_counter() - started
    cpu = sum(os.times()[2:4]) - sum(before[2:4])
    groups = read_info(folder).groups
    line = "{:>10,} images in {} groups: {:7.1f} s, {:7.1f} s of CPU, {:5.1f} us an image, peak {:.2f} GiB"
    count = f"{groups.count:,}" if groups else "no"
    print(line.format(images, count, seconds, cpu, 1e6 * cpu / images, memory), flush=True)
    return seconds, cpu, memory


def write_shards(folder: Path, images: int, dim: int, size: int = 2_048) -> None:
    """A study of so many images: the first shard is made, the others are its rows under other ids and other numbers."""
    few = min(size, images)
    study = make_study(folder, few, dim=dim, grid=(7, 7), shard_size=size, with_tables=False, of=images)
    say_metrics(study)
    first, record = read_shard(shard_path(folder, 0))
    rng = np.random.default_rng(0)
    rows = first.num_rows // min(size, images)
    for index, start in enumerate(range(size, images, size), start=1):
        count = min(size, images - start)
        part = first.slice(0, count * rows)
        ids = np.repeat(np.array([f"image-{start + i:07d}.png" for i in range(count)], object), rows)
        part = part.set_column(0, first.schema.field(0), pa.array(ids, pa.string()))
        order = rng.permutation(count)
        for name in ("cosine_similarity", "l2_distance"):
            column = part[name].to_numpy(zero_copy_only=False).reshape(count, rows)[order].ravel()
            part = part.set_column(
                part.schema.get_field_index(name), part.schema.field(name), pa.array(column, from_pandas=True)
            )
        write_shard(study.folder, part, replace(record, index=index, images=count))
    record_shards(folder)
    say_counts(folder, images, images * rows)


def group_images(folder: Path, images: int, size: int) -> None:
    """Lets study.json say that the images belong to groups, as a run leaves it."""
    groups = np.random.default_rng(1).permutation(images) // size
    # Ids of linked shards repeat, and tables read groups by position.
    chosen = Groups("mapping", [f"image-{i:07d}.png" for i in range(images)], [str(number) for number in groups])
    info = read_info(folder)
    files = {**info.files, **write_groups(folder, chosen)}
    info.model_copy(update={"groups": chosen.record, "files": files}).write(folder)


if __name__ == "__main__":
    main()
