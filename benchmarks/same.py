"""Two revisions of this repository on the same images: which tables (CSV) and figures (SVG) differ.

usage: python benchmarks/same.py BEFORE AFTER PHOTO_DIR [--images 64] [--renamed FILE] [--first CODE]

For a change that must change no number. Every revision is checked out beside this one and run with this Python. Tables
are compared byte for byte; of an SVG all but Matplotlib's ids and the date, and where only coordinates differ, by how
much. With --renamed, tables of BEFORE get the names of AFTER first: `tables`, `columns` and `values` (of a cell), each
an old name with its new one (`benchmarks/renamed.json`). --first is Python that BEFORE runs first, to leave out what
AFTER has cut by a decision.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars import selectors

from machine import describe_machine

COMMAND = "from embedshift.cli import main; main()"
EXTRAS = ["--layers", "--heads", "--draws", "2", "--metrics", "attention,aligned,rollout", "-q"]
STRENGTH = ["--augmentations", "strength", "--families", "jpeg,blur", "-q"]
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
NO_CONTENT = re.compile(r'(?<=id=")[^"]*|(?<=#)[\w-]+(?=["\)])|<dc:date>.*?</dc:date>', re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", metavar="BEFORE")
    parser.add_argument("after", metavar="AFTER")
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--renamed", type=Path, help="JSON: names of tables, columns and cells, old and new")
    parser.add_argument("--first", default="", help="Python that BEFORE runs first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        outs: list[Path] = []
        for revision, first in ((options.before, options.first), (options.after, "")):
            out = Path(temporary) / f"studies-{len(outs)}"
            with checked_out(revision, Path(temporary) / f"code-{len(outs)}") as code:
                run(code, out, options.folder.resolve(), options.images, first)
            outs.append(out)
        if options.renamed is not None:
            rename(outs[0], json.loads(options.renamed.read_text()))
        compare(*outs)
    print(describe_machine())


@contextlib.contextmanager
def checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """The files of a revision, in a worktree that goes away."""
    git = ["git", "-C", str(Path(__file__).parent), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), revision], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def run(code: Path, out: Path, photos: Path, images: int, first: str) -> None:
    """The demo, a study of a folder with all that can be asked for without texts, and one of two families."""

    def embedshift(*arguments: str | Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(code / "src")}
        subprocess.run(
            [sys.executable, "-c", f"{first}\n{COMMAND}", *map(str, arguments)],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    model = ("--model", "dinov2-small-offline", "--workers", "1")
    embedshift("demo", "--out", out / "demo", "-q")
    embedshift("run", photos, "--out", out / "folder", *model, "--limit", str(images), "--shard-size", "16", *EXTRAS)
    embedshift("run", photos, "--out", out / "strength", *model, "--limit", str(images), *STRENGTH)


def rename(out: Path, renamed: dict[str, dict[str, str]]) -> None:
    """Gives the tables of a revision other names, in their files' names, their headings and their cells."""
    for path in sorted(out.rglob("tables/*.csv")):
        heading, *rows = path.read_text().splitlines(keepends=True)
        columns = [renamed["columns"].get(f"{path.stem}.{name}", name) for name in heading.strip().split(",")]
        columns = [renamed["columns"].get(name, name) for name in columns]
        cells = [[renamed["values"].get(cell, cell) for cell in row.rstrip("\n").split(",")] for row in rows]
        path.write_text("".join(",".join(row) + "\n" for row in [columns, *cells]))
        path.rename(path.with_stem(renamed["tables"].get(path.stem, path.stem)))


def compare(before: Path, after: Path) -> None:
    """A line for every file that differs, and the count of those that do not."""
    both = [
        {path.relative_to(out) for path in out.rglob("*") if path.suffix in (".csv", ".svg")} for out in (before, after)
    ]
    for path in sorted(both[0] ^ both[1]):
        print(f"{path}: only {'before' if path in both[0] else 'after'}")
    equal = 0
    for path in sorted(both[0] & both[1]):
        if path.suffix == ".svg":
            one, two = (NO_CONTENT.sub("", (out / path).read_text()) for out in (before, after))
            same, words = one == two, drawing(one, two)
        else:
            same, words = (
                (before / path).read_bytes() == (after / path).read_bytes(),
                difference(before / path, after / path),
            )
        equal += same
        if not same:
            print(f"{path}: {words}")
    print(f"{equal} of {len(both[0] & both[1])} tables and figures are equal")


def drawing(one: str, two: str) -> str:
    """How far the numbers of two SVG files are apart, where all else is equal."""
    if NUMBER.sub("", one) != NUMBER.sub("", two):
        return "another drawing"
    pairs = zip(NUMBER.findall(one), NUMBER.findall(two), strict=True)
    return f"coordinates differ by at most {max(abs(float(a) - float(b)) for a, b in pairs):.2g}"


def difference(before: Path, after: Path) -> str:
    """The largest difference of every column of numbers that differs; rows are matched by their place."""
    one, two = pl.read_csv(before), pl.read_csv(after)
    if one.shape != two.shape or one.columns != two.columns:
        return f"{one.shape} before, {two.shape} after"
    numbers = one.select(selectors.numeric()).columns
    largest = {name: (one[name] - two[name]).abs().max() for name in numbers if two[name].dtype.is_numeric()}
    found = [f"{name} {value:.2g}" for name, value in largest.items() if isinstance(value, int | float) and value > 0]
    found += [f"{name} (text)" for name in one.columns if name not in largest and not one[name].equals(two[name])]
    return "largest differences: " + ", ".join(found)


if __name__ == "__main__":
    main()
