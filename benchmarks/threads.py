"""Views with other threads and instruction sets: how many levels apart they are, by augmentation.

usage: python benchmarks/threads.py PHOTOS [--elastic 1000] [--others 24]

Every family of every suite is drawn at its strongest, in a process for each limit, and compared with one thread and all
instructions. "places of elastic" are in pixels, all other numbers in grey levels.
"""

import tempfile
from pathlib import Path

import numpy as np

from bench import arguments, files_in, print_machine, read_square
from support import kernels

# Name of a column → threads and limits.
RUNS = {
    "2 threads": (2, "none"),
    "OpenBLAS for Haswell, 1 thread": (1, "OpenBLAS for Haswell"),
    "OpenBLAS for Haswell, 2 threads": (2, "OpenBLAS for Haswell"),
    **{name: (1, name) for name in list(kernels.LIMITS)[1:]},
}


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


def main() -> None:
    options = arguments(__doc__, "photos", elastic=1_000, others=24)
    print_machine()
    with tempfile.TemporaryDirectory() as scratch:
        file, views = Path(scratch) / "originals.npy", Path(scratch) / "views.npz"
        np.save(file, np.stack([read_square(photo, 224) for photo in files_in(options.photos, 24)]))
        base = kernels.draw_limited(file, options.elastic, options.others, 1, {}, views)
        for column, (threads, name) in RUNS.items():
            limits = kernels.LIMITS.get(name, {})
            made = kernels.draw_limited(file, options.elastic, options.others, threads, limits, views)
            found = {name: text for name in base if (text := differing(base[name], made[name]))}
            print(f"\n{column}: all equal" + (" but" if found else ""))
            for name, text in found.items():
                print(f"  {name:26} {text}", flush=True)


if __name__ == "__main__":
    main()
