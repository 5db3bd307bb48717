"""Search and near-copies in large sets of vectors by FAISS: CPU time, memory and recall.

usage: python benchmarks/nearest.py [--images 100000 1000000] [--dim 64] [--memory 4] [--folder DIR] [--jobs near]

Vectors of classes of a hundred images; a thousand have a near-copy at a cosine of 0.95. Each job is a process of its
own that reads the vectors from a mapped file: `near` finds pairs where one is expected to be false, `pairs` compares
all pairs instead (of 100,000 images at most), `search` finds the originals of 2,000 changed images. What an index finds
is compared with an exact search of some images, as in every run.
"""

import json
import logging
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench import arguments, in_a_process, peak_gib, print_head, print_machine, print_row
from embedshift.arrays import Floats
from embedshift.statistics.duplicates import fit_tail, pairs_above
from embedshift.statistics.retrieval import Gallery
from embedshift.statistics.search_index import near_pairs, search_function
from embedshift.statistics.vectors import normalised_float32

JOBS, MOST_PAIRED = ("near", "pairs", "search"), 100_000
COPIED, COSINE, LISTED, QUERIES, BLOCK = 1_000, 0.95, 10_000, 2_000, 500


def main() -> None:
    given: dict[str, Any] = {"dim": 64, "memory": 4.0, "folder": tempfile.gettempdir(), "jobs": JOBS, "job": ""}
    options = arguments(__doc__, images=(100_000, 1_000_000), **given)
    if options.job:
        job(options.job, Path(options.folder), options.memory)
        return
    print_machine()
    print_head("images", "job", "CPU s", "CPU ms an image", "peak GiB", "its recall", "found of what was planted")
    for images in options.images:
        with tempfile.NamedTemporaryFile(dir=options.folder, suffix=".npy") as file:
            write_vectors(Path(file.name), images, options.dim)
            for name in options.jobs:
                if name == "pairs" and images > MOST_PAIRED:
                    continue
                job_of = ("--job", name, "--folder", file.name, "--memory", options.memory)
                seconds, memory, said, found = in_a_process(__file__, *job_of)
                each = f"{1_000 * seconds / images:.3f}"
                print_row(f"{images:,}", name, f"{seconds:.1f}", each, f"{memory:.2f}", said, f"{found:.3f}")


def write_vectors(path: Path, images: int, dim: int) -> None:
    rng, step = np.random.default_rng(0), 100_000
    file = np.lib.format.open_memmap(path, "w+", np.float32, (images, dim))
    centres = rng.normal(size=(max(1, images // 100), dim)).astype(np.float32)
    for start in range(0, images, step):
        count = min(step, images - start)
        drawn = centres[rng.integers(len(centres), size=count)] + rng.normal(size=(count, dim)).astype(np.float32)
        file[start : start + count] = normalised_float32(drawn)
    away = rng.normal(size=(COPIED, dim))
    away -= (away * file[:COPIED]).sum(axis=1, keepdims=True) * file[:COPIED]
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    file[-COPIED:] = COSINE * file[:COPIED] + np.sqrt(1 - COSINE**2) * away
    file.flush()


def job(name: str, path: Path, memory: float) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("embedshift").addHandler(handler)
    logging.getLogger("embedshift").setLevel(logging.INFO)
    vectors: Floats = np.load(path, mmap_mode="r")
    started = time.process_time()
    found = searched(vectors, memory) if name == "search" else listed(vectors, memory, by_faiss=name == "near")
    seconds = time.process_time() - started
    said = re.findall(r"finds (.*?)(?: of|$)(?:.*cosine of ([\d.]+))?", lines[-1]) if lines else [("exact", "")]
    json.dump((seconds, peak_gib(), " from ".join(filter(None, said[0])), found), sys.stdout)


def listed(vectors: Floats, memory: float, *, by_faiss: bool) -> float:
    """The fraction of planted near-copies among the pairs."""
    tail = fit_tail(vectors, None, seed=0)
    assert tail is not None
    least = tail.threshold(1.0)
    first, second = pairs_above(vectors, least, LISTED, near_pairs(vectors, least, memory) if by_faiss else None)
    return float(np.mean(np.isin(np.arange(COPIED), first[second - first == len(vectors) - COPIED])))


def searched(vectors: Floats, memory: float) -> float:
    """The fraction of changed images whose original comes first."""
    rng, own = np.random.default_rng(1), np.arange(COPIED, COPIED + QUERIES)
    queries = vectors[own] + 0.1 * rng.normal(size=(QUERIES, vectors.shape[1])).astype(np.float32)
    function = search_function(Gallery.of(vectors), views=QUERIES, memory=memory)
    blocks = [slice(start, start + BLOCK) for start in range(0, QUERIES, BLOCK)]
    return float(np.mean(np.concatenate([function(queries[part], own[part], 64).rank for part in blocks]) == 1))


if __name__ == "__main__":
    main()
