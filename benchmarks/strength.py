"""What the views of a suite cost, family by family; and whether their strength is what it is recorded as.

usage: python benchmarks/strength.py PHOTOS [--suite strength] [--size 224 | --longest 1024] [--count 24]
                                            [--only time|measured]

CPU milliseconds of one thread, the mean over the photos, which are squashed to the size of an encoder's input, or with
`--longest` enlarged or reduced to a longest side, as files are. For the suite `strength` it then measures every
parameter, shift and hidden fraction on the views, with the independent formulas of `tests/support/strength.py`, and
ends with exit code 1 where one differs from what is recorded; for `paper` how far elastic moves a pixel.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from bench import arguments, files_in, print_head, print_machine, print_row, read_square
from embedshift.arrays import Pixels
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.changes import ChangeAt, Cover, Warp, grid
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.paper import PAPER, elastic
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.sources import images
from support.strength import MEASURED, covered, shown_displacement


def main() -> None:
    options = arguments(__doc__, "photos", suite="strength", size=224, longest=0, count=24, only="")
    cv2.setNumThreads(1)
    files = files_in(options.photos, options.count)
    photos = {
        file.name: read_sized(file, options.longest) if options.longest else read_square(file, options.size)
        for file in files
    }
    print_machine()
    print(f"{len(photos)} photos of {options.longest or options.size} px, one thread\n")
    if options.only != "measured":
        print_cost(load_suite(options.suite), photos)
    if options.suite == "paper":
        print_elastic()
    sys.exit(options.suite == "strength" and options.only != "time" and not print_measured(photos))


def read_sized(file: Path, longest: int) -> Pixels:
    """The photo of a file, enlarged or reduced to a longest side."""
    image = images.decode(file.read_bytes())
    factor = longest / max(image.shape[:2])
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC))


def print_cost(suite: Suite, photos: Mapping[str, Pixels]) -> None:
    """CPU milliseconds of each family's views of one image."""
    total: dict[str, float] = defaultdict(float)
    for each in suite:
        each.draw(next(iter(photos.values())), 0)  # once unmeasured: tables, letters
        for name, image in photos.items():
            seed, started = view_seed(0, name, each.seed_name, 0), time.process_time()
            each.draw(image, seed)
            spent = 1000 * (time.process_time() - started) / len(photos)
            total[each.level.family if each.level else each.name] += spent
    print_head("family", "CPU ms an image")
    for name, spent in total.items():
        print_row(name, f"{spent:.1f}")
    views, whole = len(suite.names), sum(total.values())
    print(f"\n{views} views: {whole / 1000:.3f} CPU s an image, {whole / views:.2f} ms a view")


def print_elastic(size: int = 224, views: int = 24) -> None:
    """By the places that the paper's elastic draws: mean over the pixels of a view."""
    drawn = (elastic(size, PAPER["elastic"][1]["alpha"], np.random.default_rng(seed)) for seed in range(views))
    moved = [np.linalg.norm(places - grid(size), axis=2).mean() for places in drawn]
    print(f"elastic, {views} views of {size} px: {np.mean(moved):.2f} px ({min(moved):.2f} to {max(moved):.2f})")


def print_measured(photos: Mapping[str, Pixels]) -> bool:
    """The largest difference between what is recorded and what is measured, over photos; whether all are small."""
    print()
    print_head("family", "largest difference of the parameter", "allowed", "of displacement", "of hidden")
    good = True
    for name, (measured, allowed) in MEASURED.items():
        parameter, moved, hidden = 0.0, 0.0, 0.0
        for image_id, image in photos.items():
            seed, side = view_seed(0, image_id, name, 0), len(image)
            for each in FAMILIES[name].augmentations():
                assert each.level is not None
                assert isinstance(each.transform, ChangeAt)
                wanted, recorded = each.level.parameter, Canvas(image).moved_and_hidden(each, seed)
                parameter = max(parameter, np.abs(measured(each, image, seed, wanted) / wanted - 1).max())
                found = (0.0, 0.0)
                if isinstance(each.transform.change, Warp):
                    shifted, _, outside = shown_displacement(each, side, seed)
                    found = (shifted, outside)
                elif isinstance(each.transform.change, Cover):
                    found = (0.0, float(covered(each, side, seed).mean()))
                moved, hidden = max(moved, abs(found[0] - recorded[0])), max(hidden, abs(found[1] - recorded[1]))
        good &= bool(parameter <= allowed and moved <= 0.002 and hidden <= 0.005)
        print_row(name, f"{100 * parameter:.2f} %", f"{100 * allowed:g} %", f"{moved:.5f}", f"{hidden:.5f}")
    print("\nall within what is allowed" if good else "\nnot all within what is allowed")
    return good


if __name__ == "__main__":
    main()
