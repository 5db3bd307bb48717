"""Start and end: seconds of commands that a person waits for, each in a fresh process.

usage: python benchmarks/start.py STUDY [--runs 10] [--reports 3] [--only TEXT]

STUDY is a finished study whose photographs lie in `STUDY/photos`, as `embedshift demo --out STUDY` makes one; it is
copied. Prints a table: median, least and most of wall seconds, and the medians of CPU seconds over all processes and of
the peak memory of the largest. --only takes the tasks whose names hold a text, such as "report". The first image is
that of a run of these photographs, from the start of Python until it is measured; the first line, until such a run says
anything on stderr.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import BUNDLED, COMMAND, arguments, print_head, print_machine, print_row

PYTHON = [sys.executable, "-c"]
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


def took(command: Sequence[str], *, until_line: bool = False) -> tuple[float, float, float]:
    """Wall seconds of a command until it ends, or says anything on stderr; CPU seconds, MiB of the largest process."""
    started = time.perf_counter()
    stderr = subprocess.PIPE if until_line else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr)
    if process.stderr is not None:
        process.stderr.read(1)
        wall = time.perf_counter() - started
        process.kill()
        process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not until_line:
        raise subprocess.CalledProcessError(process.returncode, command)
    wall = wall if until_line else time.perf_counter() - started
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**10


def main() -> None:
    options = arguments(__doc__, "study", runs=10, reports=3, only="")
    with tempfile.TemporaryDirectory() as folder:
        study = shutil.copytree(options.study, Path(folder) / "study")
        photos, out = str(study / "photos"), f"{folder}/out"
        first = "`embedshift run`: the first line"
        tasks = {"`import embedshift`": [*PYTHON, "import embedshift"], "`embedshift --help`": [*COMMAND, "--help"]}
        for name in ("encoders", "augmentations", "metrics", "figures", "questions"):
            tasks[f"`embedshift list {name}`"] = [*COMMAND, "list", name]
        many = len(tasks)
        tasks[first] = [*COMMAND, "run", photos, "--model", BUNDLED, "--out", out, "--no-report"]
        tasks["`embedshift run`: the first image"] = [*PYTHON, FIRST_IMAGE, photos, BUNDLED, out]
        tasks["the imports of torch and transformers in it"] = [*PYTHON, IMPORTS]
        tasks["`embedshift report`"] = [*COMMAND, "report", str(study)]
        print_machine()
        print_head("what", "seconds", "least to most", "CPU seconds", "MiB", "runs")
        for number, (what, command) in enumerate(tasks.items()):
            if options.only not in what:
                continue
            measured = []
            for _ in range(options.runs if number < many else options.reports):
                measured.append(took(command, until_line=what == first))
                shutil.rmtree(out, ignore_errors=True)
            walls, cpus, memory = zip(*measured, strict=True)
            medians = f"{statistics.median(cpus):.2f}", f"{statistics.median(memory):,.0f}"
            least_to_most = f"{min(walls):.2f} to {max(walls):.2f}"
            print_row(what, f"{statistics.median(walls):.2f}", least_to_most, *medians, len(walls))


if __name__ == "__main__":
    main()
