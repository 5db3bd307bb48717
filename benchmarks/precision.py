"""What a lower precision does to a study: one encoder in float32, in bfloat16, and compiled, on the same photos.

usage: python benchmarks/precision.py PHOTO_DIR [--photos 50] [--model dinov2-small-offline|clip|NAME] [--compile]

Prints, metric by metric, the value of the summary (mean, sd, median, quantile, end of an interval) that differs most
from float32's. Pixel metrics do not depend on the encoder: they are equal, and left out. `--model clip` is a full-size
CLIP ViT-B/32 with random weights; `--compile` adds a study in bfloat16 with a compiled encoder.
"""

import argparse
import logging
import tempfile
from pathlib import Path

import embedshift
from embedshift.sources import FolderSource
from fullsize import save_clip
from machine import describe_machine
from speed import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="PHOTO_DIR", type=Path)
    parser.add_argument("--photos", type=int, default=50)
    parser.add_argument("--model", default="dinov2-small-offline", help="as for a run; or clip, with random weights")
    parser.add_argument("--compile", action="store_true", help="a third study, compiled")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    photos = [sample.location for sample in FolderSource([str(options.folder)]).samples[: options.photos]]
    kinds = [kind for kind, (_, compiled) in KINDS.items() if options.compile or not compiled]
    with tempfile.TemporaryDirectory() as folder:
        model = str(save_clip(Path(folder) / "clip")) if options.model == "clip" else options.model
        studies = []
        for kind in kinds:
            precision, compiled = KINDS[kind]
            out = Path(folder) / kind
            studies.append(embedshift.run(photos, out=out, model=model, precision=precision, compile=compiled))
        found = embedshift.compare(studies)
    print(describe_machine())
    print(f"{options.model} on {found.studies['compared'][0]} photos")
    print(found.verdict, found.largest, sep="\n")


if __name__ == "__main__":
    main()
