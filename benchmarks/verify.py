"""Runs a study and holds every stored column to slow, independent computations: `verify.py PHOTO_DIR`.

Prints the largest difference per column beside what is allowed, and ends with 1 when one is over it. The
computations are those of the tests (`tests/support/exactness.py`, `tests/support/reference.py`).
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--count", type=int, default=16, help="how many of them, spread over the folder")
    parser.add_argument("--model", default="dinov2-small-offline", help="a registered name or a local folder")
    given = parser.parse_args()

    import embedshift
    from embedshift.encoders.bundled import cached_folder
    from support import exactness

    files = sorted(path for path in given.photos.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(scratch) / "photos"
        photos.mkdir()
        for file in files[:: max(1, len(files) // given.count)][: given.count]:
            shutil.copy(file, photos)
        study = embedshift.run(photos, out=Path(scratch) / "study", model=given.model)
        info = study.info()["encoder"]
        folder = cached_folder() if given.model == "dinov2-small-offline" else Path(given.model)
        model_type = json.loads((folder / "config.json").read_text())["model_type"]
        eager = exactness.eager(folder, model_type, tuple(info["mean"]), tuple(info["std"]))
        found = exactness.differences(study, photos, eager)
        print(f"{given.model}, {info['size']} px, {study.info()['counts']['measured']} photos x 10 views")
    for name, value in found.items():
        print(f"{name:22} {value:9.2e}   allowed {exactness.TOLERANCES[name]:.0e}")
    wrong = exactness.over_tolerance(found)
    print(f"over: {', '.join(wrong)}" if wrong else "all within what is allowed")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
