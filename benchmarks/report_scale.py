"""Seconds and memory of `embedshift report` on a study of the paper's size: 13,312 images, 10 views, 512 numbers.

The shards are made of random numbers; there are no pictures behind them, so that the gallery holds numbers only.

usage: python benchmarks/report_scale.py [IMAGES]
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.synthetic import make_study

IMAGES, DIM, GRID = 13_312, 512, (7, 7)
PROGRAM = "from embedshift.cli import main; main()"
SECONDS, BYTES, CORES = 60, 1.5 * 2**30, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", metavar="IMAGES", type=int, nargs="?", default=IMAGES)
    images = parser.parse_args().images
    folder = Path(tempfile.mkdtemp())
    try:
        make_study(folder / "study", images, dim=DIM, grid=GRID, with_tables=False)
        shards = sum(path.stat().st_size for path in (folder / "study" / "shards").iterdir())
        command = [sys.executable, "-c", PROGRAM, "report", str(folder / "study"), "--quiet"]
        started = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": str(CORES)})
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (folder / "study" / "report.html").stat().st_size
    finally:
        shutil.rmtree(folder)
    print(describe_machine())
    print(f"{images:,} images x 10 views x {DIM} numbers, shards {shards / 1e6:,.0f} MB")
    print(f"seconds   {seconds:6.1f}   target {SECONDS}")
    print(f"CPU       {used.ru_utime + used.ru_stime:6.1f}   (of all cores together)")
    print(f"peak RSS  {used.ru_maxrss / 2**20:6.2f} GiB   target {BYTES / 2**30:.1f} GiB")
    print(f"report    {size / 1e6:6.2f} MB   at most 10")


if __name__ == "__main__":
    main()
