"""A long run: whether memory stays flat, the rate holds, and every row is exact.

usage: python benchmarks/soak.py [--images 20000] [--warm-up 5000] [--workers 2]

Pictures of 96 x 96 pixels, all different, three augmentations, and an encoder that gives sums of pixels, so that all
that is stored can be computed again from the pictures' numbers. Memory is read every second. Ends with 1 where memory
grows by more than 2 % from the first quarter to the last, or where a row is lost, doubled or wrong. The rate is shown
alone, since a machine may be shared. Images of the warm-up, while allocators reach their size, are in no quarter.
"""

import argparse
import hashlib
import logging
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import embedshift
from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput
from embedshift.study import Study
from machine import describe_machine
from process_tree import descendants

SIDE, ALLOWED = 96, 0.02
VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "original": lambda image: image,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "negative": lambda image: 255 - image,
    "darker": lambda image: image // 2,
}
# One sample: images measured, MiB of this process, MiB of its loaders, open files, the time.
Reading = tuple[int, float, float, int, float]


class QuarterMeans:
    """Mean colours of quarters of the image, and a grid of brightness as attention."""

    name, dim, size, weights_hash = "quarter-means", 12, SIDE, "none"
    grid: tuple[int, int] | None = (4, 4)
    mean = std = (0.5, 0.5, 0.5)

    def __call__(self, views: Pixels) -> EncoderOutput:
        """Views → means, in float64 and then rounded once."""
        count, half, cell = len(views), SIDE // 2, SIDE // 4
        quarters = views.reshape(count, 2, half, 2, half, 3).mean(axis=(2, 4), dtype=np.float64).reshape(count, 12)
        light = views.reshape(count, 4, cell, 4, cell, 3).mean(axis=(2, 4, 5), dtype=np.float64)
        return EncoderOutput(quarters.astype(np.float32), light.astype(np.float32), "mean")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--warm-up", type=int, default=5_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    total = options.warm_up + options.images
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for number in range(total):
            Image.fromarray(picture(number)).save(photos / name(number), compress_level=1)
        with Watch() as watch:
            study = embedshift.run(
                photos,
                out=Path(folder) / "study",
                model=QuarterMeans(),
                augmentations={
                    each: lambda image, _rng, draw=draw: draw(image) for each, draw in list(VIEWS.items())[1:]
                },
                workers=options.workers,
                store="all",
                progress=watch.count,
            )
        print(describe_machine())
        of = f"{SIDE} x {SIDE}, {len(VIEWS)} views each, {options.workers} loaders"
        print(f"{options.images} images after {options.warm_up} of warm-up, {of}")
        flat = show([(done - options.warm_up, *each) for done, *each in watch.readings], options.images)
        return 0 if all([flat, exact(study, total)]) else 1


def name(number: int) -> str:
    return f"{number:06}.png"


def picture(number: int) -> Pixels:
    """Coarse colours and some noise, by the number alone."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(20, 230, (8, 8, 3)).repeat(SIDE // 8, axis=0).repeat(SIDE // 8, axis=1)
    return (coarse + rng.integers(-10, 11, (SIDE, SIDE, 3))).astype(np.uint8)


class Watch:
    """Reads memory every second while it is entered."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self.done, self.over = 0, threading.Event()
        self.thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Watch":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def count(self, images: int) -> None:
        """So many more are through, as the run itself tells it."""
        self.done += images

    def _read(self) -> None:
        while not self.over.wait(1.0):
            own, loaders = resident(os.getpid()), sum(map(resident, descendants(os.getpid())))
            self.readings.append((self.done, own, loaders, len(os.listdir("/proc/self/fd")), time.perf_counter()))


