"""Malformed and odd pictures in every format: how many are measured, refused or read wrongly, time and memory.

usage: python benchmarks/malformed.py [--all] [--write DIR]

A line for each format, and one for each file that is read wrongly, or with `--all` for each. `--write` writes them.
"""

import time
from collections import Counter
from pathlib import Path

from bench import arguments, peak_gib, print_head, print_row
from embedshift.sources.images import decode
from support import hostile, malformed

OUTCOMES = ("measured", "refused", "not told", "WRONG")


def main() -> None:
    given, kinds = arguments(__doc__, all=False, write=Path), malformed.kinds()
    if given.write:
        hostile.write(given.write, kinds)
        return
    counts: dict[str, Counter[str]] = {}
    slowest = 0.0
    for kind in kinds:
        start = time.perf_counter()
        outcome, words = malformed.outcome(kind, decode)
        seconds = time.perf_counter() - start
        slowest = max(slowest, seconds)
        counts.setdefault(kind.name.split()[0], Counter())[outcome] += 1
        if given.all or outcome == "WRONG":
            print(f"{kind.name:60} {1000 * seconds:6.0f} ms  {outcome}: {words[:100]}")
    print_head("format", "files", *OUTCOMES)
    for form, found in (counts | {"all": sum(counts.values(), Counter[str]())}).items():
        print_row(form, found.total(), *(found[outcome] for outcome in OUTCOMES))
    print(f"\nThe slowest took {slowest:.1f} s, the process {time.process_time():.1f} CPU s and {peak_gib():.1f} GiB.")


if __name__ == "__main__":
    main()
