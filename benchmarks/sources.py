"""The same photos as a folder, a tar and a Parquet: whether the views are the same bytes and the rows the same numbers.

usage: python benchmarks/sources.py PHOTO_DIR [--photos 100] [--size 112] [--rounds 5]

The members of the tar and the `image_id` column of the Parquet bear the names of the files. Views are drawn from each
source and compared byte by byte; three studies with the bundled encoder are compared row by row. Ends with exit code 1
where a view differs, or a number by more than 1e-5.

Then, what the order of a study costs: images read and decoded per second in this order, against that of the archive,
by one process. The orders take turns within a round, pass by pass, and ratios are taken within it. The files are in
the system's cache, so that it is our own work which is measured, and not a disk's.
"""

import argparse
import logging
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs

import embedshift
from embedshift.config import make_config
from embedshift.pipeline.draw import draw_image
from embedshift.pipeline.prepare import prepared
from embedshift.sources import ImageRef, Source, images, open_source, select, shuffle
from embedshift.sources.base import Failure
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.archives import write_parquet, write_tar

MODEL, ALLOWED = "dinov2-small-offline", 1e-5
# So few that some dozen photos are more than a window of them.
ROWS_PER_GROUP = 4
LEAST_ROUNDS, IMAGES_PER_ROUND, TARGET = 3, 600, 0.95
ORDERS = ("archive", "study")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--size", type=int, default=112, help="of a view, in pixels")
    parser.add_argument("--rounds", type=int, default=5, help=f"of both orders, at least {LEAST_ROUNDS}")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        places = make_sources(options.folder, options.photos, Path(scratch))
        views = {kind: draw_all(place, options.size) for kind, place in places.items()}
        rows = {kind: measure(place, Path(scratch) / f"study-{kind}", options.size) for kind, place in places.items()}
        rounds = [reading_rates(places) for _ in range(max(LEAST_ROUNDS, options.rounds))]
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
    print(f"read and decoded by one process, {len(rounds)} rounds; the order of the study against that of the archive:")
    for kind in places:
        archive, study = (statistics.median(each[kind, order] for each in rounds) for order in ORDERS)
        ratios = [each[kind, "study"] / each[kind, "archive"] for each in rounds]
        ratio = statistics.median(ratios)
        reached = "met" if ratio >= TARGET else "MISSED"
        print(
            f"{kind}: {study:.1f} against {archive:.1f} images/s; {ratio:.3f} of its rate "
            f"(range {min(ratios):.3f} to {max(ratios):.3f}; target {TARGET} or more: {reached})"
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
        "parquet": write_parquet(scratch / "photos.parquet", members, rows=ROWS_PER_GROUP),
    }


def draw_all(place: Path, size: int) -> dict[str, bytes]:
    """The bytes of all views of every image: what a study of this place hands to the encoder."""
    found: dict[str, bytes] = {}
    config = make_config({"images": [str(place)], "model": MODEL, "size": size})
    with prepared(config, place.with_suffix(".out")) as study:
        for sample in study.samples:
            drawn = draw_image(sample, study.plan.source, study.plan)
            if isinstance(drawn, Failure):
                raise SystemExit(f"{sample.image_id}: {drawn.reason}")
            found[sample.image_id] = drawn.views.tobytes()
    return found


def measure(place: Path, out: Path, size: int) -> pl.DataFrame:
    """The rows of a study, image by image: their own order depends on the kind of the source."""
    rows = embedshift.run(place, out=out, model=MODEL, size=size).rows().collect()
    return rows.sort("image_id", maintain_order=True)


def reading_rates(places: dict[str, Path]) -> dict[tuple[str, str], float]:
    """Images per second by kind and order; the orders take turns, and which is first."""
    rates: dict[tuple[str, str], float] = {}
    for kind, place in places.items():
        seconds, read = dict.fromkeys(ORDERS, 0.0), dict.fromkeys(ORDERS, 0)
        turn = ORDERS
        while min(read.values()) < IMAGES_PER_ROUND:
            for order in turn:
                source = open_source([str(place)])  # anew, since a Parquet keeps what it has read
                samples = source.samples
                if order == "study":
                    samples, _ = shuffle(select(samples, limit=None, sample=None, seed=0), source, seed=0)
                seconds[order] += seconds_to_read(source, samples)
                read[order] += len(samples)
            turn = turn[::-1]
        rates |= {(kind, order): read[order] / seconds[order] for order in ORDERS}
    return rates


def seconds_to_read(source: Source, samples: Sequence[ImageRef]) -> float:
    """Of one pass over all images."""
    started = time.perf_counter()
    for sample in samples:
        images.decode(source.read(sample))
    return time.perf_counter() - started


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
