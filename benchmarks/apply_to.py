"""What a change of the file moves, beside the same change of the encoder's input: JPEG 13, and tolerances.

usage: python benchmarks/apply_to.py PHOTOS [--sample 24] [--studies DIR]

Prints the relative shift under JPEG quality 13 on the demo's photos, and the tolerances of the suite `strength` on 24
of PHOTOS, each with `--apply-to file` and `--apply-to input`; studies in DIR are kept, and not run again. Ends with
exit code 1 where the first two are not .040 and .113, to .01.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import embedshift
from bench import BUNDLED, arguments, print_head, print_machine, print_row
from embedshift.arrays import Pixels
from embedshift.augmentations import strength
from embedshift.sources.demo import copy_photos

EXPECTED = {"file": 0.040, "input": 0.113}


def compress(image: Pixels, rng: np.random.Generator) -> Pixels:
    """As the family jpeg; albumentations takes red for blue, and loses other colours."""
    return strength.jpeg(image, 13, rng)


def studies(photos: Path, out: Path, **settings: Any) -> dict[str, embedshift.Study]:
    settings |= {"model": BUNDLED, "workers": 1}
    return {each: embedshift.run(photos, out=f"{out}-{each}", **settings | {"apply_to": each}) for each in EXPECTED}


def print_jpeg(folder: Path) -> bool:
    good = True
    made = studies(copy_photos(folder / "demo"), folder / "jpeg", augmentations={"jpeg_13": compress})
    for name, study in made.items():
        row = study.summary().filter(metric="cosine_similarity").row(0, named=True)
        value, low, high = (row[f"relative_shift{end}"] for end in ("", "_low", "_high"))
        print(f"JPEG 13, demo photos, {name}: relative shift {value:.3f} [{low:.3f}, {high:.3f}]")
        good &= abs(value - EXPECTED[name]) <= 0.01
    return good


def print_tolerances(folder: Path, photos: Path, sample: int) -> None:
    made = studies(photos, folder / "strength", augmentations="strength", sample=sample)
    tables = [study.tolerance().filter(criterion="relative shift 0.1").to_dicts() for study in made.values()]
    print_head("family", "unit", "file: tolerance [95 % interval]", "input: tolerance [95 % interval]")
    for row, other in zip(*tables, strict=True):
        print_row(row["family"], row["unit"], cell(row), cell(other))


def cell(row: dict[str, Any]) -> str:
    value, low, high = ("beyond" if row[name] is None else f"{row[name]:.3g}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def main() -> None:
    options = arguments(__doc__, "photos", sample=24, studies=Path)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.studies or Path(scratch)
        print_machine()
        good = print_jpeg(folder)
        print_tolerances(folder, options.photos, options.sample)
    sys.exit(not good)


if __name__ == "__main__":
    main()
