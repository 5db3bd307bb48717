"""Large studies of made numbers: seconds, CPU and peak memory of their tables, their search and their report.

usage: python benchmarks/analysis.py [--images 13312 500000] [--dim 512] [--shard-size 2048] [--linked] [--groups 10]
       python benchmarks/analysis.py --search [--images 100000] [--dim 384] [--augmentations 9] [--queries 2000|all]
       python benchmarks/analysis.py --report [--images 13312]

Shards are made of random numbers (one is made, then copied with other ids), 10 views an image, and removed again; half
a million images need some 15 GB of disk for a while. Each study is read in a process of its own, without torch. Tables
are those that a study has by default but for the search. With `--groups 10`, images are in random groups of so many.

`--linked` simulates a study with `store` metrics of many millions of images in some megabytes: four shards are made,
and every shard of the study is a hard link to one of them in turn, opened, hashed and read as a file of its own. Ids
repeat, which no table of such a study looks at.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench import arguments, print_head, print_machine, print_row
from embedshift.augmentations.paper import PAPER
from embedshift.store.groups import Groups, write_groups
from embedshift.store.info import read_info
from embedshift.store.shards import shard_path, write_shard
from support.revised import read_shard, record_shards, say_counts, say_metrics
from support.synthetic import make_study

DISTINCT = 4  # shards that are made of a linked study
# A link may hold another shard than its name says.
LINKS = """
from dataclasses import replace
from embedshift.store import listing
read_record = listing.read_record
def read(path):
    record, *rest = read_record(path)
    return replace(record, index=int(path.stem.removeprefix("part-"))), *rest
listing.read_record = read
"""
# VmHWM and not ru_maxrss, which a child inherits from the process that started it.
PROGRAM = """
import sys, re, embedshift
study = embedshift.load(sys.argv[1])
study.{what}
assert {torch} or "torch" not in sys.modules
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def main() -> None:
    options = arguments(
        __doc__, images=(0,), dim=0, shard_size=2_048, linked=False, groups=0, search=False, augmentations=9,
        queries="2000", report=False,
    )  # fmt: skip
    what, sizes, dim = "write_tables()", [13_312, 500_000], options.dim or (384 if options.search else 512)
    if options.linked:
        sizes = [100_000, 1_000_000, 10_000_000]
    if options.search:
        what, sizes = f"search(queries={options.queries!r})", [100_000]
    if options.report:
        what, sizes = "report()", [13_312]
    program = (LINKS if options.linked else "") + PROGRAM.format(what=what, torch=options.report)
    print_machine()
    print_head("images", "groups", what, "s", "CPU s", "CPU us an image", "peak GiB")
    for images in sizes if options.images == [0] else options.images:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "study"
            if options.linked:
                images = link_study(folder, images, dim, options.shard_size)
            elif options.report:
                make_study(folder, images, dim=dim, grid=(7, 7), with_tables=False)
            else:
                names = list(PAPER)[: options.augmentations]
                write_study(folder, images, names, dim, options.shard_size, searched=options.search)
            if options.groups:
                group_images(folder, images, options.groups)
            read(folder, images, program, what)


def read(folder: Path, images: int, program: str, what: str) -> None:
    """Prints seconds, seconds of CPU and GiB of a process that reads the study."""
    started, before = time.perf_counter(), os.times()
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, cpu = time.perf_counter() - started, sum(os.times()[2:4]) - sum(before[2:4])
    groups, memory = read_info(folder).groups, int(done.split()[-1]) / 2**20
    cells = (f"{seconds:.1f}", f"{cpu:.1f}", f"{1e6 * cpu / images:.1f}", f"{memory:.2f}")
    print_row(f"{images:,}", f"{groups.count:,}" if groups else "no", what, *cells)


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)


def write_study(folder: Path, images: int, names: list[str], dim: int, size: int, *, searched: bool) -> None:
    """A study of so many images: the first shard is made, the others are its rows under other ids.

    Tables of metrics get these in another order of the images, and a search vectors around a thousand centres.
    """
    few, grid = min(size, images), None if searched else (7, 7)
    study = make_study(folder, few, names, dim=dim, grid=grid, shard_size=size, with_tables=False, of=images)
    first, record = read_shard(shard_path(folder, 0))
    rng, rows = np.random.default_rng(0), first.num_rows // few
    centres = rng.normal(size=(1_000, dim)).astype(np.float32) + 1.5
    for index, start in enumerate(range(0, images, size)):
        count = min(size, images - start)
        ids = np.repeat([f"image-{start + i:07d}.png" for i in range(count)], rows)
        part = with_column(first.slice(0, count * rows), "image_id", pa.array(ids, pa.string()))
        order = rng.permutation(count)
        for name in ("cosine_similarity", "l2_distance"):
            column = part[name].to_numpy(zero_copy_only=False).reshape(count, rows)[order].ravel()
            part = with_column(part, name, pa.array(column, from_pandas=True))
        if searched:
            own = centres[rng.integers(len(centres), size=count)] + 0.7 * rng.standard_normal((count, dim), np.float32)
            spread = np.linspace(0, 1, rows, dtype=np.float32)[None, :, None]
            vectors = own[:, None] + spread * rng.standard_normal((count, rows, dim), np.float32)
            part = with_column(part, "embedding", pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim))
        write_shard(study.folder, part, replace(record, index=index, images=count))
    record_shards(folder)
    say_counts(folder, images, images * rows)
    if not searched:
        say_metrics(study)


def link_study(folder: Path, images: int, dim: int, size: int) -> int:
    """A study of so many images, to the next whole shard; their number."""
    shards = -(-images // size)
    few, images = min(shards, DISTINCT), shards * size
    study = make_study(folder, few * size, dim=dim, grid=(7, 7), shard_size=size, with_tables=False, of=images)
    say_metrics(study)
    for index in range(few):
        table, record = read_shard(shard_path(folder, index))
        bare = with_column(table, "attention", pa.nulls(len(table), table.schema.field("attention").type))
        write_shard(folder, bare.drop_columns(["embedding"]), record)
    for index in range(few, shards):
        os.link(shard_path(folder, index % few), shard_path(folder, index))
    record_shards(folder)
    say_counts(folder, images, table.num_rows // size * images)
    return images


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
