"""Start and end: seconds of commands that a person waits for, each in a fresh process.

usage: python benchmarks/start.py STUDY [--runs 10] [--reports 3]

STUDY is a finished study whose photographs lie in `STUDY/photos`, as `embedshift demo --out STUDY` makes one; it is
copied. Prints a table: median, least and most of wall seconds, and the median of CPU seconds over all processes. The
first image is that of a run of these photographs, from the start of Python until it is measured; the first line, until
such a run says anything on stderr.
"""

import argparse
import contextlib
import functools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from machine import describe_machine

MAIN = [sys.executable, "-c", "from embedshift.cli import main; main()"]
LISTS = ("encoders", "augmentations", "metrics", "figures", "questions")
MODEL = "dinov2-small-offline"
FIRST_IMAGE = """\
import os, sys
import embedshift
def measured(images):
    print("measured", flush=True)
    os._exit(0)
embedshift.run(sys.argv[1], model=sys.argv[2], out=sys.argv[3], progress=measured)
"""
# What loading the encoder imports.
IMPORTS = "import torch; from transformers import AutoConfig, Dinov2Model"
# Wall and CPU seconds.
Took = tuple[float, float]


@contextlib.contextmanager
def clock() -> Iterator[Callable[[], Took]]:
    """Gives what says how long it is since, in wall seconds and in CPU seconds of processes that ended."""

    def cpu() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    wall, before = time.perf_counter(), cpu()
    yield lambda: (time.perf_counter() - wall, cpu() - before)


def whole(*command: str) -> Took:
    """A command until it ends."""
    with clock() as took:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return took()


def until_first_line(photos: Path) -> Took:
    """A run until it says anything on stderr; then it is ended."""
    with tempfile.TemporaryDirectory() as out, clock() as took:
        command = [*MAIN, "run", str(photos), "--model", MODEL, "--out", f"{out}/study", "--no-report"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        process.stderr.read(1)
        wall, _ = took()
        process.kill()
        process.communicate()
        return wall, took()[1]


def until_first_image(photos: Path) -> Took:
    """A run until its first image is measured."""
    with tempfile.TemporaryDirectory() as out:
        return whole(sys.executable, "-c", FIRST_IMAGE, str(photos), MODEL, f"{out}/study")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--reports", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = shutil.copytree(options.study, Path(folder) / "study")
        photos = study / "photos"
        if not photos.is_dir():
            parser.error(f"{photos}: no such folder; give what `embedshift demo --out DIR` made")
        few, many = options.reports, options.runs
        tasks: dict[str, tuple[int, Callable[[], Took]]] = {
            "`import embedshift`": (many, lambda: whole(sys.executable, "-c", "import embedshift")),
            "`embedshift --help`": (many, lambda: whole(*MAIN, "--help")),
        }
        for name in LISTS:
            tasks[f"`embedshift list {name}`"] = many, functools.partial(whole, *MAIN, "list", name)
        tasks["`embedshift run`: the first line"] = few, lambda: until_first_line(photos)
        tasks["`embedshift run`: the first image"] = few, lambda: until_first_image(photos)
        tasks["the imports of torch and transformers in it"] = few, lambda: whole(sys.executable, "-c", IMPORTS)
        tasks["`embedshift report`"] = few, lambda: whole(*MAIN, "report", str(study))
        print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ", end="\n\n")
        print("| what | seconds | least to most | CPU seconds | runs |", "|---|---|---|---|---|", sep="\n")
        for what, (runs, task) in tasks.items():
            walls, cpus = zip(*(task() for _ in range(runs)), strict=True)
            spread = f"{min(walls):.2f} to {max(walls):.2f}"
            print(f"| {what} | {statistics.median(walls):.2f} | {spread} | {statistics.median(cpus):.2f} | {runs} |")


if __name__ == "__main__":
    main()