def resident(process: int) -> float:
    """MiB; 0 of one that has ended."""
    try:
        text = Path(f"/proc/{process}/statm").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def show(readings: list[Reading], images: int) -> bool:
    """Prints a line for each quarter of the images; whether memory is flat."""
    while_measuring = [reading for reading in readings if 0 < reading[0] < images]
    print(f"{'quarter':>8} {'this process':>13} {'loaders':>12} {'open files':>11} {'images/s':>9}")
    rows: list[tuple[float, ...]] = []
    for quarter in range(4):
        part = [each for each in while_measuring if quarter * images <= 4 * each[0] < (quarter + 1) * images]
        if len(part) < 2:
            sys.exit("memory was read less than twice in a quarter; give more --images")
        own, loaders, files = (statistics.median(each[place] for each in part) for place in (1, 2, 3))
        rate = (part[-1][0] - part[0][0]) / (part[-1][4] - part[0][4])
        rows.append((own, loaders, files, rate))
        print(f"{quarter + 1:8} {own:9.1f} MiB {loaders:8.1f} MiB {files:11.0f} {rate:9.1f}")
    ratios = [last / first - 1 for first, last in zip(rows[0], rows[-1], strict=True)]
    print("{:>8} {:>+12.1%} {:>+12.1%} {:>+11.1%} {:>+9.1%}".format("4 to 1", *ratios))
    flat = max(ratios[:3]) <= ALLOWED
    print(f"memory and open files grow by at most {ALLOWED:.0%}: {'yes' if flat else 'NO'}")
    return flat


def exact(study: Study, images: int) -> bool:
    """Whether every row is there once and is what the pictures' numbers give."""
    columns = ["image_id", "view", "embedding", "attention", "cosine_similarity", "l2_distance"]
    rows = study.rows().select(columns).sort("image_id", maintain_order=True).collect()
    ids = [name(number) for number in range(images)]
    once = rows["image_id"].to_list() == [each for each in ids for _ in VIEWS]
    views = rows["view"].to_list() == list(VIEWS) * images
    failures = len(study.failures())
    print(
        f"rows: {len(rows)} of {images * len(VIEWS)}, each image and view once: {once and views}; failures: {failures}"
    )
    if not (once and views) or failures:
        return False
    embedding, attention = (np.array(rows[each].to_list(), np.float32) for each in ("embedding", "attention"))
    counted = [recounted(draw(picture(number))) for number in range(images) for draw in VIEWS.values()]
    stored, own = (
        hashlib.sha256(each.tobytes()).hexdigest() for each in (np.hstack([embedding, attention]), np.stack(counted))
    )
    print(f"all vectors and maps: SHA-256 {stored[:16]}, counted again {own[:16]}")
    vectors = embedding.astype(np.float64).reshape(images, len(VIEWS), -1)
    first, moved = vectors[:, :1], vectors[:, 1:]
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(moved, axis=-1)
    wanted = {
        "cosine_similarity": (first * moved).sum(axis=-1) / lengths,
        "l2_distance": np.linalg.norm(moved - first, axis=-1),
    }
    furthest = {
        each: float(np.abs(rows[each].drop_nulls().to_numpy() - values.ravel()).max())
        for each, values in wanted.items()
    }
    print("furthest from the formula:", ", ".join(f"{each} {value:.1e}" for each, value in furthest.items()))
    return stored == own and max(furthest.values()) < 1e-6


def recounted(view: Pixels) -> NDArray[np.float32]:
    """The vector and the map of one view, from sums over rectangles in whole numbers."""
    sums = np.zeros((SIDE + 1, SIDE + 1, 3), np.int64)
    sums[1:, 1:] = view.astype(np.int64).cumsum(axis=0).cumsum(axis=1)

    def blocks(side: int) -> NDArray[np.int64]:
        corners = sums[::side, ::side]
        return np.asarray(corners[1:, 1:] - corners[1:, :-1] - corners[:-1, 1:] + corners[:-1, :-1])

    half, cell = SIDE // 2, SIDE // 4
    colours = blocks(half).ravel() / half**2
    return np.concatenate([colours, blocks(cell).sum(axis=2).ravel() / (3 * cell**2)]).astype(np.float32)


if __name__ == "__main__":
    sys.exit(main())
