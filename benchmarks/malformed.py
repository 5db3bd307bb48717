"""Malformed and odd pictures in every format: how many are measured, refused or read wrongly, time and memory.

python benchmarks/malformed.py              a line for each format, and one for each file that is read wrongly
python benchmarks/malformed.py all          a line for each file too
python benchmarks/malformed.py write DIR    writes the files
"""

import argparse
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from embedshift.sources.images import decode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import hostile, malformed

OUTCOMES = ("measured", "refused", "not told", "WRONG")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["formats", "all", "write"], default="formats")
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    kinds = malformed.kinds()
    if given.what == "write":
        hostile.write(given.folder or parser.error("a folder is needed"), kinds)
    else:
        read(kinds, given.what == "all")


def read(kinds: list[hostile.Kind], lists_all: bool) -> None:
    """Prints what becomes of each file, and a table."""
    counts: dict[str, Counter[str]] = {}
    slowest = 0.0
    for kind in kinds:
        start = time.perf_counter()
        outcome, words = malformed.outcome(kind, decode)
        seconds = time.perf_counter() - start
        slowest = max(slowest, seconds)
        counts.setdefault(kind.name.split()[0], Counter())[outcome] += 1
        if lists_all or outcome == "WRONG":
            print(f"{kind.name:60} {1000 * seconds:6.0f} ms  {outcome}: {words[:100]}")
    print("\n| format | files | " + " | ".join(OUTCOMES) + " |\n|---|" + "---|" * (len(OUTCOMES) + 1))
    for form, found in (counts | {"all": sum(counts.values(), Counter[str]())}).items():
        print(f"| {form} | {found.total()} | " + " | ".join(str(found[outcome]) for outcome in OUTCOMES) + " |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    print(f"\nThe slowest took {slowest:.1f} s, the process {time.process_time():.1f} s of CPU and {peak:.1f} GB.")


if __name__ == "__main__":
    main()
