"""What does `compare` say of a changed encoder? Verdicts of copies of the bundled encoder with noise on its last block.

usage: python benchmarks/compare.py PHOTO_DIR [--images 40]

Each copy has Gaussian noise on the weights of its last block, as a multiple of each tensor's own standard deviation.
"same" is the same encoder under another name.
"""

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

import embedshift
from embedshift.config import BUNDLED
from embedshift.study.comparison import with_ends
from gate import with_noise
from machine import describe_machine

NOISES = (0.0, 1e-3, 0.1, 0.3, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--images", type=int, default=40)
    options, started = parser.parse_args(), time.perf_counter()
    numbers: list[list[str]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reference = embedshift.run(options.folder, out=folder / "reference", model=BUNDLED, limit=options.images)
        for noise in NOISES:
            name = f"noise-{noise:g}" if noise else "same"
            with_noise(folder / name, "encoder.layer.11.", noise)
            study = embedshift.run(
                options.folder, out=folder / f"{name}-study", model=str(folder / name), limit=options.images
            )
            found = embedshift.compare([reference, study])
            print(f"{noise:g} sd: {found.verdict}", flush=True)
            overall = found.comparison.filter(augmentation="all")
            rows = [
                overall.filter(metric=metric).row(0, named=True) for metric in ("relative_shift", "recall@1", "tail")
            ]
            cells = [with_ends(rows[0], "ratio", "ratio", ".3f"), with_ends(rows[1], "difference", "ci", "+.3f")]
            cells += [f"{rows[2]['mean']:.3f} / {rows[2]['reference_mean']:.3f}"]
            parts = found.agreement.iter_rows(named=True)
            numbers.append([f"{noise:g} sd", *cells, *(with_ends(row, "value", "ci", ".3f") for row in parts)])
            ratios = found.comparison.filter(pl.col("augmentation") != "all", metric="relative_shift")
            least, *_, most = ratios["ratio"].sort()
            print(f"  ratios by augmentation: {least:.2f} to {most:.2f}")
    print("\n| noise | times as far | recall@1 | twice as far / half as far | neighbours@10 | CKA |")
    print("|---|---|---|---|---|---|")
    for line in numbers:
        print(f"| {' | '.join(line)} |")
    print(f"\n{options.images} photos, {time.perf_counter() - started:.0f} s; {describe_machine()}")


if __name__ == "__main__":
    main()
