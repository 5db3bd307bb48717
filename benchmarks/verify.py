"""Runs a study and holds every stored column to slow, independent computations.

usage: python benchmarks/verify.py PHOTOS [--count 16] [--model dinov2-small-offline]

Prints the largest difference per column beside what is allowed, and ends with 1 when one is over it. The computations
are those of the tests (`tests/support/exactness.py`, `tests/support/reference.py`).
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import embedshift
from bench import BUNDLED, arguments, spread_over
from embedshift.encoders.bundled import cached_folder
from support import exactness


def main() -> None:
    given = arguments(__doc__, "photos", count=16, model=BUNDLED)
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        for file in spread_over(given.photos, given.count):
            shutil.copy(file, photos)
        study = embedshift.run(photos, out=Path(scratch) / "study", model=given.model)
        info = study.info()["encoder"]
        folder = cached_folder() if given.model == BUNDLED else Path(given.model)
        model_type = json.loads((folder / "config.json").read_text())["model_type"]
        eager = exactness.eager(folder, model_type, tuple(info["mean"]), tuple(info["std"]))
        found = exactness.differences(study, photos, eager)
        print(f"{given.model}, {info['size']} px, {study.info()['counts']['measured']} photos x 10 views")
    for name, value in found.items():
        print(f"{name:22} {value:9.2e}   allowed {exactness.TOLERANCES[name]:.0e}")
    wrong = exactness.over_tolerance(found)
    print(f"over: {', '.join(wrong)}" if wrong else "all within what is allowed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
