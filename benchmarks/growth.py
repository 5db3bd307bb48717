"""Time per image and peak memory as a study grows: the photos of a folder, again and again under other names.

usage: python benchmarks/growth.py FOLDER [--sizes 200 800 3200] [--repeats 1] [--precision float32]

Full-size CLIP ViT-B/32 with random weights, loaded by a process of its own for each study: seconds from the files to
the tables, and the peak memory of this process. The sizes take turns within each round, since a shared machine's speed
changes; medians are compared with those of the smallest size.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path
from statistics import median

from bench import arguments, in_a_process, peak_gib, print_machine, repeated, save_clip, spread
from embedshift.encoders import load_encoder
from speed import study


def main() -> None:
    options = arguments(__doc__, "folder", sizes=(200, 800, 3_200), repeats=1, precision="float32", model="", size=0)
    if options.model:  # one study, in a process of its own
        logging.disable(logging.WARNING)
        encoder = load_encoder(options.model, precision=options.precision)
        json.dump((study(encoder, sorted(options.folder.iterdir())[: options.size]), peak_gib()), sys.stdout)
        return
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in sorted(options.sizes)}
    with tempfile.TemporaryDirectory() as scratch:
        model, photos = save_clip(Path(scratch) / "clip"), Path(scratch) / "photos"
        repeated(options.folder, max(found), photos)
        for number in range(options.repeats):
            for size, measured in found.items():
                given = (photos, "--precision", options.precision, "--model", model, "--size", size)
                measured.append(in_a_process(__file__, *given))
                print(f"round {number + 1}: {size} photos {measured[-1][0]:.3f} s/image", flush=True)
    print_machine()
    print(f"CLIP ViT-B/32 with random weights, {options.precision}, 10 views an image, {options.repeats} rounds")
    first = median(seconds for seconds, _ in found[min(found)])
    for size, measured in found.items():
        seconds, memory = zip(*measured, strict=True)
        more = median(seconds) / first - 1
        print(f"{size} photos: {spread(seconds, 3)} s/image, {more:+.1%}; peak {max(memory):.2f} GiB")


if __name__ == "__main__":
    main()
