"""What a lower precision does to a study: one encoder in float32 and in bfloat16 on the same photos.

usage: python benchmarks/precision.py FOLDER [--photos 50] [--model dinov2-small-offline]

Prints, metric by metric, the value of the summary (mean, sd, median, quantile, end of an interval) that differs most
from float32's. Pixel metrics do not depend on the encoder: they are equal, and left out.
"""

import logging
import tempfile
from pathlib import Path

import embedshift
from bench import BUNDLED, arguments, files_in, print_machine
from embedshift.config import Precision

KINDS: tuple[Precision, ...] = ("float32", "bfloat16")


def main() -> None:
    options = arguments(__doc__, "folder", photos=50, model=BUNDLED)
    logging.disable(logging.WARNING)
    photos = [str(file) for file in files_in(options.folder, options.photos)]
    with tempfile.TemporaryDirectory() as folder:
        found = embedshift.compare(
            [embedshift.run(photos, out=Path(folder) / kind, model=options.model, precision=kind) for kind in KINDS]
        )
    print_machine()
    print(f"{options.model} on {found.studies['compared'][0]} photos")
    print(found.verdict, found.largest, sep="\n")


if __name__ == "__main__":
    main()
