"""Time per image and peak memory as a study grows: the photos of a folder, again and again under other names.

usage: python benchmarks/growth.py PHOTO_DIR [--sizes 200 800 3200] [--repeats 1] [--precision float32]

Full-size CLIP ViT-B/32 with random weights, loaded by a process of its own for each study: seconds from the files to
the tables, and the peak memory of this process. The sizes take turns within each round, since a shared machine's speed
changes; medians are compared with those of the smallest size.
"""

import argparse
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import get_args

from embedshift.config import Precision
from embedshift.encoders import load_encoder
from fullsize import repeat_photos, save_clip
from machine import describe_machine
from speed import study

TARGET = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 800, 3200])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--precision", default="float32", choices=get_args(Precision))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.folder, options.child[0], int(options.child[1]), options.precision)))
        return
    seconds: dict[int, list[float]] = {size: [] for size in sorted(options.sizes)}
    memory: dict[int, list[float]] = {size: [] for size in seconds}
    with tempfile.TemporaryDirectory() as scratch:
        model, photos = str(save_clip(Path(scratch) / "clip")), Path(scratch) / "photos"
        repeat_photos(options.folder, max(seconds), photos)
        for number in range(options.repeats):
            for size in seconds:
                command = [sys.executable, __file__, str(photos), "--precision", options.precision]
                done = subprocess.run([*command, "--child", model, str(size)], check=True, stdout=subprocess.PIPE)
                for found, value in zip((seconds, memory), json.loads(done.stdout.splitlines()[-1]), strict=True):
                    found[size].append(value)
            told = ", ".join(f"{size} photos {each[-1]:.3f} s/image" for size, each in seconds.items())
            print(f"round {number + 1}: {told}", flush=True)
    print(describe_machine())
    print(f"CLIP ViT-B/32 with random weights, {options.precision}, 10 views an image, {options.repeats} rounds")
    for size, each in seconds.items():
        spread = f"{min(each):.3f} to {max(each):.3f}"
        print(f"{size} photos: {statistics.median(each):.3f} s/image ({spread}), peak {max(memory[size]):.2f} GiB")
    first, *others = (statistics.median(each) for each in seconds.values())
    largest = max((each / first - 1 for each in others), key=abs, default=0.0)
    print(f"largest deviation from {min(seconds)} photos: {largest:+.1%} (target: within {TARGET:.0%})")


def measured(photos: Path, model: str, size: int, precision: Precision) -> tuple[float, float]:
    """Seconds an image of a study of the first photos, and the peak memory of this process in GiB."""
    logging.disable(logging.WARNING)
    encoder = load_encoder(model, precision=precision)
    took = study(encoder, sorted(photos.iterdir())[:size])
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
