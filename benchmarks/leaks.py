"""Likely copies between two sets: planted leaks that are found, other pairs, and CPU seconds of two large sets.

usage: python benchmarks/leaks.py [--images 100000] [--dim 128] [--draws 20]

Vectors lie around centres, so that some different images are near. Each draw plants 15 equal and 15 near vectors
(a cosine of .95) in a set of 300, searched in 200 others. Ends with exit code 1 where a limit is missed.
"""

import sys
import time

import numpy as np

from bench import arguments, peak_gib, print_head, print_machine, print_row
from embedshift.arrays import Floats
from embedshift.statistics.duplicates import EQUAL, EXPECTED_FALSE, fit_tail, pairs_above
from embedshift.statistics.search_index import near_pairs
from embedshift.statistics.vectors import normalised_float32

LEAKS, SIZES, COSINE, LISTED, MOST_SECONDS, MOST_FALSE = 30, (200, 300), 0.95, 10_000, 60.0, 1.5


def main() -> None:
    options = arguments(__doc__, images=100_000, dim=128, draws=20)
    print_machine()
    print_head("images", "leaks found", "others", "expected", "CPU s", "peak GiB")
    found, false = 0, list[int]()
    for draw in range(options.draws):
        hits, others, _ = between(SIZES, options.dim, LEAKS, draw)
        found, false = found + hits, [*false, others]
    whole = LEAKS * options.draws
    print_row(f"{SIZES[0]} x {SIZES[1]}", f"{found} of {whole}", f"{np.mean(false):.2f}", 1, "", "")
    hits, others, seconds = between((options.images, options.images), options.dim, LEAKS, 0)
    cost = f"{seconds:.1f}", f"{peak_gib():.2f}"
    print_row(f"{options.images:,} x {options.images:,}", f"{hits} of {LEAKS}", others, 1, *cost)
    sys.exit(bool(found < whole or np.mean(false) > MOST_FALSE or hits < LEAKS or seconds > MOST_SECONDS))


def between(sizes: tuple[int, int], dim: int, leaks: int, seed: int) -> tuple[int, int, float]:
    """Planted leaks that are listed, other pairs, and the CPU seconds."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(max(20, sum(sizes) // 100), dim)).astype(np.float32)
    one, other = (drawn(centres, size, rng) for size in sizes)
    other[:leaks] = one[:leaks]
    noise = normalised_float32(rng.normal(size=(leaks // 2, dim)))
    other[: leaks // 2] = normalised_float32(COSINE * one[: leaks // 2] + (1 - COSINE**2) ** 0.5 * noise)
    started = time.process_time()
    vectors = np.concatenate([one, other])
    tail = fit_tail(vectors, seed=0, split=len(one))
    assert tail is not None
    least = min(EQUAL, tail.threshold(EXPECTED_FALSE))
    first, second = pairs_above(vectors, least, LISTED, near_pairs(vectors, least), split=len(one))
    seconds = time.process_time() - started
    hits = int(((second - len(one) == first) & (first < leaks)).sum())
    return hits, len(first) - hits, seconds


def drawn(centres: Floats, count: int, rng: np.random.Generator) -> Floats:
    rows = centres[rng.integers(len(centres), size=count)] + rng.normal(size=(count, centres.shape[1]))
    return normalised_float32(rows.astype(np.float32))


if __name__ == "__main__":
    main()
