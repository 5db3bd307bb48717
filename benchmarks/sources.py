"""The same photos as a folder, a tar and a Parquet: whether the views are the same bytes and the rows the same numbers.

usage: python benchmarks/sources.py PHOTO_DIR [--photos 100] [--size 112]

The members of the tar and the `image_id` column of the Parquet bear the names of the files. Views are drawn from each
source and compared byte by byte; three studies with the bundled encoder are compared row by row. Ends with exit code 1
where a view differs, or a number by more than 1e-5.
"""

import argparse
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs

import embedshift
from embedshift.config import make_config
from embedshift.pipeline.draw import draw_image
from embedshift.store.shards import Failure
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.archives import write_parquet, write_tar

MODEL, ALLOWED = "dinov2-small-offline", 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--size", type=int, default=112, help="of a view, in pixels")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        places = make_sources(options.folder, options.photos, Path(scratch))
        views = {kind: draw_all(place, options.size) for kind, place in places.items()}
        settings = {"model": MODEL, "size": options.size}
        rows = {
            kind: embedshift.run(place, out=Path(scratch) / f"study-{kind}", **settings).rows().collect()
            for kind, place in places.items()
        }
    print(describe_machine())
    print(f"{MODEL} at {options.size} pixels, {len(views['folder'])} photos, {len(rows['folder'])} rows")
    good = True
    for kind in ("tar", "parquet"):
        same = views[kind] == views["folder"]
        named, largest = difference(rows[kind], rows["folder"])
        good = good and same and named and largest <= ALLOWED
        print(
            f"{kind} against folder: views {'equal to the byte' if same else 'DIFFERENT'}; "
            f"{'the same columns and ids' if named else 'OTHER COLUMNS OR IDS'}; "
            f"largest difference of a number {largest:.1e} (allowed {ALLOWED:.0e})"
        )
    return 0 if good else 1


def make_sources(photos: Path, count: int, scratch: Path) -> dict[str, Path]:
    """The first photos of a folder, three times over."""
    files = sorted(path for path in photos.iterdir() if path.is_file())[:count]
    (scratch / "photos").mkdir()
    for file in files:
        shutil.copy(file, scratch / "photos")
    members = [(file.name, file.read_bytes()) for file in files]
    return {
        "folder": scratch / "photos",
        "tar": write_tar(scratch / "photos.tar", members),
        "parquet": write_parquet(scratch / "photos.parquet", members, rows=16),
    }


def draw_all(place: Path, size: int) -> dict[str, bytes]:
    """The bytes of all views of every image: what a study of this place hands to the encoder."""
    prepared = Prepared(make_config({"images": [str(place)], "model": MODEL, "size": size}), place.with_suffix(".out"))
    plan, found = prepared.plan(), {}
    for sample in prepared.samples:
        drawn = draw_image(sample, prepared.source, plan)
        if isinstance(drawn, Failure):
            raise SystemExit(f"{sample.image_id}: {drawn.reason}")
        found[sample.image_id] = drawn.views.tobytes()
    return found


def difference(rows: pl.DataFrame, reference: pl.DataFrame) -> tuple[bool, float]:
    """Whether columns, ids and everything that is no fraction are equal; and how far apart the fractions are."""
    if rows.schema != reference.schema or len(rows) != len(reference):
        return False, float("inf")
    numbers = cs.float() | cs.by_dtype([kind for kind in rows.dtypes if kind.is_nested()])
    exact = rows.select(~numbers).equals(reference.select(~numbers), null_equal=True)
    return exact, max(distance(rows[name], reference[name]) for name in rows.select(numbers).columns)


def distance(column: pl.Series, reference: pl.Series) -> float:
    """The largest difference of two columns of numbers or of lists of them; infinite where one has a null alone."""
    a, b = (flat(values) for values in (column, reference))
    if len(a) != len(b) or (np.isnan(a) != np.isnan(b)).any():
        return float("inf")
    return float(np.nanmax(np.abs(a - b), initial=0))


def flat(column: pl.Series) -> np.ndarray:
    while column.dtype.is_nested():
        column = column.explode()
    return column.to_numpy().astype(float)


if __name__ == "__main__":
    sys.exit(main())
