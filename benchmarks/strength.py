"""What the views of a suite cost, family by family; and whether their strength is what it is recorded as.

usage: python benchmarks/strength.py [PHOTOS] [--suite strength] [--size 224] [--count 24] [--only time|measured]

Without PHOTOS it takes five photos of scikit-image. CPU seconds of one thread are those of one image, the mean over the
photos; the paper's suite is drawn beside it, in turn. For the suite `strength` it then measures every parameter, shift
and hidden fraction on the views, with the independent formulas of `tests/support/strength.py`, and ends with exit code
1 where one differs from what is recorded.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from embedshift.arrays import Pixels
from embedshift.augmentations import Suite, load_suite
from embedshift.augmentations.family import FAMILIES
from embedshift.augmentations.views import Canvas, view_seed
from embedshift.sources import FolderSource, images
from machine import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

MOST = 0.6  # CPU seconds an image


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", metavar="PHOTOS", type=Path, nargs="?")
    parser.add_argument("--suite", default="strength")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--count", type=int, default=24, help="photos, at most")
    parser.add_argument("--only", choices=["time", "measured"])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    photos = read_photos(options.photos, options.size, options.count)
    print(describe_machine())
    print(f"{len(photos)} photos at {options.size} px, one thread\n")
    good = options.only == "measured" or print_seconds(load_suite(options.suite), photos)
    if options.suite == "strength" and options.only != "time":
        good &= print_measured(photos)
    sys.exit(0 if good else 1)


def read_photos(folder: Path | None, size: int, count: int) -> dict[str, Pixels]:
    """Name → image, at the size of the views."""
    if folder is None:
        names = ("astronaut", "coffee", "chelsea", "rocket", "hubble_deep_field")
        return {name: images.ToInput(size, "squash")(getattr(skimage.data, name)()) for name in names}
    samples = FolderSource([str(folder)]).samples[:count]
    return {
        each.image_id: images.ToInput(size, "squash")(images.decode(Path(each.location).read_bytes()))
        for each in samples
    }


def seconds_of(suite: Suite, name: str, image: Pixels, total: dict[str, float]) -> None:
    """Adds the CPU seconds of each family's views of one image."""
    for each in suite:
        seed = view_seed(0, name, each.seed_name, 0)
        started = time.process_time()
        each.draw(image, seed)
        total[each.level.family if each.level else each.name] += time.process_time() - started


def print_seconds(suite: Suite, photos: Mapping[str, Pixels]) -> bool:
    """CPU milliseconds of each family's views of one image; whether all take no more than is allowed."""
    ours: dict[str, float] = defaultdict(float)
    paper: dict[str, float] = defaultdict(float)
    for total, drawn in ((ours, suite), (paper, load_suite("paper"))):  # once unmeasured: tables, caches
        seconds_of(drawn, "warm", next(iter(photos.values())), total)
        total.clear()
    for name, image in photos.items():
        seconds_of(suite, name, image, ours)
        seconds_of(load_suite("paper"), name, image, paper)
    views, whole, other = len(suite.names), sum(ours.values()) / len(photos), sum(paper.values()) / len(photos)
    print("| family | CPU ms an image |\n|---|---|")
    for name, seconds in ours.items():
        print(f"| {name} | {1000 * seconds / len(photos):.1f} |")
    print(f"\n{views} views: {whole:.3f} CPU s an image, {1000 * whole / views:.2f} ms a view")
    print(
        f"the paper's 9 views: {other:.3f} CPU s, {1000 * other / 9:.2f} ms a view; {whole / other:.1f} times as long"
    )
    return whole <= MOST


def print_measured(photos: Mapping[str, Pixels]) -> bool:
    """The largest difference between what is recorded and what is measured, over photos; whether all are small."""
    from embedshift.augmentations.changes import ChangeAt, Cover, Warp
    from support.strength import MEASURED, covered, shown_displacement

    print("\n| family | largest difference of the parameter | allowed | of displacement | of hidden |")
    print("|---|---|---|---|---|")
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
        good &= parameter <= allowed and moved <= 0.002 and hidden <= 0.005
        print(f"| {name} | {100 * parameter:.2f} % | {100 * allowed:g} % | {moved:.5f} | {hidden:.5f} |")
    print("\nlevel 0 is the image itself; all within what is allowed" if good else "\nnot all within what is allowed")
    return good


if __name__ == "__main__":
    main()
