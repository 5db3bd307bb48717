"""Ten promises, broken one at a time in a copy of the code: which test of `make test` notices.

usage: python benchmarks/breaks.py [--only 1 2 ...]

Each break replaces one expression. The tests are those of `make test` in the folders named with it, until the first
fails. Ends with exit code 1 if a break is not noticed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import ROOT, arguments, print_machine

ROOT_FILES = ("pyproject.toml", "README.md", "Makefile", "mkdocs.yml")
CARRIED = (".ci", "src", "tests", "docs", "benchmarks", "examples", *ROOT_FILES)


@dataclass(frozen=True)
class Break:
    promise: str
    file: str
    code: str
    broken: str
    tests: tuple[str, ...]


BREAKS = (
    Break(
        "metrics are exact: cosine off by 1e-6", "questions/embedding/measure.py",
        "return vectors.cosine(u, v)", "return vectors.cosine(u, v) - 1e-6", ("tests/questions",),
    ),
    Break(
        "intervals cover: a tenth too narrow", "statistics/intervals.py",
        "value - deviation * error", "value - 0.9 * deviation * error", ("tests/statistics",),
    ),
    Break(
        "each image counts once: the first shard is read twice", "store/reader.py",
        "return self.listing.parts", "return [*(both := self.listing.parts), both[0]]",
        ("tests/store",),
    ),
    Break(
        "failed images are listed: the first one is not", "store/shards.py",
        "for record in records for f in record.failures]", "for record in records for f in record.failures][1:]",
        ("tests/pipeline", "tests/sources", "tests/cli"),
    ),
    Break(
        "exit codes: `verify` ends with 0 where a file is damaged", "cli/finished.py",
        "raise typer.Exit(EmbedshiftError.exit_code)", "raise typer.Exit(0)", ("tests/cli", "tests/store"),
    ),
    Break(
        "a view depends on its seed: every view has seed 0", "augmentations/views.py",
        "changed = canvas.changed(suite[name], number)", "changed = canvas.changed(suite[name], 0)",
        ("tests/augmentations",),
    ),
    Break(
        "a report loads nothing from the network: a style sheet", "report/template/page.html.j2",
        "<title>", '<link rel="stylesheet" href="http://127.0.0.2/a.css"><title>', ("tests/report",),
    ),
    Break(
        "a study of an older schema is refused: it is read", "store/info.py",
        "if version != SCHEMA_VERSION:", "if version is None:", ("tests/store", "tests/security"),
    ),
    Break(
        "tables do not depend on workers: loaders have another seed", "pipeline/draw.py",
        "seed=seed, draws=draws",
        "seed=seed + (__import__('multiprocessing').parent_process() is not None), draws=draws",
        ("tests/pipeline", "tests/engines", "tests/store"),
    ),
    Break(
        "names are text in a report: nothing is escaped", "report/page.py",
        "autoescape=True", "autoescape=False", ("tests/report",),
    ),
)  # fmt: skip


def main() -> None:
    numbers = arguments(__doc__, only=tuple(range(1, len(BREAKS) + 1))).only
    print_machine()
    unnoticed = 0
    for number in numbers:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            test = first_failure(BREAKS[number - 1], Path(folder))
        unnoticed += not test
        seconds = time.monotonic() - began
        print(f"{number:2}. {BREAKS[number - 1].promise}: {test or 'NOT NOTICED'} ({seconds:.0f} s)", flush=True)
    sys.exit(unnoticed > 0)


def first_failure(change: Break, folder: Path) -> str:
    """The first test that fails with the change; "" if none does."""
    for name in CARRIED:
        if (source := ROOT / name).is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    path = folder / "src" / "embedshift" / change.file
    text = path.read_text()
    if text.count(change.code) != 1:
        sys.exit(f"{change.file}: {change.code!r} does not stand there once; correct this benchmark")
    path.write_text(text.replace(change.code, change.broken))
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not matrix", "-p", "no:cacheprovider", "-rfE", "--tb=no"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *change.tests], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    return next((line.split(" - ")[0].split(" ", 1)[1] for line in lines if line.startswith(("FAILED", "ERROR"))), "")


if __name__ == "__main__":
    main()
