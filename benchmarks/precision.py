"""What a lower precision does to a study: the bundled encoder in float32 and in bfloat16 on the same photos.

usage: python benchmarks/precision.py PHOTO_DIR [--photos 50]

Prints, metric by metric, the value of the summary (mean, sd, median, quantile, end of an interval) that differs most.
Pixel metrics do not depend on the encoder: they are equal, and left out.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import polars as pl

import embedshift
from embedshift.sources import FolderSource
from machine import describe_machine

MODEL, PRECISIONS = "dinov2-small-offline", ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=50)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    photos = [sample.location for sample in FolderSource([str(options.folder)]).samples[: options.photos]]
    with tempfile.TemporaryDirectory() as folder:
        studies = [
            embedshift.run(photos, out=Path(folder) / precision, model=MODEL, precision=precision)
            for precision in PRECISIONS
        ]
        found = embedshift.compare(studies)
    print(describe_machine())
    print(f"{MODEL} on {found.studies['compared'][0]} photos, {PRECISIONS[1]} against {PRECISIONS[0]}")
    for row in found.largest.filter(pl.col("difference") != 0).iter_rows(named=True):
        print(
            f"largest difference in {row['metric']}: {row['difference']:+.2g} ({row['column']} under "
            f"{row['augmentation']}: {row['value']:.6g} against {row['reference_value']:.6g})"
        )
    order = found.studies["rank_correlation"][1]
    print(f"order of the augmentations: Spearman correlation {order:.4f}")


if __name__ == "__main__":
    main()
