"""Start and end: seconds of commands that a person waits for, each in a fresh process.

usage: python benchmarks/start.py STUDY [--runs 10] [--reports 3] [--only TEXT]

STUDY is a finished study whose photographs lie in `STUDY/photos`, as `embedshift demo --out STUDY` makes one; it is
copied. Prints a table: median, least and most of wall seconds, and the medians of CPU seconds over all processes and of
the peak memory of the largest. --only takes the tasks whose names hold a text, such as "report". The first image is
that of a run of these photographs, from the start of Python until it is measured; the first line, until such a run says
anything on stderr.
"""

import argparse
import functools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
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
# Wall seconds, CPU seconds, and the MiB of the largest process.
Took = tuple[float, float, float]


def whole(*command: str) -> Took:
    """A command until it ends."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cpu, memory = used(process)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, cpu, memory


def until_first_line(photos: Path) -> Took:
    """A run until it says anything on stderr; then it is ended."""
    with tempfile.TemporaryDirectory() as out:
        command = [*MAIN, "run", str(photos), "--model", MODEL, "--out", f"{out}/study", "--no-report"]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert process.stderr is not None
        process.stderr.read(1)
        wall = time.perf_counter() - started
        process.kill()
        process.stderr.close()
        return wall, *used(process)


def used(process: "subprocess.Popen[bytes]") -> tuple[float, float]:
    """CPU seconds of a process and those that it started, and the MiB of the largest of them, when it has ended."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


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
    parser.add_argument("--only", default="", metavar="TEXT")
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
        print("| what | seconds | least to most | CPU seconds | MiB | runs |", "|---|---|---|---|---|---|", sep="\n")
        for what, (runs, task) in [(what, task) for what, task in tasks.items() if options.only in what]:
            walls, cpus, memory = zip(*(task() for _ in range(runs)), strict=True)
            medians = f"{statistics.median(cpus):.2f} | {statistics.median(memory):,.0f}"
            spread = f"{min(walls):.2f} to {max(walls):.2f}"
            print(f"| {what} | {statistics.median(walls):.2f} | {spread} | {medians} | {runs} |")


if __name__ == "__main__":
    main()
