"""A long run: whether memory stays flat, the rate holds, and every row is exact.

usage: python benchmarks/soak.py [--images 20000] [--warm-up 5000] [--workers 2]

Pictures of 96 x 96 pixels, all different, three augmentations, and an encoder that gives sums of pixels, so that all
that is stored can be computed again from the pictures' numbers. Memory is read every second. Ends with 1 where memory
grows by more than 2 % from the first quarter to the last, or where a row is lost, doubled or wrong. The rate is shown
alone, since a machine may be shared. Images of the warm-up, while allocators reach their size, are in no quarter.
"""

import logging
import os
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
from bench import arguments, print_machine
from embedshift.arrays import Pixels
from embedshift.encoders.base import EncoderOutput
from embedshift.study import Study
from support.processes import descendants

SIDE, ALLOWED = 96, 0.02
VIEWS: dict[str, Callable[[Pixels], Pixels]] = {
    "original": lambda image: image,
    "mirrored": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "negative": lambda image: 255 - image,
    "darker": lambda image: image // 2,
}


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


class Watch(threading.Thread):
    """Reads memory every second: images measured, MiB of this process, of its loaders, open files, the time."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.done, self.readings = 0, list[tuple[float, ...]]()
        self.start()

    def count(self, images: int) -> None:
        """So many more are through, as the run itself tells it."""
        self.done += images

    def run(self) -> None:
        """Until the program ends."""
        while True:
            time.sleep(1)
            own, loaders = resident(os.getpid()), sum(map(resident, descendants(os.getpid())))
            self.readings.append((self.done, own, loaders, len(os.listdir("/proc/self/fd")), time.perf_counter()))


def resident(process: int) -> float:
    """MiB; 0 of one that has ended."""
    try:
        text = Path(f"/proc/{process}/statm").read_text()
    except OSError:
        return 0.0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    options = arguments(__doc__, images=20_000, warm_up=5_000, workers=2)
    logging.disable(logging.WARNING)
    total, watch = options.warm_up + options.images, Watch()
    changes = {name: lambda image, _rng, draw=draw: draw(image) for name, draw in VIEWS.items() if name != "original"}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        for number in range(total):
            Image.fromarray(picture(number)).save(photos / f"{number:06}.png", compress_level=1)
        study = embedshift.run(
            photos, out=Path(folder) / "study", model=QuarterMeans(), augmentations=changes, workers=options.workers,
            store="all", progress=watch.count,
        )  # fmt: skip
        print_machine()
        print(f"{options.images} images of {SIDE} px after {options.warm_up} of warm-up, {options.workers} loaders")
        flat = show(np.array([(done - options.warm_up, *each) for done, *each in watch.readings]), options.images)
        good = exact(study, total) and flat
    sys.exit(not good)


def picture(number: int) -> Pixels:
    """Coarse colours and some noise, by the number alone."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(20, 230, (8, 8, 3)).repeat(SIDE // 8, axis=0).repeat(SIDE // 8, axis=1)
    return (coarse + rng.integers(-10, 11, (SIDE, SIDE, 3))).astype(np.uint8)


def show(readings: NDArray[np.float64], images: int) -> bool:
    """Prints a line for each quarter of the images; whether memory is flat."""
    readings = readings[(readings[:, 0] > 0) & (readings[:, 0] < images)]
    print(f"{'quarter':>8} {'this process':>13} {'loaders':>12} {'open files':>11} {'images/s':>9}")
    rows = []
    for quarter in range(4):
        part = readings[readings[:, 0] * 4 // images == quarter]
        if len(part) < 2:
            sys.exit("memory was read less than twice in a quarter; give more --images")
        first, *_, last = part
        rows.append([*np.median(part[:, 1:4], axis=0), (last[0] - first[0]) / (last[4] - first[4])])
        print("{:8} {:9.1f} MiB {:8.1f} MiB {:11.0f} {:9.1f}".format(quarter + 1, *rows[-1]))
    growth = np.divide(rows[-1], rows[0]) - 1
    flat = bool(max(growth[:3]) <= ALLOWED)
    print("{:>8} {:>+12.1%} {:>+12.1%} {:>+11.1%} {:>+9.1%}".format("4 to 1", *growth))
    print(f"memory and open files grow by at most {ALLOWED:.0%}: {'yes' if flat else 'NO'}")
    return flat


def exact(study: Study, images: int) -> bool:
    """Whether every row is there once and is what the pictures' numbers give."""
    columns = ["image_id", "view", "embedding", "attention", "cosine_similarity", "l2_distance"]
    rows = study.rows().select(columns).sort("image_id", maintain_order=True).collect()
    wanted = [(f"{number:06}.png", view) for number in range(images) for view in VIEWS]
    once, failures = rows.select("image_id", "view").rows() == wanted, len(study.failures())
    print(f"rows: {len(rows)} of {len(wanted)}, each image and view once: {once}; failures: {failures}")
    if not once or failures:
        return False
    stored = np.hstack([np.array(rows[name].to_list(), np.float32) for name in ("embedding", "attention")])
    again = np.stack([recounted(draw(picture(number))) for number in range(images) for draw in VIEWS.values()])
    same = stored.tobytes() == again.tobytes()
    print(f"all vectors and maps are those counted again: {'yes' if same else 'NO'}")
    vectors = again[:, :12].astype(np.float64).reshape(images, len(VIEWS), -1)
    first, moved = vectors[:, :1], vectors[:, 1:]
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(moved, axis=-1)
    cosines, distances = (first * moved).sum(axis=-1) / lengths, np.linalg.norm(moved - first, axis=-1)
    furthest = [
        float(np.abs(rows[name].drop_nulls().to_numpy() - values.ravel()).max())
        for name, values in (("cosine_similarity", cosines), ("l2_distance", distances))
    ]
    print(f"furthest from the formula: cosine {furthest[0]:.1e}, L2 {furthest[1]:.1e}")
    return same and max(furthest) < 1e-6


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
    main()
