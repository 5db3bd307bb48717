"""Time per image as a study grows: the photos of a folder, again and again under other names.

usage: python benchmarks/growth.py PHOTO_DIR [--sizes 200 800 3200] [--repeats 1] [--precision float32]

Full-size CLIP ViT-B/32 with random weights, loaded once; seconds from the files to the tables, and the peak memory of
this process up to then. The sizes take turns within each round, since a shared machine's speed changes; medians are
compared with the smallest size's. Tables take a second or two whatever the size, which a small study feels.
"""

import argparse
import logging
import resource
import statistics
import tempfile
from pathlib import Path

from embedshift.encoders import load_encoder
from fullsize import repeat_photos, save_clip
from machine import describe_machine
from speed import study

TARGET = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 800, 3200])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    seconds: dict[int, list[float]] = {size: [] for size in sorted(options.sizes)}
    memory: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        encoder = load_encoder(str(save_clip(Path(scratch) / "clip")), precision=options.precision)
        photos = repeat_photos(options.folder, max(seconds), Path(scratch) / "photos")
        for number in range(options.repeats):
            for size, measured in seconds.items():
                measured.append(study(encoder, photos[:size]))
                memory.setdefault(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
            told = ", ".join(f"{size} photos {measured[-1]:.3f} s/image" for size, measured in seconds.items())
            print(f"round {number + 1}: {told}", flush=True)
    print(describe_machine())
    print(f"CLIP ViT-B/32 with random weights, {options.precision}, 10 views an image, {options.repeats} rounds")
    medians = {size: statistics.median(measured) for size, measured in seconds.items()}
    first, *others = medians
    for size, measured in seconds.items():
        spread = f"{min(measured):.3f} to {max(measured):.3f}"
        print(f"{size} photos: {medians[size]:.3f} s/image (range {spread}), peak {memory[size]:.2f} GiB")
    largest = max((medians[size] / medians[first] - 1 for size in others), key=abs, default=0.0)
    print(f"largest deviation from {first} photos: {largest:+.1%} (target: within {TARGET:.0%})")


if __name__ == "__main__":
    main()
