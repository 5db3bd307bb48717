"""What a change of the file moves, beside the same change of the encoder's input: JPEG 13, and tolerances.

usage: python benchmarks/apply_to.py PHOTOS [--studies DIR]

Prints the relative shift under JPEG quality 13 on the demo's photos, and the tolerances of the suite `strength` on 24
of PHOTOS, each with `--apply-to file` and `--apply-to input`; then the seconds of drawing. Ends with exit code 1 where
the first two are not .040 and .113, to .01.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import embedshift
from embedshift.arrays import Pixels
from embedshift.augmentations import strength as detail
from embedshift.sources.demo import copy_photos
from machine import describe_machine

EXPECTED = {"file": 0.040, "input": 0.113}
BOTH = tuple(EXPECTED)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--studies", type=Path, help="a folder that is kept; its studies are not run again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.studies or Path(scratch)
        print(describe_machine())
        good = print_jpeg(folder, copy_photos(folder / "demo"))
        print_tolerances(folder, options.photos)
    sys.exit(0 if good else 1)


def study_of(photos: Path, out: Path, apply_to: Any, **settings: Any) -> embedshift.Study:
    return embedshift.run(photos, out=out, model="dinov2-small-offline", apply_to=apply_to, workers=1, **settings)


def compress(image: Pixels, rng: np.random.Generator) -> Pixels:
    """As the family jpeg; albumentations takes red for blue, and loses other colours."""
    return detail.jpeg(image, 13, rng)


def print_jpeg(folder: Path, photos: Path) -> bool:
    good = True
    for apply_to in BOTH:
        study = study_of(photos, folder / f"jpeg-{apply_to}", apply_to, augmentations={"jpeg_13": compress})
        row = study.summary().filter(metric="cosine_similarity").row(0, named=True)
        low, high = (f"{row[f'relative_shift_{end}']:.3f}" for end in ("low", "high"))
        print(f"JPEG 13, demo photos, {apply_to}: relative shift {row['relative_shift']:.3f} [{low}, {high}]")
        good &= abs(row["relative_shift"] - EXPECTED[apply_to]) <= 0.01
    return good


def print_tolerances(folder: Path, photos: Path) -> None:
    tables, seconds = {}, {}
    for apply_to in BOTH:
        settings: dict[str, Any] = {"augmentations": "strength", "sample": 24}
        study = study_of(photos, folder / f"strength-{apply_to}", apply_to, **settings)
        rows = study.tolerance().filter(pl.col("criterion") == "relative shift 0.1").iter_rows(named=True)
        tables[apply_to] = {row["family"]: row for row in rows}
        info = study.info()
        views = info["counts"]["rows"] - info["counts"]["measured"]
        seconds[apply_to] = info["seconds"]["draw"] / views
    print("\n| family | unit | file: tolerance [95 % interval] | input: tolerance [95 % interval] |\n|---|---|---|---|")
    for family in tables["file"]:
        cells = (_cell(tables[apply_to][family]) for apply_to in BOTH)
        print(f"| {family} | {tables['file'][family]['unit']} | {' | '.join(cells)} |")
    print("\nseconds to draw a view: " + ", ".join(f"{name} {value:.4f}" for name, value in seconds.items()))


def _cell(row: dict[str, Any]) -> str:
    low, high = ("beyond" if row[end] is None else f"{row[end]:.3g}" for end in ("low", "high"))
    return f"{'not reached' if row['value'] is None else format(row['value'], '.3g')} [{low}, {high}]"


if __name__ == "__main__":
    main()
