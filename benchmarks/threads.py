"""Views with other threads and instruction sets: how many levels apart they are, by augmentation.

usage: python benchmarks/threads.py PHOTO_DIR [--elastic 1000] [--others 24]

Every family of every suite is drawn at its strongest, in a process for each limit, and compared with one thread and all
instructions. "places of elastic" are in pixels, all other numbers in grey levels.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from embedshift.sources import FolderSource, images
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support import kernels

SIZE, PHOTOS = 224, 24
# Name of a column → threads and limits.
RUNS = {
    "2 threads": (2, "none"),
    "OpenBLAS for Haswell, 1 thread": (1, "OpenBLAS for Haswell"),
    "OpenBLAS for Haswell, 2 threads": (2, "OpenBLAS for Haswell"),
    **{name: (1, name) for name in list(kernels.LIMITS)[1:]},
}


def compare(folder: Path, elastic: int, others: int) -> dict[str, dict[str, str]]:
    """Column → name of an augmentation → what differs, in words; equal ones are left out."""
    samples = FolderSource([str(folder)]).samples[:PHOTOS]
    originals = [images.ToInput(SIZE)(images.decode(Path(sample.location).read_bytes())) for sample in samples]
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        file, views = Path(temporary) / "originals.npy", Path(temporary) / "views.npz"
        np.save(file, np.stack(originals))
        base = kernels.draw_limited(file, elastic, others, 1, {}, views)
        for column, (threads, limit) in RUNS.items():
            made = kernels.draw_limited(file, elastic, others, threads, kernels.LIMITS.get(limit, {}), views)
            found[column] = {name: text for name in base if (text := differing(base[name], made[name]))}
    return found


def differing(one: np.ndarray, other: np.ndarray) -> str:
    """The largest difference, values that differ, and views that do; "" = none."""
    most, values, views = 0.0, 0, 0
    for before, after in zip(one, other, strict=True):  # one by one: a thousand views as float64 take gigabytes
        apart = np.abs(before.astype(np.float64) - after)
        most = max(most, float(apart.max()))
        values += int(np.count_nonzero(apart))
        views += bool(apart.any())
    if not views:
        return ""
    return f"{most:.3g}, in {1e6 * values / one.size:.2g} of a million values, {views} of {len(one)} views"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--elastic", type=int, default=1000, help="views of each elastic augmentation")
    parser.add_argument("--others", type=int, default=24, help="views of each other augmentation")
    arguments = parser.parse_args()
    print(describe_machine())
    for column, names in compare(arguments.folder, arguments.elastic, arguments.others).items():
        print(f"\n{column}: " + ("all equal" if not names else "all equal but"))
        for name, text in names.items():
            print(f"  {name:26} {text}")
