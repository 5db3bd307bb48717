"""Two revisions of this repository on the same images: which tables (CSV) and figures (SVG) differ.

usage: python benchmarks/same.py BEFORE AFTER PHOTO_DIR [--images 64] [--only NAME ...]

For a change that must change no number. Every revision is checked out beside this one and run with this Python. Its
studies: the demo; a folder with layers, heads, two draws and groups, by one thread and by two; two families of
strength; a cluster of Ray; vectors. Tables are compared byte for byte, and numbers that differ by at most 1e-12 are
counted apart; of an SVG all but Matplotlib's ids and the date, and where only coordinates differ, by how much.
"""

import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl

from bench import COMMAND, arguments, checked_out, print_machine

MODEL = ("--model", "dinov2-small-offline", "-q")
NAMES = ("demo", "folder", "threads", "strength", "ray", "vectors")
EXTRAS = ("--layers", "--heads", "--draws", "2", "--metrics", "attention,aligned,rollout", "--workers", "1")
STRENGTH = ("--augmentations", "strength", "--families", "jpeg,blur", "--workers", "1")
NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
NO_CONTENT = re.compile(r'(?<=id=")[^"]*|(?<=#)[\w-]+(?=["\)])|<dc:date>.*?</dc:date>', re.DOTALL)
ROUNDING, EQUAL, ROUNDED = 1e-12, "are equal", "are equal within rounding"


def main() -> None:
    options = arguments(__doc__, "before", "after", "folder", images=64, only=NAMES)
    with tempfile.TemporaryDirectory() as temporary:
        given = Path(temporary)
        write_groups(options.folder, given / "groups.csv", options.images)
        write_vectors(given)
        outs = [given / "before", given / "after"]
        for revision, out in zip((options.before, options.after), outs, strict=True):
            with checked_out(str(revision), given / f"code-{out.name}") as code:
                for name, words in studies(options.folder.resolve(), given, options.images).items():
                    if name in options.only:
                        run(code, [*words, "--out", str(out / name)], "2" if name == "threads" else "1")
        compare(*outs)
    print_machine()


def studies(photos: Path, given: Path, images: int) -> dict[str, list[str]]:
    """The command of each study, by its name."""
    limited = ["run", str(photos), *MODEL, "--limit", str(images)]
    arrays = [str(given / "originals.npy"), *(f"{path.stem}={path}" for path in sorted(given.glob("view_*.npy")))]
    folder = [*limited, "--shard-size", "16", *EXTRAS, "--groups", str(given / "groups.csv")]
    return {
        "demo": ["demo", "-q"],
        "folder": folder,
        "threads": folder,
        "strength": [*limited, *STRENGTH],
        "ray": [*limited, "--shard-size", "8", "--engine", "ray"],
        "vectors": ["vectors", *arrays, "-q"],
    }


def write_groups(photos: Path, out: Path, images: int) -> None:
    """Two images a group, in the order of their names."""
    names = sorted(path.name for path in photos.iterdir())[:images]
    pl.DataFrame({"image_id": names, "group": [f"group {n // 2}" for n in range(len(names))]}).write_csv(out)


def write_vectors(folder: Path, images: int = 200, size: int = 64) -> None:
    """Originals in clusters, and four views that are further and further away."""
    rng = np.random.default_rng(0)
    originals = rng.standard_normal((20, size))[np.arange(images) % 20] + 0.5 * rng.standard_normal((images, size))
    np.save(folder / "originals.npy", originals.astype(np.float32))
    for level in range(1, 5):
        views = originals + 0.3 * level * rng.standard_normal(originals.shape)
        np.save(folder / f"view_{level}.npy", views.astype(np.float32))


def run(code: Path, words: list[str], threads: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(code / "src"), "OMP_NUM_THREADS": threads}
    subprocess.run([*COMMAND, *words], env=environment, check=True, stdout=subprocess.DEVNULL)


def compare(before: Path, after: Path) -> None:
    """A line for every file that differs, and the count of those that do not."""
    both = [
        {path.relative_to(out) for path in out.rglob("*") if path.suffix in (".csv", ".svg")} for out in (before, after)
    ]
    for path in sorted(both[0] ^ both[1]):
        print(f"{path}: only {'before' if path in both[0] else 'after'}")
    counts = Counter[tuple[str, str]]()
    for path in sorted(both[0] & both[1]):
        if path.suffix == ".svg":
            one, two = (NO_CONTENT.sub("", (out / path).read_text()) for out in (before, after))
            words = EQUAL if one == two else drawing(one, two)
        else:
            words = difference(before / path, after / path)
        counts[path.suffix, words if words in (EQUAL, ROUNDED) else "differ"] += 1
        if words not in (EQUAL, ROUNDED):
            print(f"{path}: {words}")
    for (suffix, words), count in sorted(counts.items()):
        print(f"{count} files {suffix} {words}")


def drawing(one: str, two: str) -> str:
    """How far the numbers of two SVG files are apart, where all else is equal."""
    if NUMBER.sub("", one) != NUMBER.sub("", two):
        return "another drawing"
    pairs = zip(NUMBER.findall(one), NUMBER.findall(two), strict=True)
    return f"coordinates differ by at most {max(abs(float(a) - float(b)) for a, b in pairs):.2g}"


def difference(before: Path, after: Path) -> str:
    """What differs by more than rounding: the largest difference of every column; rows are matched by their place."""
    if before.read_bytes() == after.read_bytes():
        return EQUAL
    one, two = pl.read_csv(before), pl.read_csv(after)
    if one.shape != two.shape or one.columns != two.columns:
        return f"{one.shape} before, {two.shape} after"
    found = []
    for name in one.columns:
        if one[name].dtype.is_numeric() and two[name].dtype.is_numeric():
            first, second = (table[name].cast(pl.Float64).fill_nan(None) for table in (one, two))
            largest = (first - second).abs().max()
            nulls = not first.is_null().equals(second.is_null())
            if nulls or (isinstance(largest, int | float) and largest > ROUNDING):
                found.append(f"{name} (other cells are empty)" if nulls else f"{name} {largest!s:.8}")
        elif not one[name].equals(two[name]):
            found.append(f"{name} (text)")
    return ", ".join(found) or ROUNDED


if __name__ == "__main__":
    main()
