"""Pairs against the same change as an augmentation: images re-encoded by OpenCV, read as files and drawn in memory.

usage: python benchmarks/pairs.py PHOTOS [--images 100] [--qualities 50 10]

The originals are written as PNG at the encoder's size, so that both studies see the same ones. Only the decoder may
differ: a study reads files with Pillow, the augmentation decodes with OpenCV. Ends with exit code 1 where
views differ by more than 8 levels, or a relative shift by more than 0.002.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import polars as pl

import embedshift
from embedshift.arrays import Pixels
from embedshift.sources import images, open_source, select
from embedshift.statistics.summary import PAPER_METRICS
from machine import describe_machine

MODEL = "dinov2-small-offline"
LEVELS, RELATIVE_SHIFT = 8, 0.002


class Jpeg:
    """Written and read by OpenCV."""

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def file(self, image: Pixels) -> bytes:
        """The file's bytes."""
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return bytes(data.tobytes())

    def __call__(self, image: Pixels, rng: np.random.Generator) -> Pixels:
        """The view, as an augmentation makes it."""
        read = cv2.imdecode(np.frombuffer(self.file(image), np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(read, np.uint8)[..., ::-1])


def write(folder: Path, photos: Path, count: int, changes: dict[str, Jpeg]) -> list[int]:
    """Originals and variants; how far Pillow's pixels of a variant are from OpenCV's, at most, variant by variant."""
    size, source = embedshift.load_encoder(MODEL).size, open_source([str(photos)])
    for name in ("originals", *changes):
        (folder / name).mkdir()
    apart: list[int] = []
    for sample in select(source.samples, limit=None, sample=count, seed=0):
        image, name = images.ToInput(size)(images.decode(source.read(sample))), Path(sample.image_id).stem
        cv2.imwrite(str(folder / "originals" / f"{name}.png"), image[..., ::-1])
        for place, change in changes.items():
            data = change.file(image)
            (folder / place / f"{name}.jpg").write_bytes(data)
            drawn = change(image, np.random.default_rng(0))
            apart.append(int(np.abs(images.decode(data).astype(int) - drawn).max()))
    return apart


def rows_apart(studies: Sequence[embedshift.Study]) -> pl.DataFrame:
    """Metric by metric: its mean, and how far the rows of two studies are apart, on average and at most."""
    keys = ["image_id", "view"]
    one, other = (study.rows().select(*keys, *PAPER_METRICS).collect() for study in studies)
    both = one.join(other, on=keys, validate="1:1").filter(pl.col("view") != "original")
    found = []
    for metric in PAPER_METRICS:
        apart = (both[metric] - both[f"{metric}_right"]).abs()
        found.append({"metric": metric, "mean": both[metric].mean(), "apart": apart.mean(), "at most": apart.max()})
    return pl.DataFrame(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--qualities", type=int, nargs="+", default=[50, 10])
    options = parser.parse_args()
    changes = {f"q{quality}": Jpeg(quality) for quality in options.qualities}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        levels = max(write(folder, options.photos, options.images, changes))
        originals, variants = folder / "originals", [folder / name for name in changes]
        paired = embedshift.run(originals, pairs=variants, model=MODEL, out=folder / "paired")
        drawn = embedshift.run(originals, augmentations=changes, model=MODEL, out=folder / "drawn")
        count = paired.info()["counts"]["measured"]
        apart = rows_apart([paired, drawn])
        cosine = [study.summary().filter(metric="cosine_similarity") for study in (paired, drawn)]
    print(describe_machine())
    print(f"{count} images at {', '.join(f'JPEG quality {quality}' for quality in options.qualities)}")
    print(f"views: at most {levels} levels apart")
    relative_shifts = (
        cosine[0].select("augmentation", read="relative_shift").hstack(cosine[1].select(drawn="relative_shift"))
    )
    with pl.Config(tbl_rows=-1, float_precision=6, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        print(apart)
        print(relative_shifts)
    far = (relative_shifts["read"] - relative_shifts["drawn"]).abs().max()
    sys.exit(
        0 if count == options.images and levels <= LEVELS and isinstance(far, float) and far <= RELATIVE_SHIFT else 1
    )


if __name__ == "__main__":
    main()
