"""Analysis of the paper's 13,312 images against the way of its scripts: seconds and peak memory of both, A-B-A-B.

usage: python benchmarks/authors_analysis.py [--images 13312] [--dim 512] [--repeats 2]

Ours: shards → summary, ranking, pairwise, clusters. Theirs, modelled in our own code: all embeddings
in one JSON file (10 x 13,312 x 512 numbers, 1.4 GB), loaded whole; then, sample by sample, scikit-learn's cosine and
numpy's L2, and the mean over the samples of the distances between augmentations, with the tree on it. Theirs is cosine,
L2 and the tree alone; ours is all six metrics. The numbers are random, written before the clock runs. Each side runs
in a process of its own; both must say the same.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

# Libraries of one side only are imported where they are used, so that the other's memory does not hold them.
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=13_312)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--side", nargs=2, metavar=("SIDE", "PATH"), help="one side alone, as this script calls it")
    options = parser.parse_args()
    if options.side:
        side, path = options.side
        print(json.dumps({"ours": ours, "theirs": theirs}[side](Path(path))))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        write(folder, options.images, options.dim)
        rounds = [
            {"theirs": run("theirs", folder / "all.json"), "ours": run("ours", folder / "study")}
            for _ in range(options.repeats)
        ]
    finally:
        shutil.rmtree(folder)
    report(rounds, options.images, options.dim)


def ours(folder: Path) -> Result:
    """From the shards."""
    import embedshift
    from embedshift.questions.clusters.tables import distances_of_images
    from embedshift.statistics import clusters, summary
    from embedshift.statistics.layout import image_rows

    started = time.perf_counter()
    study = embedshift.load(folder)
    rows, names = image_rows(study.rows()), study.augmentations
    means = summary.summary(rows, summary.measured(rows, names, study.metrics), seed=0)
    summary.ranking(means)
    pairwise = distances_of_images(rows, names).drop("augmentation").to_numpy()
    found = clusters.clusters_of(pairwise, names)["cluster"].to_list()
    work = time.perf_counter() - started
    of = {metric: means.filter(means["metric"] == metric) for metric in ("cosine_similarity", "l2_distance")}
    return result(work, [table["mean"].to_list() for table in of.values()], pairwise, found)


def theirs(file: Path) -> Result:
    """From one JSON file, in loops over the samples."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform
    from sklearn.metrics.pairwise import cosine_similarity

    started = time.perf_counter()
    with open(file) as opened:
        stored = json.load(opened)
    names = [name for name in stored if name != "original"]
    cosines, distances = [], []
    for name in names:
        pairs = list(zip(stored["original"], stored[name], strict=True))
        cosines.append(np.mean([cosine_similarity([before], [after])[0][0] for before, after in pairs]))
        distances.append(np.mean([np.linalg.norm(np.array(before) - np.array(after)) for before, after in pairs]))
    total = np.zeros((len(names), len(names)))
    for index in range(len(stored["original"])):
        total += 1 - cosine_similarity([stored[name][index] for name in names])
    mean = total / len(stored["original"])
    tree = linkage(squareform(mean, checks=False), "ward")
    found = fcluster(tree, 0.7 * tree[:, 2].max(), "distance").tolist()
    work = time.perf_counter() - started
    return result(work, [np.array(cosines).tolist(), np.array(distances).tolist()], mean, found)


def result(seconds: float, means: list[list[float]], distances: np.ndarray, clusters: list[int]) -> Result:
    """What one side says: its work without imports, its peak memory, and its numbers."""
    # VmHWM and not ru_maxrss, which a child inherits from the process that started it.
    (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    memory = int(peak) / 2**20
    said = {"means": means, "distances": distances.tolist(), "clusters": clusters}
    return {"seconds": seconds, "memory": memory, "said": said}


def run(side: str, path: Path) -> Result:
    """One side in a new process; `whole` counts its start and imports too."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--side", side, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Result = json.loads(done.stdout) | {"whole": time.perf_counter() - started}
    print(f"{side:>6}: {found['seconds']:7.2f} s, with start {found['whole']:7.2f} s, peak {found['memory']:.2f} GiB")
    sys.stdout.flush()
    return found


def write(folder: Path, images: int, dim: int) -> None:
    """The same random embeddings as shards and as one JSON file."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from support.synthetic import make_study

    study = make_study(folder / "study", images, dim=dim, grid=(7, 7), with_tables=False)
    parts = sorted((folder / "study" / "shards").iterdir())
    with open(folder / "all.json", "w") as file:
        for number, view in enumerate(["original", *study.augmentations]):
            file.write(f'{", " if number else "{"}"{view}": [')
            for place, part in enumerate(parts):
                table = pq.read_table(part, columns=["view", "embedding"])
                vectors = table.filter(pc.equal(table["view"], view))["embedding"].to_pylist()
                file.write((", " if place else "") + json.dumps(vectors)[1:-1])
            file.write("]")
        file.write("}")
    shards = sum(part.stat().st_size for part in parts)
    print(f"JSON {(folder / 'all.json').stat().st_size / 1e9:.2f} GB, shards {shards / 1e9:.2f} GB", flush=True)


def report(rounds: list[dict[str, Result]], images: int, dim: int) -> None:
    """Ratios within each round, and whether both sides say the same."""
    from machine import describe_machine

    ours, theirs = (rounds[0][side]["said"] for side in ("ours", "theirs"))
    apart = max(np.abs(np.array(ours[k]) - np.array(theirs[k])).max() for k in ("means", "distances"))
    print(describe_machine())
    print(f"{images:,} images x 10 views x {dim} numbers; {len(rounds)} rounds")
    print(f"largest difference of a mean cosine, L2 or distance: {apart:.1e}")
    together = [np.equal.outer(said["clusters"], said["clusters"]) for said in (ours, theirs)]
    print(f"the same clusters: {'yes' if (together[0] == together[1]).all() else 'NO'}")
    for key, what in (("seconds", "work"), ("whole", "with start and imports"), ("memory", "peak memory")):
        ratios = [each["theirs"][key] / each["ours"][key] for each in rounds]
        words = "times as fast" if key != "memory" else "times less"
        print(f"{what}: {statistics.median(ratios):.1f} {words} (range {min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
